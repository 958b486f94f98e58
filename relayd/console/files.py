"""Serves the console's files: read once, known by name, nothing else is reachable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from relayd.control.answers import UNAUTHORIZED, Problem
from relayd.control.routes import Door

_STATIC = Path(__file__).resolve().parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PREFIX = "/console"

DEVICE_PAGE = ("/authorize", "/authorize/")
"""Where `POST /auth/device` sends who is to let a device in; the second takes the code in its query."""

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    type: str
    tag: str


def media_types() -> dict[str, str]:
    """The media type of each path but `/`, which is shared."""
    named = {f"{PREFIX}/{path.name}": _TYPES[path.suffix] for path in sorted(_STATIC.iterdir()) if path.is_file()}
    del named[f"{PREFIX}/index.html"]
    return named | dict.fromkeys(DEVICE_PAGE, "text/html")


class Console:
    """The files, by the path they are asked for."""

    def __init__(self, directory: Path = _STATIC) -> None:
        self._files = {f"{PREFIX}/{path.name}": _read(path) for path in sorted(directory.iterdir()) if path.is_file()}
        self._files["/"] = self._files.pop(f"{PREFIX}/index.html")
        for path in DEVICE_PAGE:
            self._files[path] = self._files[f"{PREFIX}/authorize.html"]

    def doors(self) -> Iterator[Door]:
        """Every file, without credentials; `GET /` is the application's, for it is shared."""
        for path in self._files:
            for method in ("GET", "HEAD"):
                if (method, path) != ("GET", "/"):
                    yield Door(method=method, path=path, handler=self.serve, dialect="")

    async def serve(self, request: web.Request) -> web.Response:
        """One file, or 304 where the browser has it.  Raises Problem for what no browser asks."""
        if request.method not in ("GET", "HEAD"):
            raise Problem(*UNAUTHORIZED)
        file = self._files[request.path]
        headers = {**_HEADERS, "ETag": file.tag}
        if file.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.type, charset="utf-8", headers=headers)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:24]}"')
