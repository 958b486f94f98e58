"""Our side of systemd's protocols: readiness and status (sd_notify), the watchdog, and inherited sockets.

Without systemd nothing is set in the environment and every call does nothing.  References: sd_notify(3),
sd_watchdog_enabled(3), sd_listen_fds(3).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping

_FIRST_FD = 3  # SD_LISTEN_FDS_START


class Supervisor:
    """Tells the supervisor how the daemon is.

    environ: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked up.  monotonic: seconds of CLOCK_MONOTONIC,
    which systemd compares with the time of its own reload request.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._monotonic = monotonic
        self.watchdog_interval = _watchdog_interval(environ)
        """Seconds between two signs of life, half of what systemd allows; None when it expects none."""

    @property
    def is_supervised(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def notify_ready(self, status: str = "") -> bool:
        """Start-up, or a reload, is over."""
        return self._send("READY=1", *([f"STATUS={_line(status)}"] if status else []))

    def notify_reloading(self) -> bool:
        """A reload begins; `notify_ready` ends it, whether it succeeded or not."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * 1_000_000)}")

    def notify_stopping(self) -> bool:
        """The daemon shuts down."""
        return self._send("STOPPING=1")

    def notify_status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(f"STATUS={_line(text)}")

    def notify_alive(self) -> bool:
        """A sign of life for the watchdog."""
        return self._send("WATCHDOG=1")

    async def keep_alive(self, is_healthy: Callable[[], bool] = lambda: True) -> None:
        """Give a sign of life from the event loop until cancelled; none while `is_healthy` says no.

        A loop that hangs, or is unhealthy for the whole of WatchdogSec, is thus restarted.  Returns at once when no
        watchdog is set.
        """
        if self.watchdog_interval is None:
            return
        while True:
            if is_healthy():
                self.notify_alive()
            await asyncio.sleep(self.watchdog_interval)

    def _send(self, *lines: str) -> bool:
        """Whether the message went out.  A supervisor that cannot be told is no reason to fail."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
                notifier.connect(self._address)
                notifier.sendall("\n".join(lines).encode())
        except OSError:
            return False
        return True


def _line(text: str) -> str:
    return " ".join(text.split())


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000


def inherited_sockets(environ: MutableMapping[str, str] | None = None) -> dict[str, list[socket.socket]]:
    """The listening sockets that systemd passed, by their FileDescriptorName, in the order of the unit.

    They are ours from now on: not inherited further, non-blocking, and the variables are removed so that no child
    takes them for its own.  A descriptor without a name is "unknown", as in sd_listen_fds_with_names(3).
    """
    environ = os.environ if environ is None else environ
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdigit() or pid != str(os.getpid()):
        return {}
    found: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        descriptor = _FIRST_FD + number
        os.set_inheritable(descriptor, False)
        inherited = socket.socket(fileno=descriptor)
        inherited.setblocking(False)
        name = names[number] if number < len(names) and names[number] else "unknown"
        found.setdefault(name, []).append(inherited)
    return found
