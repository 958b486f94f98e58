"""Where log lines go besides files: standard output, and the systemd journal.

Each takes a batch of lines with their levels, in the log thread, and raises OSError when it cannot.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from relayd.events.event import Level

PRIORITY = {Level.ERROR: 3, Level.WARN: 4, Level.INFO: 6, Level.DEBUG: 7, Level.TRACE: 7}
"""syslog's severities."""

JOURNAL_SOCKET = "/run/systemd/journal/socket"

_LONGEST = 48 * 1024
"""Octets of a message in one datagram; the journal's own limit for a line is the same."""


def is_journal(handle: int, environ: Mapping[str, str]) -> bool:
    """Whether the file `handle` is the stream that systemd connected to the journal (JOURNAL_STREAM, systemd.exec)."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    if not (device.isdigit() and inode.isdigit()):
        return False
    try:
        state = os.fstat(handle)
    except OSError:
        return False
    return (state.st_dev, state.st_ino) == (int(device), int(inode))


class Standard:
    """Lines to an open file, standard output; with `<N>` in front when the journal reads them (sd-daemon(3))."""

    def __init__(self, handle: int, *, prefixed: bool = False) -> None:
        self._handle = handle
        self.prefixed = prefixed
        self.name = "standard output"

    def write(self, lines: bytes) -> None:
        """Write whole lines, however often it takes."""
        view = memoryview(lines)
        while view:
            view = view[os.write(self._handle, view) :]


class Journal:
    """One datagram for each line, in the journal's native protocol; no line holds a newline, so no binary form."""

    def __init__(self, path: str = JOURNAL_SOCKET, identifier: str = "relayd") -> None:
        self.name = path
        self._fixed = f"SYSLOG_IDENTIFIER={identifier}\n"
        self._socket: socket.socket | None = None

    def send(self, line: str, level: Level, event_id: str, span_id: int) -> None:
        """Hand over one line with its severity and where it belongs."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        message = line.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
        fields = f"MESSAGE={message}\nPRIORITY={PRIORITY[level]}\n{self._fixed}RELAYD_EVENT={event_id}\n"
        if span_id:
            fields += f"RELAYD_SPAN={span_id}\n"
        self._socket.sendto(fields.encode(), self.name)

    def close(self) -> None:
        """Close the socket; the next line opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
