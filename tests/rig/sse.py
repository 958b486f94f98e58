"""A reader of Server-Sent Events, as a browser's EventSource is one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import urlencode


class EventSource:
    """Opens a stream of the control socket on a loopback port; without a header, so with a token in the query."""

    def __init__(self, port: int, path: str, query: dict[str, object], timeout: float = 20.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        request = f"GET {path}?{urlencode(query)} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        self._socket.sendall(request.encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def frames(self) -> Iterator[tuple[str, Any]]:
        """Name and decoded data of each event, as they come, to the end of the stream."""
        for name, data in self.octets():
            yield name.decode(), json.loads(data)

    def octets(self) -> Iterator[tuple[bytes, bytes]]:
        """Name and data of each event as they are on the wire."""
        buffer = b""
        for chunk in self._chunks():
            buffer += chunk
            while b"\n\n" in buffer:
                block, _, buffer = buffer.partition(b"\n\n")
                fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
                yield fields[b"event"], fields[b"data"]

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> EventSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
