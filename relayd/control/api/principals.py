"""`/api/principal`: operations 5, 6, 8, 9 and 10, and the deletion of many.

Which permission an operation needs depends on the type of the principal: `individual-get`, `domain-update` and so on.
Who has none of the kind is turned away before anything is looked up; who has another type's only after it is known
what the principal is.  A caller of a tenant sees and changes that tenant's principals alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from aiohttp import web

from relayd.control.access import Caller
from relayd.control.answers import FORBIDDEN, Problem
from relayd.control.api.principal_values import ChangeBody, PrincipalBody, PrincipalValue, principal_value
from relayd.control.background import Background
from relayd.control.queries import FLAG, TEXT, WORDS, PageQuery, parameter
from relayd.control.routes import Call, Handler, Route
from relayd.control.streaming import stream_list
from relayd.directory.editing import Authority
from relayd.directory.entry import Type
from relayd.directory.fields import change, draft
from relayd.directory.principals import MAX_MEMBERS, Principals
from relayd.directory.refusals import FieldMissing, NotFound
from relayd.directory.rows import Place, Selection, View
from relayd.events import manage, security

AREA = "principals"

FAMILIES = tuple(dict.fromkeys(each.family for each in Type))
"""The families of permissions."""

MAX_CHANGES = 1_000
"""Changes of one principal in one request; a list is replaced as a whole by one."""

MAX_DOMAINS = 10_000
"""Domains of one tenant."""

_AT_ONCE = 250
"""Principals that are read at once, and answered in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery(PageQuery):
    """Of the list."""

    filter: str | None = parameter(TEXT, "Words, each of which is in the name, the description or an address.")
    types: tuple[str, ...] = parameter(WORDS, "Types of principals; unknown ones are ignored.", aliases=("type",))
    fields: tuple[str, ...] = parameter(WORDS, "Fields to answer; absent: all.")
    tenant: str | None = parameter(TEXT, "Only that tenant's.")
    count: bool = parameter(FLAG, "Only how many there are.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteQuery:
    """Of the deletion of many."""

    types: tuple[str, ...] = parameter(WORDS, "The type of the principals.", name="type", aliases=("types",))
    filter: str | None = parameter(TEXT, "Words, each of which is in the name, the description or an address.")
    confirm: bool = parameter(FLAG, "That it is meant.")


class PrincipalPage(TypedDict):
    """A part of the list, by name in byte order; how many there are in all."""

    items: list[PrincipalValue]
    total: int


def _route(method: str, path: str, verb: str, handler: Handler, summary: str, operation: int = 0, **rest: Any) -> Route:
    return Route(
        method=method,
        path=path,
        permission=f"{FAMILIES[0]}-{verb}",
        or_permissions=tuple(f"{family}-{verb}" for family in FAMILIES[1:]),
        handler=handler,
        summary=summary,
        area=AREA,
        operation=operation,
        **rest,
    )


class PrincipalOperations:
    """The handlers."""

    def __init__(self, principals: Principals, background: Background) -> None:
        self._principals = principals
        self._background = background

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield _route(
            "GET", "/principal", "list", self.list_, "List principals", 5, query=ListQuery, answer=PrincipalPage
        )
        yield _route(
            "POST", "/principal", "create", self.create, "Create a principal", 6, body=PrincipalBody, answer=int
        )
        yield _route(
            "DELETE",
            "/principal",
            "delete",
            self.delete_many,
            "Delete many principals",
            query=DeleteQuery,
            answer=bool | None,
        )
        one = "/principal/{principal_id}"
        yield _route("GET", one, "get", self.show, "One principal", 8, answer=PrincipalValue)
        yield _route("PATCH", one, "update", self.update, "Change a principal", 9, body=list[ChangeBody], answer=None)
        yield _route("DELETE", one, "delete", self.delete, "Delete a principal", 10, answer=None)

    async def list_(self, call: Call) -> PrincipalPage | web.StreamResponse:
        """5: a page of the principals, or all of them."""
        query: ListQuery = call.query
        selection = await self._selection(call, query.types, query.filter, query.tenant or "")
        total = await self._principals.count(selection)
        if query.count:
            return {"items": [], "total": total}
        wanted = frozenset(query.fields)
        size = query.size if query.size is not None else total
        if size <= _AT_ONCE:
            views = await self._page(call, selection, Place(offset=query.offset), size, wanted)
            return {"items": views, "total": total}
        pieces = self._pieces(call, selection, query.offset, size, wanted)
        return await stream_list(call.request, pieces, {"total": total})

    async def _pieces(
        self, call: Call, selection: Selection, offset: int, size: int, wanted: frozenset[str]
    ) -> AsyncIterator[list[PrincipalValue]]:
        """The list in parts: however long it is, no more of it is in memory."""
        place = Place(offset=offset)
        while size > 0:
            views = await self._views(call, selection, place, min(size, _AT_ONCE), wanted)
            if not views:
                return
            yield [self._value(call, each, wanted) for each in views]
            size -= len(views)
            place = Place(after=views[-1].entry.name)

    async def _page(
        self, call: Call, selection: Selection, place: Place, size: int, wanted: frozenset[str]
    ) -> list[PrincipalValue]:
        return [self._value(call, each, wanted) for each in await self._views(call, selection, place, size, wanted)]

    async def _views(
        self, call: Call, selection: Selection, place: Place, size: int, wanted: frozenset[str]
    ) -> list[View]:
        members = MAX_MEMBERS if not wanted or "members" in wanted else 0
        secrets = any(call.caller.may(f"{each.family}-update") for each in Type)
        secrets = secrets and (not wanted or "secrets" in wanted)
        return await self._principals.page(selection, place, size, members=members, secrets=secrets)

    @staticmethod
    def _value(call: Call, view: View, wanted: Iterable[str] = ()) -> PrincipalValue:
        """A principal, its hashes only for who may change it."""
        if not call.caller.may(f"{view.entry.type.family}-update"):
            view = View(view.entry, view.members)
        return principal_value(view, frozenset(wanted))

    async def create(self, call: Call) -> int:
        """6: a new principal; its id."""
        type, given = call.body.given()
        if type is None:
            raise FieldMissing("type")
        _check(call, type, "create")
        id = await self._principals.create(type, draft(type, given), _authority(call.caller))
        _audit(call, "principal.create", f"create {type} {given['name']}")
        return id

    async def show(self, call: Call) -> PrincipalValue:
        """8: one principal, by its name."""
        view = await self._view(call, "get", secrets=True)
        return self._value(call, view)

    async def update(self, call: Call) -> None:
        """9: make all of the changes, or none."""
        if len(call.body) > MAX_CHANGES:
            raise Problem(400, "Invalid parameters", f"expected at most {MAX_CHANGES} changes")
        view = await self._view(call, "update", secrets=False)
        changes = [change(view.entry.type, each.action, each.field, each.value) for each in call.body]
        await self._principals.update(view.entry.name, changes, _authority(call.caller))
        fields = ", ".join(sorted({each.field for each in changes}))
        _audit(call, "principal.update", f"update {view.entry.type} {view.entry.name}: {fields}")

    async def delete(self, call: Call) -> None:
        """10: delete a principal; what is still used is refused."""
        view = await self._view(call, "delete", secrets=False)
        await self._principals.delete(view.entry.name, _authority(call.caller))
        _audit(call, "principal.delete", f"delete {view.entry.type} {view.entry.name}")

    async def delete_many(self, call: Call) -> bool | None:
        """Delete all principals of a type, those that `filter` finds; whether any was.  Null: it goes on."""
        query: DeleteQuery = call.query
        types = _types(query.types)
        if not types or not query.confirm:
            raise Problem(400, "Invalid parameters", "expected a type, and confirm=true")
        selection = await self._selection(call, query.types, query.filter, "", verb="delete")
        named = f"delete principals of type {', '.join(sorted(types))}"
        work = self._principals.delete_many(selection, _authority(call.caller))
        deleted = await self._background.run(work, call.span, named)
        _audit(call, "principal.delete", named, deleted)
        return None if deleted is None else deleted > 0

    async def _view(self, call: Call, verb: str, *, secrets: bool) -> View:
        """The principal that the path names, if the caller may do this to it.  Raises NotFound, Problem 403."""
        name = call.path["principal_id"]
        view = await self._principals.view(name, secrets=secrets)
        if view is None or (call.caller.tenant not in ("", view.entry.tenant)):
            raise NotFound(name)
        _check(call, view.entry.type, verb)
        return view

    async def _selection(
        self, call: Call, types: Iterable[str], words: str | None, tenant: str, *, verb: str = "list"
    ) -> Selection:
        """What a query selects, of what the caller may see.  Raises NotFound, Problem 403."""
        chosen = _types(types) or frozenset(Type)
        for each in sorted(chosen):
            _check(call, each, verb)
        own = call.caller.tenant
        tenant = tenant.strip().lower()
        if tenant and own not in ("", tenant):
            raise NotFound(tenant)
        if tenant:
            found = await self._principals.get(tenant)
            if found is None or found.type is not Type.TENANT:
                raise NotFound(tenant)
        return Selection(types=chosen, words=tuple((words or "").split()), tenant=tenant or own)


async def domains_of(principals: Principals, caller: Caller) -> Sequence[str] | None:
    """The domains of the tenant that a caller is bound to, None when he is bound to none."""
    if not caller.tenant:
        return None
    selection = Selection(types=frozenset({Type.DOMAIN}), tenant=caller.tenant)
    return [each.entry.name for each in await principals.page(selection, Place(), MAX_DOMAINS)]


def _authority(caller: Caller) -> Authority:
    return Authority(caller.permissions, caller.tenant)


def _types(names: Iterable[str]) -> frozenset[Type]:
    known = {each.value.lower(): each for each in Type}
    return frozenset(known[name.lower()] for name in names if name.lower() in known)


def _check(call: Call, type: Type, verb: str) -> None:
    """Raise Problem 403 unless the caller may do this to principals of that type."""
    permission = f"{type.family}-{verb}"
    if not call.caller.may(permission):
        security.UNAUTHORIZED(call.span, account_name=call.caller.name, id=permission, path=call.request.path)
        raise Problem(*FORBIDDEN)


def _audit(call: Call, what: str, details: str, total: int | None = 1) -> None:
    manage.ACTION(call.span, account_name=call.caller.name, type_=what, details=details, total=total, reason="")
