"""Sockets (control-api family `network`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

LISTEN_START = EventKind(
    "network.listen-start",
    Level.INFO,
    "Listening",
    "A listener accepts connections",
    "listener_id local_ip local_port path",
)
LISTEN_STOP = EventKind(
    "network.listen-stop", Level.INFO, "Not listening any more", "A listener was closed", "listener_id"
)
BIND_ERROR = EventKind(
    "network.bind-error",
    Level.ERROR,
    "Cannot listen",
    "The address could not be bound",
    "listener_id local_ip local_port path reason",
)
PROXY_ERROR = EventKind(
    "network.proxy-error",
    Level.WARN,
    "PROXY header refused",
    "A connection without a good PROXY header, or from a host that is not listed",
    "listener_id remote_ip reason",
)
