"""A real validating resolver: unbound, with a zone that dnspython signed behind it and the zone's key as anchor."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.dnssectypes
import dns.rdataset
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.rig.peers import require_program
from tests.rig.postfix import free_port, wait_for_port

_CONFIGURATION = """\
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
  module-config: "validator iterator"
  trust-anchor-file: "{directory}/anchor"
  domain-insecure: "unsigned.test"
  local-zone: "test." nodefault
remote-control:
  control-enable: no
auth-zone:
  name: "signed.test"
  zonefile: "{directory}/signed"
  for-downstream: no
  for-upstream: yes
auth-zone:
  name: "unsigned.test"
  zonefile: "{directory}/unsigned"
  for-downstream: no
  for-upstream: yes
"""

_HEAD = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n"


class Unbound:
    """A running unbound that knows `signed.test` and `unsigned.test`.

    records: lines of both zones in master-file words, with names relative to the zone.  spoiled: lines of the signed
    zone that are replaced after signing, old text by new: what a forger would do.
    """

    def __init__(self, records: str, spoiled: tuple[str, str] = ("", "")) -> None:
        self._records = records
        self._spoiled = spoiled
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path()

    def __enter__(self) -> Unbound:
        program = require_program("unbound")
        self._directory = Path(tempfile.mkdtemp(prefix="relayd-unbound-"))
        self.port = free_port()
        (self._directory / "unsigned").write_text(_HEAD + self._records)
        self._sign()
        configuration = self._directory / "unbound.conf"
        configuration.write_text(_CONFIGURATION.format(port=self.port, directory=self._directory))
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen([program, "-d", "-c", str(configuration)], stdout=log, stderr=log)
        wait_for_port(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _sign(self) -> None:
        zone = dns.zone.from_text(_HEAD + self._records, origin="signed.test.", relativize=False)
        private = ec.generate_private_key(ec.SECP256R1())
        key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)
        start = datetime.now(UTC) - timedelta(hours=1)
        with zone.writer() as writer:
            dns.dnssec.sign_zone(
                zone,
                writer,
                keys=[(private, key)],
                inception=start,
                expiration=start + timedelta(days=2),
                add_dnskey=True,
                dnskey_ttl=300,
                deterministic=False,
            )
        text = zone.to_text(relativize=False)
        old, new = self._spoiled
        assert old in text
        (self._directory / "signed").write_text(text.replace(old, new) if old else text)
        (self._directory / "anchor").write_text(f"signed.test. IN DNSKEY {key.to_text()}\n")
