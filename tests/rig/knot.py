"""DNSSEC as it is on the net: Knot signs zones and serves them, unbound in front of it validates what it says.

`signed.test` is signed and its key known; `unsigned.test` is not signed; `bogus.test` is signed with a key that is not
the one unbound was told of.  Nothing else is asked anywhere.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.rig.peers import require_program
from tests.rig.postfix import free_port, wait_for_port

Names = Mapping[str, Mapping[str, list[str]]]
"""Of names to types to records as in a zone file."""

ZONES = ("signed.test", "unsigned.test", "bogus.test")

_KNOT = """\
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
database:
    storage: "{directory}/database"
policy:
  - id: single
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: "{directory}"
    file: "%s.zone"
zone:
  - domain: signed.test
    dnssec-signing: on
    dnssec-policy: single
  - domain: bogus.test
    dnssec-signing: on
    dnssec-policy: single
  - domain: unsigned.test
"""

_UNBOUND = """\
server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  do-ip6: no
  do-daemonize: no
  use-syslog: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "{directory}/anchors"
  local-zone: "test." nodefault
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{knot}
"""

_STUB = 'stub-zone:\n  name: "{zone}"\n  stub-addr: 127.0.0.1@{knot}\n'

_HEAD = "$ORIGIN {zone}.\n$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n"


class SignedDns:
    """Both, running.  names: absolute, each below one of ZONES.  port: of unbound."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._stack = ExitStack()
        self.port = 0

    def __enter__(self) -> SignedDns:
        knotd, unbound = require_program("knotd"), require_program("unbound")
        directory = Path(tempfile.mkdtemp(prefix="relayd-dnssec-"))
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            self._start(directory, knotd, unbound)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, directory: Path, knotd: str, unbound: str) -> None:
        knot_port, self.port = free_port(), free_port()
        for zone in ZONES:
            (directory / f"{zone}.zone").write_text(_HEAD.format(zone=zone) + self._records(zone))
        (directory / "database").mkdir()
        knot = directory / "knot.conf"
        knot.write_text(_KNOT.format(directory=directory, port=knot_port))
        self._run(directory, [knotd, "-c", str(knot)])
        wait_for_port(knot_port)
        good = self._keys(directory, knot, "signed.test")
        other = self._keys(directory, knot, "bogus.test")
        (directory / "anchors").write_text(good + other[: other.rindex(" ") + 1] + "00" * 32 + "\n")
        settings = directory / "unbound.conf"
        stubs = "".join(_STUB.format(zone=zone, knot=knot_port) for zone in ZONES)
        settings.write_text(_UNBOUND.format(directory=directory, port=self.port, knot=knot_port) + stubs)
        self._run(directory, [unbound, "-d", "-c", str(settings)])
        wait_for_port(self.port)

    def _records(self, zone: str) -> str:
        return "".join(
            f"{name}. IN {type} {record}\n"
            for name, types in self._names.items()
            if name == zone or name.endswith("." + zone)
            for type, records in types.items()
            for record in records
        )

    def _run(self, directory: Path, command: list[str]) -> None:
        with (directory / f"{Path(command[0]).name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)

        def stop() -> None:
            process.terminate()
            process.wait(20)

        self._stack.callback(stop)

    @staticmethod
    def _keys(directory: Path, configuration: Path, zone: str) -> str:
        """The DS record (SHA-256) of a zone's key, which Knot makes when it loads the zone."""
        command = [require_program("keymgr"), "-c", str(configuration), zone, "ds"]
        until = time.monotonic() + 20
        while True:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            found = [line for line in done.stdout.splitlines() if len(line.split()[-1]) == 64]
            if found:
                return found[0] + "\n"
            if time.monotonic() > until:
                raise TimeoutError(f"{zone} has no key: {done.stdout}{done.stderr}")
            time.sleep(0.05)
