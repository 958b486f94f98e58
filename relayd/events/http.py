"""The control socket (control-api family `http`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

CONNECTION_START = EventKind(
    "http.connection-start",
    Level.DEBUG,
    "HTTP connection started",
    "A connection to the control socket was made",
    "listener_id remote_ip",
)
CONNECTION_END = EventKind(
    "http.connection-end",
    Level.DEBUG,
    "HTTP connection ended",
    "A connection to the control socket was closed",
    "elapsed",
)
ERROR = EventKind("http.error", Level.DEBUG, "HTTP error", "A request failed", "reason url")
REQUEST_URL = EventKind(
    "http.request-url", Level.DEBUG, "HTTP request", "A request was answered", "url code elapsed account_name id"
)
HANDLER_ERROR = EventKind(
    "http.handler-error",
    Level.ERROR,
    "Internal error in a request",
    "A bug or a failing part; the client was told the request's id",
    "reason url",
)
