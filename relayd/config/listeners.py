"""Questions about the configured listeners that more than one part asks."""

from __future__ import annotations

from relayd.config.configuration import Config


def loopback_smtp(config: Config) -> list[str]:
    """The addresses ("host:port") where SMTP listeners can be reached from this machine, in the order of the file."""
    return []
