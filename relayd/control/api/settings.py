"""Settings: operations 32-35 of the API and `DELETE /api/settings/{key}`.

What is listed is what is set, in the file or in the database, as it was written; `defaults=1` adds what is not set, and
`source=1` a map `sources` that says of every key in the answer where its value comes from: "database", "file" or
"default" (for operation 32, whose answer is a bare map, the answer becomes `{items, sources}`); operation 34 also says
under `in_file` what the file has of a key that the database overrules.  Secrets are masked before they come here, and
every filter works on the mask.

A change is carried out as a whole or not at all, by whoever owns the settings: operations are applied in order to what
the database holds, then the configuration that file and database come to together must be valid.  It takes effect at
the next reload or start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NotRequired, Protocol, TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.queries import FLAG, TEXT, WORDS, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.events import manage

_SHOWN_KEYS = 50
"""Keys that the event of a change names; of more, how many."""

UNAVAILABLE = (503, "Service Unavailable", "The settings cannot be written now; the log has the reason.")


class Insert(msgspec.Struct, tag_field="type", tag="insert", frozen=True):
    """Write values, each below `prefix` when there is one; an element of a list is a key of its own.

    assert_empty: nothing may be set below the prefix (without one: the first key may not be set).
    """

    values: list[tuple[str, str]]
    assert_empty: bool
    prefix: str | None = None

    def __repr__(self) -> str:
        return f"<Insert {[key for key, _ in self.values]}>"  # a value may be a secret


class Delete(msgspec.Struct, tag_field="type", tag="delete", frozen=True):
    """Remove keys from the database; what the file says shows again."""

    keys: list[str]


class Clear(msgspec.Struct, tag_field="type", tag="clear", frozen=True):
    """Remove every key of the database that starts with `prefix`, with `filter` those that hold it in key or value."""

    prefix: str
    filter: str | None = None


Operation = Insert | Delete | Clear


class Setting(NamedTuple):
    """A value as it is shown: secrets masked.  source: "database", "file" or "default".

    in_file: what the file says of a key whose value is the database's; None when it says nothing.
    """

    value: str
    source: str
    in_file: str | None = None


class AssertFailed(Exception):
    """Something is set where `assert_empty` said that nothing is."""


class SettingsRefused(Exception):
    """Nothing was stored; the text says why, a line a reason, and holds no secret."""


class SettingsUnavailable(Exception):
    """The database cannot be written; whether it was is not known."""


class OwnerOfSettings(Protocol):
    """Keeps the settings of the daemon."""

    async def listed(self, *, defaults: bool) -> Mapping[str, Setting]:
        """Everything that is set, by key; with `defaults` what is not set too."""

    async def change(self, operations: Sequence[Operation]) -> Sequence[str]:
        """Carry out all operations or none; the keys that changed.

        Raises AssertFailed, SettingsRefused, SettingsUnavailable.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQuery(PageQuery):
    """What is shown beside what is set."""

    defaults: bool = parameter(FLAG, "Show what is not set too, with its default.")
    source: bool = parameter(FLAG, "Say where each value comes from.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysQuery:
    """Which keys."""

    keys: tuple[str, ...] = parameter(WORDS, "Exact keys; the bare name of a list means its elements.")
    prefixes: tuple[str, ...] = parameter(WORDS, "Groups of keys; a dot is appended when missing.")
    defaults: bool = parameter(FLAG, "Show what is not set too, with its default.")
    source: bool = parameter(FLAG, "Answer {items, sources}, where sources says where each value comes from.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery(ShownQuery):
    """A group of keys."""

    prefix: str | None = parameter(TEXT, "Root of the group; a dot is appended when missing.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupQuery(ListQuery):
    """Records, or single keys, below a prefix."""

    suffix: str | None = parameter(TEXT, "The key that marks a record; its id is what stands before it.")
    field: str | None = parameter(TEXT, "Only this key of each record.")
    filter: str | None = parameter(TEXT, "What an id or a value must hold, in any case of letters.")


class ListAnswer(TypedDict):
    """Keys without their prefix.  in_file: what the file says of keys whose value is the database's."""

    total: int
    items: dict[str, str]
    sources: NotRequired[dict[str, str]]
    in_file: NotRequired[dict[str, str]]


class GroupAnswer(TypedDict):
    """Records, ordered by id.  total: without paging."""

    total: int
    items: list[dict[str, str]]
    sources: NotRequired[dict[str, str]]


class SettingsOperations:
    """The handlers."""

    def __init__(self, settings: OwnerOfSettings) -> None:
        self._settings = settings

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/settings/keys",
            permission="settings-list",
            handler=self.by_key,
            summary="Settings by key or prefix",
            area="settings",
            query=KeysQuery,
            answer=dict[str, str | dict[str, str]],
            operation=32,
        )
        yield Route(
            method="GET",
            path="/settings/group",
            permission="settings-list",
            handler=self.group,
            summary="Settings as records",
            area="settings",
            query=GroupQuery,
            answer=GroupAnswer,
            operation=33,
        )
        yield Route(
            method="GET",
            path="/settings/list",
            permission="settings-list",
            handler=self.below,
            summary="Settings below a prefix",
            area="settings",
            query=ListQuery,
            answer=ListAnswer,
            operation=34,
        )
        yield Route(
            method="POST",
            path="/settings",
            permission="settings-update",
            handler=self.update,
            summary="Change settings, all of what is asked or nothing; in force at the next reload",
            area="settings",
            body=list[Operation],
            operation=35,
        )
        yield Route(
            method="DELETE",
            path="/settings/{key}",
            permission="settings-delete",
            handler=self.delete,
            summary="Remove a setting from the database; what the file says shows again",
            area="settings",
        )

    async def by_key(self, call: Call) -> dict[str, str] | dict[str, dict[str, str]]:
        """32: exact keys and whole prefixes; what is not there is left out."""
        query: KeysQuery = call.query
        found = await self._settings.listed(defaults=query.defaults)
        prefixes = tuple(_with_dot(each) for each in query.prefixes)
        items = {key: each.value for key, each in found.items() if prefixes and key.startswith(prefixes)}
        wanted = frozenset(query.keys)
        items |= {key: each.value for key, each in found.items() if key in wanted or _list_of(key) in wanted}
        if not query.source:
            return items
        return {"items": items, "sources": {key: found[key].source for key in items}}

    async def below(self, call: Call) -> ListAnswer:
        """34: a group of keys without its prefix, ordered."""
        query: ListQuery = call.query
        found, prefix = await self._below(query)
        keys = sorted(found)
        page = keys[query.offset :][: query.size]
        answer = ListAnswer(total=len(keys), items={key[len(prefix) :]: found[key].value for key in page})
        if query.source:
            answer["sources"] = {key: found[key].source for key in page}
            answer["in_file"] = {key: text for key in page if (text := found[key].in_file) is not None}
        return answer

    async def group(self, call: Call) -> GroupAnswer:
        """33: records by the key that marks them, or keys and values one by one."""
        query: GroupQuery = call.query
        found, prefix = await self._below(query)
        if query.suffix:
            records = _records(found, len(prefix), query.suffix.removeprefix("."))
            field = query.field
        else:
            records = {key[len(prefix) :]: {"_value": key} for key in found}
            field = None
        needle = (query.filter or "").lower()
        matching = sorted(id for id, keys in records.items() if _holds(needle, id, keys.values(), found))
        answer = GroupAnswer(total=len(matching), items=[])
        sources: dict[str, str] = {}
        for id in matching[query.offset :][: query.size]:
            shown = {name: key for name, key in records[id].items() if field in (None, "", name, _list_of(name))}
            answer["items"].append({"_id": id, **{name: found[key].value for name, key in shown.items()}})
            sources |= {key: found[key].source for key in shown.values()}
        if query.source:
            answer["sources"] = sources
        return answer

    async def _below(self, query: ListQuery) -> tuple[dict[str, Setting], str]:
        prefix = _with_dot(query.prefix) if query.prefix else ""
        listed = await self._settings.listed(defaults=query.defaults)
        return {key: value for key, value in listed.items() if key.startswith(prefix)}, prefix

    async def update(self, call: Call) -> None:
        """35: operations in order, as one change."""
        await self._change(call, call.body, "settings-update")

    async def delete(self, call: Call) -> None:
        """Remove one key from the database; nothing to do when it is not there."""
        key = call.path["key"]
        if not key:
            raise Problem(*NOT_FOUND)
        await self._change(call, [Delete(keys=[key])], "settings-delete")

    async def _change(self, call: Call, operations: Sequence[Operation], action: str) -> None:
        try:
            changed = await self._settings.change(operations)
        except AssertFailed:
            raise Failure("assertFailed") from None
        except SettingsRefused as error:
            raise other("The settings were refused; nothing was stored", str(error)) from None
        except SettingsUnavailable as error:
            manage.ERROR(call.span, details="the settings cannot be written", reason=str(error))
            raise Problem(*UNAVAILABLE) from None
        if not changed:
            return
        shown = ", ".join(changed[:_SHOWN_KEYS])
        if len(changed) > _SHOWN_KEYS:
            shown += f" and {len(changed) - _SHOWN_KEYS} more"
        manage.ACTION(
            call.span, account_name=call.caller.name, type_=action, details=shown, total=len(changed), reason=""
        )


_ELEMENT = re.compile(r"(.+)\.\d{4}", re.ASCII | re.DOTALL)


def _list_of(key: str) -> str:
    """The name of the list that `key` is an element of, else the key itself."""
    match = _ELEMENT.fullmatch(key)
    return match[1] if match else key


def _with_dot(prefix: str) -> str:
    return prefix if prefix.endswith(".") else prefix + "."


def _holds(needle: str, id: str, keys: Iterable[str], found: Mapping[str, Setting]) -> bool:
    return not needle or needle in id.lower() or any(needle in found[key].value.lower() for key in keys)


def _records(found: Mapping[str, Setting], start: int, suffix: str) -> dict[str, dict[str, str]]:
    """The keys of each record by what stands behind its id.  An id may hold dots, and may begin with another one's:
    a key belongs to the longest id that fits."""
    ids = set()
    for key in found:
        name = _list_of(key)
        if name.endswith("." + suffix) and len(name) > start + len(suffix) + 1:
            ids.add(name[start : -len(suffix) - 1])
    records: dict[str, dict[str, str]] = {id: {} for id in ids}
    for key in found:
        rest = key[start:]
        end = rest.rfind(".")
        while end > 0 and rest[:end] not in ids:
            end = rest.rfind(".", 0, end)
        if end > 0:
            records[rest[:end]][rest[end + 1 :]] = key
    return records
