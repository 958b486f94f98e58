"""A real Postfix of its own: own queue, own configuration, ports chosen by the kernel.

Needs root (Postfix's master does) and Debian's `postfix`.  Used as a next hop and as a sender in journeys, and as the
peer that `tests/bench` measures against.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_DAEMONS = "/usr/lib/postfix/sbin"

_MASTER = """\
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_DEFAULTS = {
    "compatibility_level": "3.6",
    "myhostname": "postfix.test",
    "mydestination": "",
    "inet_protocols": "ipv4",
    "inet_interfaces": "127.0.0.1",
    "mynetworks": "127.0.0.0/8",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "biff": "no",
}


_kept: deque[socket.socket] = deque(maxlen=200)
"""Sockets that hold ports until those they were given to listen there."""


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that the kernel says is free, and gives nobody else who asks for any.

    Whoever binds to it by its number can: servers set SO_REUSEADDR, and this socket never listens.
    """
    kept = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind((address, 0))
    if len(_kept) == _kept.maxlen:
        _kept.popleft().close()
    _kept.append(kept)
    return int(kept.getsockname()[1])


def wait_for_port(port: int, *, timeout: float = 20.0, address: str = "127.0.0.1") -> None:
    """Return once something accepts connections there; TimeoutError after `timeout` seconds."""
    until = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise TimeoutError(f"nothing listens on {address}:{port}") from None
            time.sleep(0.02)


@dataclass
class Usage:
    """What a set of processes has used: CPU seconds, and the largest sum of resident octets seen."""

    cpu: float
    peak: int


class Postfix:
    """One Postfix instance below `directory`; `settings` are main.cf parameters over the defaults above.

    address: where it listens.
    """

    def __init__(
        self, directory: Path, settings: dict[str, str] | None = None, port: int = 0, address: str = "127.0.0.1"
    ) -> None:
        self.port = port or free_port(address)
        self.address = address
        self.directory = directory
        self.config = directory / "etc"
        self.queue = directory / "spool"
        self.data = directory / "lib"
        self.log = directory / "mail.log"
        self.settings = {
            **_DEFAULTS,
            "queue_directory": str(self.queue),
            "data_directory": str(self.data),
            "daemon_directory": _DAEMONS,
            "command_directory": "/usr/sbin",
            "maillog_file": str(self.log),
            "maillog_file_prefixes": str(directory),
            **(settings or {}),
        }

    def start(self) -> None:
        """Write the configuration and start; returns once it accepts connections."""
        for each in (self.config, self.queue, self.data):
            each.mkdir(parents=True, exist_ok=True)
        for parent in (self.directory, *self.directory.parents):
            if str(parent).startswith("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o755)
        shutil.chown(self.data, "postfix")
        for name in ("postfix-files", "dynamicmaps.cf", "post-install", "postfix-script"):
            source = Path("/etc/postfix") / name
            if source.exists():
                shutil.copy(source, self.config / name)
        for name in ("postfix-files.d", "dynamicmaps.cf.d"):
            (self.config / name).mkdir(exist_ok=True)
        (self.config / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in self.settings.items()))
        (self.config / "master.cf").write_text(_MASTER.format(port=f"{self.address}:{self.port}"))
        self._postfix("start")
        wait_for_port(self.port, address=self.address)

    def _postfix(self, verb: str) -> None:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.config), verb], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"postfix {verb}: {done.stdout}{done.stderr}")

    def stop(self) -> None:
        """Stop every process of the instance."""
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.config), "stop"], capture_output=True, timeout=60, check=False
        )

    def flush(self) -> None:
        """Try deferred mail again now."""
        self._postfix("flush")

    def sendmail(self, message: bytes, sender: str, recipients: Iterable[str]) -> None:
        """Hand a message to this instance by its own sendmail command."""
        subprocess.run(
            ["/usr/sbin/sendmail", "-C", str(self.config), "-i", "-f", sender, *recipients],
            input=message,
            check=True,
            timeout=60,
            env={**os.environ, "MAIL_CONFIG": str(self.config)},
        )

    @property
    def master_pid(self) -> int:
        """The process id of the instance's master."""
        return int((self.queue / "pid" / "master.pid").read_text())

    def __enter__(self) -> Postfix:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
