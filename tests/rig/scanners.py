"""Debian's clamd, spamd and rspamd, each on loopback, without signatures, rules or lists of the network."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.rig.peers import require_program
from tests.rig.postfix import free_port

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class ScannerDaemon:
    """One of them below `directory`; address: as `filter.<id>.address` takes it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._output = directory / "output.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What to run; writes the configuration."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it takes connections."""
        with socket.socket(socket.AF_INET) as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self) -> None:
        """Returns once it answers; RuntimeError with what it said when it ends first."""
        command = self.command()
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        until = time.monotonic() + 60
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]}: {self._output.read_text(errors='replace')}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """To it and its children."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self._process.wait(20)


class Clamd(ScannerDaemon):
    """ClamAV with one signature: that of EICAR."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._socket = directory / "socket"
        self.address = f"unix:{self._socket}"

    def command(self) -> list[str]:
        signatures = self.directory / "signatures"
        signatures.mkdir(exist_ok=True)
        signatures.joinpath("eicar.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
        config = self.directory / "conf"
        config.write_text(
            f"LocalSocket {self._socket}\nTCPSocket {self.port}\nTCPAddr 127.0.0.1\nForeground yes\n"
            f"DatabaseDirectory {signatures}\nStreamMaxLength 4M\n"
        )
        self._socket.unlink(missing_ok=True)
        return [require_program("clamd"), "-c", str(config)]

    def answers(self) -> bool:
        return self._socket.exists() and super().answers()


class Spamd(ScannerDaemon):
    """SpamAssassin without network tests."""

    def command(self) -> list[str]:
        return [
            require_program("spamd"), "-L", "-x", "-s", "stderr", "-m", "1", "-u", "nobody",
            "-i", "127.0.0.1", "-p", str(self.port), "-r", str(self.directory / "pid"),
        ]  # fmt: skip


class Rspamd(ScannerDaemon):
    """rspamd without modules: what is left knows GTUBE."""

    def command(self) -> list[str]:
        place = self.directory
        place.joinpath("tlds").write_text("com\norg\ntest\nexample\n")
        config = place / "conf"
        config.write_text(
            f'options {{ pidfile = "{place}/pid"; filters = "regexp"; url_tld = "{place}/tlds"; tempdir = "{place}";\n'
            f'hs_cache_dir = "{place}"; disable_hyperscan = true; explicit_modules = [];\n'
            f'dns {{ nameserver = ["127.0.0.1:{free_port()}"]; timeout = 0.1s; retransmits = 0; }} }}\n'
            'logging { type = "console"; level = "warning"; }\n'
            f'worker "normal" {{ bind_socket = "{self.address}"; count = 1; }}\n'
            "actions { reject = 15; add_header = 6; }\n"
        )
        return [require_program("rspamd"), "-f", "-i", "-c", str(config)]
