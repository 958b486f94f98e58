"""Headers of every answer, whatever makes it: the request's id, and what the configuration adds."""

from __future__ import annotations

from aiohttp import web

from relayd.control.options import HttpOptions
from relayd.control.origin import ORIGIN
from relayd.control.routes import SPAN

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept, X-Requested-With",
    "Access-Control-Allow-Methods": "POST, GET, PATCH, PUT, DELETE, HEAD, OPTIONS",
}
_HSTS = "max-age=31536000"


class Headers:
    """Adds them when an answer is about to be sent.  A reload replaces the options."""

    def __init__(self, options: HttpOptions) -> None:
        self.options = options

    async def add(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Add the headers that are due; those that the handler set stay."""
        headers = answer.headers
        span = request.get(SPAN)
        if span is not None:
            headers["X-Request-Id"] = str(span.id)
        headers["Server"] = "relayd"
        headers.setdefault("X-Content-Type-Options", "nosniff")
        if request.path.startswith("/api"):  # what the answers hold is for who asked, and no cache
            headers.setdefault("Cache-Control", "no-store")
        if self.options.permissive_cors:
            headers.update(_CORS)
        origin = request.get(ORIGIN)
        if self.options.hsts and origin is not None and origin.is_tls:
            headers["Strict-Transport-Security"] = _HSTS
        for name, value in self.options.headers:
            headers.setdefault(name, value)
