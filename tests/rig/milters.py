"""Debian's opendkim and opendmarc as milters beside a Postfix of the rig.

Both skip mail from loopback in their own ways, and libspf2 lets it pass without a look, so whoever wants them to work
sends from another address (`tests/rig/isolated.py`).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.rig.peers import require_program

_SUFFIXES = Path("/usr/share/publicsuffix/public_suffix_list.dat")


class Milter:
    """One milter, `program`, below `directory`; `settings` are lines of its configuration."""

    def __init__(self, directory: Path, program: str, settings: Mapping[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._program = require_program(program)
        self._socket = directory / "socket"
        self._config = directory / "conf"
        self._output = directory / "output.log"
        lines = {"Socket": f"local:{self._socket}", "UMask": "000", "Syslog": "false", **settings}
        self._config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """As Postfix's `smtpd_milters` has it."""
        return f"unix:{self._socket}"

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns once its socket is there; RuntimeError with what it said when it ends first."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "-f", "-c" if "dmarc" in self._program else "-x", str(self._config)],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + 20
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self._program}: {self._output.read_text(errors='replace')}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)


def verifying(directory: Path, authserv_id: str, nameserver: str) -> list[Milter]:
    """opendkim that verifies and opendmarc that does SPF itself, both only recording, for every client."""
    directory.mkdir(parents=True, exist_ok=True)
    nobody = directory / "nobody"
    nobody.write_text("203.0.113.254\n")
    opendkim = {
        "Mode": "v",
        "AuthservID": authserv_id,
        "InternalHosts": str(nobody),
        "ExternalIgnoreList": str(nobody),
        "Nameservers": nameserver,
    }
    opendmarc = {
        "AuthservID": authserv_id,
        "TrustedAuthservIDs": authserv_id,
        "IgnoreHosts": str(nobody),
        "SPFIgnoreResults": "true",
        "SPFSelfValidate": "true",
        "RejectFailures": "false",
        **({"PublicSuffixList": str(_SUFFIXES)} if _SUFFIXES.exists() else {}),
    }
    return [
        Milter(directory / "opendkim", "opendkim", opendkim),
        Milter(directory / "opendmarc", "opendmarc", opendmarc),
    ]


def signing(directory: Path, domain: str, keys: Mapping[str, str], network: str) -> list[Milter]:
    """One opendkim for each key, as it knows one algorithm at a time: algorithm's family ("rsa") -> PEM.

    The selector is the family; what comes from `network` is signed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "inside").write_text(f"{network}\n")
    milters = []
    for family, pem in keys.items():
        private = directory / f"{family}.pem"
        private.write_text(pem)
        private.chmod(0o600)
        settings = {
            "Mode": "s", "Domain": domain, "Selector": family, "KeyFile": str(private), "RequireSafeKeys": "false",
            "SignatureAlgorithm": f"{family}-sha256", "Canonicalization": "relaxed/relaxed",
            "InternalHosts": str(directory / "inside"), "OversignHeaders": "From",
        }  # fmt: skip
        milters.append(Milter(directory / f"opendkim-{family}", "opendkim", settings))
    return milters
