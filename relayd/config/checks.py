"""What no single option can know: whether the options of several sections fit together and the machine has what they
name.  Called after every value has been found good for itself."""

from __future__ import annotations

from relayd.config.configuration import Config, Problem
from relayd.mail.options import ServerOptions


def check(config: Config) -> list[Problem]:
    """All problems between the sections; the fatal ones are errors, the others warnings."""
    return [*_server(config)]


def _server(config: Config) -> list[Problem]:
    server = config.section(ServerOptions)
    if server.postmaster is None:
        text = "is not set: mail to postmaster, double bounces and alerts have no place to go"
        return [Problem("server.postmaster", text, fatal=False)]
    return []
