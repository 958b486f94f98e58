"""The BrainyCP operations `clamav` and `spamassassin`: whether mail is given to that scanner, on and off.

`status` answers `detail: ["on"]` or `["off"]`; one that is on and does not answer is told of in further elements.  `on`
and `off` set `filter.<id>.enabled` of every connector of the kind and put that in force at once; being settings, they
hold across a restart.  `on` where none is configured makes one, at the address that Debian's package has, which takes
mail all the same while the scanner does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

TYPES = {"clamav": "clamd", "spamassassin": "spamd"}
"""The kind of connector by the name of the operation."""

COMMANDS = ("status", "on", "off")


class SwitchFailed(Exception):
    """A switch could not be set; the text says why, and nothing has changed."""


class Switches(Protocol):
    """The connectors to outside scanners, as an operator sees them."""

    async def status(self, type: str) -> Mapping[str, str]:
        """By id, for those of a kind ("clamd", "spamd", "rspamd"): "off", "" when it answers, else what is wrong."""
        ...

    async def switch(self, type: str, on: bool, by: str) -> None:
        """Set all of a kind.  by: who asks.  Raises SwitchFailed."""
        ...


class NoSwitches:
    """Where nothing can be switched."""

    async def status(self, type: str) -> Mapping[str, str]:
        """None is configured."""
        return {}

    async def switch(self, type: str, on: bool, by: str) -> None:
        """Cannot be done."""
        raise SwitchFailed("there are no scanners here")


def detail(found: Mapping[str, str]) -> list[str]:
    """What the panel is told of a kind."""
    asked = {id: problem for id, problem in found.items() if problem != "off"}
    if not asked:
        return ["off"]
    return ["on", *(f"{id}: {problem}" for id, problem in sorted(asked.items()) if problem)]
