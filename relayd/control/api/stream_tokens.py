"""Tokens by which a browser opens the live streams, whose requests carry no header: operations 3, 25 and 47."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from relayd.control.answers import FORBIDDEN, Problem, data
from relayd.control.routes import Call, Handler, Route
from relayd.control.signing_in import SigningIn
from relayd.directory.permissions import METRICS_LIVE, TRACING_LIVE, TROUBLESHOOT
from relayd.directory.tokens import TokenKind

_ROUTES = (
    (3, "/telemetry/live/metrics-token", METRICS_LIVE, TokenKind.LIVE_METRICS, "the live metrics", "telemetry"),
    (25, "/troubleshoot/token", TROUBLESHOOT, TokenKind.TROUBLESHOOT, "troubleshooting a delivery", "troubleshooting"),
    (47, "/telemetry/live/tracing-token", TRACING_LIVE, TokenKind.LIVE_TRACING, "the live traces", "telemetry"),
)


class StreamTokens:
    """The handlers."""

    def __init__(self, signing_in: SigningIn) -> None:
        self._signing_in = signing_in

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        for operation, path, permission, kind, what, area in _ROUTES:
            yield Route(
                method="GET",
                path=path,
                permission=permission,
                handler=self._handler(kind),
                summary=f"A token that opens the stream of {what} for a minute",
                area=area,
                answer=str,
                operation=operation,
            )

    def _handler(self, kind: TokenKind) -> Handler:
        async def token(call: Call) -> web.Response:
            identity = call.caller.identity
            if identity is None:
                raise Problem(*FORBIDDEN)
            answer = data(self._signing_in.stream_token(identity, kind))
            answer.headers["Cache-Control"] = "no-store"
            return answer

        return token
