"""Options of the server as a whole: its names, its place on disk."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import DURATION, TEXT, TEXTS, choice, integer, option, section


@section("server", "Who this server is and where it keeps its data.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """`server.*`"""

    hostname: str | None = option(
        TEXT,
        None,
        "Name in the banner, EHLO, Received and Message-ID. Default: the machine's FQDN.",
        example="mx.example.org",
    )
    data_dir: str = option(TEXT, "./relayd-data", "Queue, bodies, logs and keys. Taken from the file alone.")
    postmaster: str | None = option(
        TEXT,
        None,
        "Where mail to postmaster, double bounces and alerts go. Warned about when not set.",
        example="ops@example.org",
    )
    origin: str | None = option(
        TEXT,
        None,
        "Domain that qualifies bare names (root -> root@origin). Default: the hostname.",
        example="example.org",
    )
    aliases: tuple[str, ...] = option(
        TEXTS, [], 'Local names and where their mail goes: "root: ops@example.org".', example=["root: ops@example.org"]
    )
    loop: str = option(
        choice("auto", "asyncio", "uvloop"), "auto", "Event loop; auto takes uvloop where it is installed."
    )
    node: int = option(integer(0, 511), 1, "Number of this node, part of every id.")
    stop_timeout: float = option(DURATION, "30s", "How long a stopping daemon waits for what is in flight.")
    submit_socket: str | None = option(
        TEXT,
        None,
        "Unix socket where every local user may hand in mail. Default: /run/relayd/submit.sock where the daemon may"
        " write there, else submit.sock in the data directory.",
        example="/run/relayd/submit.sock",
    )
