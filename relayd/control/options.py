"""Options of the control socket: `server.http.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import DURATION, SIZE, TEXT, integer, option, section


@section("server.http", "The control socket: listeners with protocol http, and <data-dir>/control.sock.")
@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """`server.http.*`"""

    idle_timeout: float = option(
        DURATION, "30s", "A connection without a request in work is closed after this time, however it dawdles."
    )
    body_timeout: float = option(DURATION, "30s", "The body of a request must arrive within this time.")
    max_body: int = option(SIZE, "1MB", "The largest body of a request.")
    max_connections: int = option(
        integer(1, 100_000), 256, "Over this many connections, those without a request in work are closed at once."
    )


@section("authentication.fallback-admin", "The administrator that always works. Taken from the file alone.")
@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackAdminOptions:
    """`authentication.fallback-admin.*`"""

    user: str | None = option(TEXT, None, "Name to sign in with.", example="admin")
    secret: str | None = option(
        TEXT,
        None,
        "Password: a hash ($argon2id$, $y$, $6$, $5$, $2b$), or %{env:NAME}% or %{file:PATH}% that hold one.",
        secret=True,
        example="%{env:RELAYD_ADMIN_SECRET}%",
    )
