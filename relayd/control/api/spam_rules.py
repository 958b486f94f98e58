"""Operation 29, `GET /update/spam-filter`: new rules from where the configuration says; and back again, which is ours.

A set of rules that cannot be read changes nothing; one that can is in force when the answer is given.  `overwrite` also
takes away the scores that were set through the API.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypedDict

from relayd.control.answers import other
from relayd.control.queries import FLAG, parameter
from relayd.control.routes import Call, Route
from relayd.events import manage

_PERMISSION = "spam-filter-update"
_AREA = "maintenance"


class UpdateFailed(Exception):
    """Nothing has changed; the text says why."""


class RulesSide(Protocol):
    """Who keeps the rules."""

    async def update(self, *, force: bool, overwrite: bool) -> str | None:
        """Fetch and put in force: the new version, None where it is in force already.  UpdateFailed."""
        ...

    async def rollback(self) -> str:
        """Go back to the version before: which one.  UpdateFailed."""
        ...

    async def versions(self) -> tuple[str, list[str]]:
        """The version in force, and those one can go back to, the newest first."""
        ...


class NoRules:
    """A daemon without spam scoring."""

    async def update(self, *, force: bool, overwrite: bool) -> str | None:
        """See RulesSide."""
        raise UpdateFailed("there is no spam filter")

    async def rollback(self) -> str:
        """See RulesSide."""
        raise UpdateFailed("there is no spam filter")

    async def versions(self) -> tuple[str, list[str]]:
        """See RulesSide."""
        return "", []


class VersionsValue(TypedDict):
    """version: in force.  previous: what one can go back to, the newest first; "" are the delivered rules."""

    version: str
    previous: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateQuery:
    """How to update."""

    force: bool = parameter(FLAG, "Even where this version is in force.")
    overwrite: bool = parameter(FLAG, "Take away scores that were set through the API.")


class RulesOperations:
    """The handlers."""

    def __init__(self, rules: RulesSide) -> None:
        self._rules = rules

    def routes(self) -> Iterator[Route]:
        """Update, go back, and which versions there are."""
        yield Route(
            method="GET",
            path="/update/spam-filter",
            permission=_PERMISSION,
            handler=self.update,
            summary="Update the spam filter's rules: the new version, null where it is in force",
            area=_AREA,
            query=UpdateQuery,
            answer=str | None,
            operation=29,
        )
        yield Route(
            method="POST",
            path="/update/spam-filter/rollback",
            permission=_PERMISSION,
            handler=self.rollback,
            summary="Go back to the rules before the last update: their version",
            area=_AREA,
            answer=str,
        )
        yield Route(
            method="GET",
            path="/update/spam-filter/versions",
            permission=_PERMISSION,
            handler=self.versions,
            summary="Which spam rules are in force, and which were before",
            area=_AREA,
            answer=VersionsValue,
        )

    async def update(self, call: Call) -> str | None:
        """29."""
        try:
            version = await self._rules.update(force=call.query.force, overwrite=call.query.overwrite)
        except UpdateFailed as error:
            raise other("The rules could not be updated.", str(error)) from None
        _tell(call, "spam-update", version or "already in force")
        return version

    async def rollback(self, call: Call) -> str:
        """One step back."""
        try:
            version = await self._rules.rollback()
        except UpdateFailed as error:
            raise other("There are no rules to go back to.", str(error)) from None
        _tell(call, "spam-rollback", version)
        return version

    async def versions(self, call: Call) -> VersionsValue:
        """In force and before."""
        version, previous = await self._rules.versions()
        return VersionsValue(version=version, previous=previous)


def _tell(call: Call, kind: str, version: str) -> None:
    manage.ACTION(call.span, account_name=call.caller.name, type_=kind, details=version, total=1, reason="")
