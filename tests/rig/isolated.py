"""A network and a resolv.conf of a run's own, for programs that ask only /etc/resolv.conf at port 53.

`isolate` starts the running program again in namespaces in which nothing but loopback exists, and `furnish` gives it
addresses; `NameServer` is Debian's unbound there, which answers from zones in memory.  Needs root and `unbound`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.rig.peers import require_program
from tests.rig.postfix import wait_for_port

_INSIDE = "RELAYD_TEST_ISOLATED"


def isolate(module: str) -> None:
    """Go on inside the namespaces: the first call does not return but runs `module` again with the same arguments.

    Whatever it starts dies with it.
    """
    if os.environ.get(_INSIDE) != "1":
        program = require_program("unshare")
        command = [
            program,
            "-m",
            "-n",
            "-p",
            "-f",
            "--kill-child",
            "--mount-proc",
            sys.executable,
            "-m",
            module,
            *sys.argv[1:],
        ]
        os.execve(program, command, {**os.environ, _INSIDE: "1"})


def furnish(addresses: Iterable[str], nameserver: str, directory: Path) -> None:
    """Inside: have these IPv4 addresses beside 127.0.0.1, and a resolv.conf (kept in `directory`) with `nameserver`."""
    if os.environ.get(_INSIDE) != "1":
        raise RuntimeError("isolate() comes first")
    ip = require_program("ip")
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)
    for address in addresses:
        subprocess.run([ip, "address", "add", f"{address}/32", "dev", "lo"], check=True)
    file = directory / "resolv.conf"
    file.write_text(f"nameserver {nameserver}\n")
    subprocess.run([require_program("mount"), "--bind", str(file), "/etc/resolv.conf"], check=True)


class NameServer:
    """unbound at `address`, port 53, with these zones only: zone -> records in master-file words, names absolute."""

    def __init__(self, directory: Path, address: str, zones: Mapping[str, Iterable[str]]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        lines = [
            "server:", f"interface: {address}", "access-control: 0.0.0.0/0 allow", 'chroot: ""', 'username: ""',
            "use-syslog: no", f'logfile: "{directory / "log"}"', f'pidfile: "{directory / "pid"}"',
            "do-daemonize: no", "do-ip6: no", 'module-config: "iterator"',
        ]  # fmt: skip
        for zone, records in zones.items():
            lines.append(f'local-zone: "{zone}" static')
            lines += [f"local-data: '{record}'" for record in records]
        self._address = address
        self._config = directory / "unbound.conf"
        self._config.write_text("\n".join([*lines, "remote-control:", "control-enable: no", ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NameServer:
        self._process = subprocess.Popen([require_program("unbound"), "-d", "-c", str(self._config)])
        wait_for_port(53, address=self._address)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)


def texts(value: str) -> str:
    """The value of a TXT record in master-file words: strings of at most 255 octets."""
    return " ".join(f'"{value[start : start + 250]}"' for start in range(0, len(value), 250))
