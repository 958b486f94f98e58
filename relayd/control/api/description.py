"""The description of the API: `GET /api/openapi.json`, and a page that shows it at `GET /docs`.

The page lies outside `/api`, so that everything below `/api` asks for credentials without an exception.  It holds
nothing of its own: it asks for credentials and fetches the document with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from relayd import __version__
from relayd.control.openapi import document
from relayd.control.routes import Call, Door, Route

_PAGES = Path(__file__).resolve().parent.parent / "pages"

_FILES = {
    "/docs": ("docs.html", "text/html"),
    "/docs/docs.css": ("docs.css", "text/css"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
}

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Description:
    """The document and its page.  routes: all of the application's, asked at the first request."""

    def __init__(self, routes: Callable[[], Sequence[Route]]) -> None:
        self._routes = routes
        self._document: bytes | None = None
        self._files = {path: (_PAGES / name).read_bytes() for path, (name, _) in _FILES.items()}

    def routes(self) -> Iterator[Route]:
        """The document."""
        yield Route(
            method="GET",
            path="/openapi.json",
            permission="authenticate",
            handler=self.openapi,
            summary="This description, as OpenAPI 3.1",
            area="description",
            answer=dict[str, Any],
            bare=True,
        )

    def doors(self) -> Iterator[Door]:
        """The page and its files, which need no credentials."""
        for path in _FILES:
            yield Door(method="GET", path=path, handler=self.page, dialect="")

    async def openapi(self, call: Call) -> web.Response:
        """The document itself, not under `data`."""
        if self._document is None:
            self._document = msgspec.json.encode(document(self._routes(), __version__))
        return web.Response(body=self._document, content_type="application/json")

    async def page(self, request: web.Request) -> web.Response:
        """The page, or one of its two files."""
        return web.Response(
            body=self._files[request.path], content_type=_FILES[request.path][1], charset="utf-8", headers=_HEADERS
        )
