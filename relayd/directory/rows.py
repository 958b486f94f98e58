"""Principals as rows: how they are found, listed and read.  Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from relayd.database.interface import Connection
from relayd.directory.account import Account
from relayd.directory.entry import DISABLED, EMAILS, ENABLED, MEMBER_TYPES, ROLES, Entry, Found, How, Type
from relayd.directory.permissions import ROLES as BUILT_IN
from relayd.directory.permissions import Role, effective
from relayd.directory.schema import ROLE_IDS

ROLE_NAMES = {id: name for name, id in ROLE_IDS.items()}

_CHUNK = 400
"""Ids in one statement."""

_ATTRIBUTES = {
    "description": "description",
    "quota": "quota",
    EMAILS: "emails",  # of types that take no mail
    ENABLED: "enabled_permissions",
    DISABLED: "disabled_permissions",
    "picture": "picture",
    "urls": "urls",
    "externalMembers": "external_members",
    "nextHop": "next_hop",
    "allowances": "allowances",
    "senders": "senders",
    "suspended": "suspended",
}
"""What stands in `attributes`, and the field of an Entry that it is."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which principals.  words: each is in the name, the description or an address.  tenant: a name, "" for all."""

    types: frozenset[Type] = frozenset(Type)
    words: tuple[str, ...] = ()
    tenant: str = ""

    def holds(self, entry: Entry) -> bool:
        """Whether a principal of the configuration is one of them."""
        text = "\n".join([entry.name, *entry.emails]).lower()
        in_words = all(word.lower() in text for word in self.words)
        return entry.type in self.types and not self.tenant and in_words


@dataclass(frozen=True, slots=True)
class View:
    """A principal with what belongs to it: names of its members, or how many; its secrets.  None: not asked for."""

    entry: Entry
    members: tuple[str, ...] | int | None = None
    secrets: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"<View {self.entry.name}>"


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list: a principal of the database, or (id None) the name of one of the configuration."""

    name: str
    id: int | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Secrets of a principal as they are stored.  scram: the verifier of SCRAM-SHA-256, "" for none."""

    stored: tuple[str, ...] = ()
    scram: str = ""

    def __repr__(self) -> str:
        return f"<Kept {len(self.stored)}>"


def id_of(connection: Connection, name: str) -> tuple[int, Type] | None:
    """The id and type of the principal of that name (lower case)."""
    row = connection.execute("SELECT id, type FROM principals WHERE name = ?", (name,)).fetchone()
    return None if row is None else (int(row[0]), Type(row[1]))


def entries(connection: Connection, ids: Iterable[int]) -> Iterator[Entry]:
    """The principals of `ids`, in that order; those that are gone are left out."""
    waiting = iter(ids)
    while chunk := list(islice(waiting, _CHUNK)):
        found = _some(connection, chunk)
        yield from (found[id] for id in chunk if id in found)


def entry(connection: Connection, id: int) -> Entry | None:
    """One principal."""
    return next(entries(connection, (id,)), None)


def _some(connection: Connection, ids: Sequence[int]) -> dict[int, Entry]:
    marks = ",".join("?" * len(ids))
    emails: dict[int, list[str]] = {}
    sql = f"SELECT principal, address FROM addresses WHERE principal IN ({marks}) ORDER BY principal, position"
    for id, address in connection.execute(sql, ids):
        emails.setdefault(id, []).append(address)
    relations: dict[int, dict[str, list[str]]] = {}
    sql = (
        "SELECT m.member, m.of, q.type, q.name FROM memberships m LEFT JOIN principals q ON q.id = m.of"
        f" WHERE m.member IN ({marks}) ORDER BY m.member, m.position"
    )
    for id, of, type, name in connection.execute(sql, ids):
        kind, called = (Type.ROLE, ROLE_NAMES.get(of)) if type is None else (Type(type), name)
        if called is not None:
            relations.setdefault(id, {}).setdefault(_RELATED.get(kind, "member_of"), []).append(called)
    sql = (
        "SELECT p.id, p.type, p.name, t.name, p.attributes FROM principals p LEFT JOIN principals t ON t.id = p.tenant"
        f" WHERE p.id IN ({marks})"
    )
    found = {}
    for id, type, name, tenant, attributes in connection.execute(sql, ids):
        values: dict[str, Any] = {"tenant": tenant or "", "emails": tuple(emails.get(id, ()))}
        for key, value in _decode(attributes).items():
            values[_ATTRIBUTES[key]] = tuple(value) if isinstance(value, list) else value
        for key, names in relations.get(id, {}).items():
            values[key] = tuple(names)
        found[id] = Entry(id=id, type=Type(type), name=name, **values)
    return found


_RELATED = {Type.ROLE: "roles", Type.LIST: "lists"}


def secrets_of(connection: Connection, id: int) -> Kept:
    """The secrets of a principal."""
    row = connection.execute("SELECT stored, scram FROM secrets WHERE principal = ?", (id,)).fetchone()
    return Kept() if row is None else Kept(tuple(msgspec.json.decode(row[0], type=list[str])), row[1])


def find_address(connection: Connection, address: str, separator: str) -> Found | None:
    """Whose address (normal form) it is: its own, or with what follows `separator` cut off, or the catch-all's."""
    local, _, domain = address.rpartition("@")
    base, cut, detail = local.partition(separator) if separator else (local, "", "")
    asked = [address, f"{base}@{domain}" if cut and base else address, f"@{domain}"]
    rows = connection.execute("SELECT address, principal FROM addresses WHERE address IN (?, ?, ?)", asked)
    found = {str(row[0]): int(row[1]) for row in rows}
    for each, how in zip(asked, (How.EXACT, How.SUB_ADDRESS, How.CATCH_ALL), strict=True):
        if each in found:
            holder = entry(connection, found[each])
            if holder is not None:
                return Found(holder, each, how, detail if how is How.SUB_ADDRESS else "")
    return None


def members(connection: Connection, id: int, limit: int, after: int = -1) -> list[int]:
    """Ids of the members of a principal in their order, those past `after`."""
    sql = "SELECT member FROM memberships WHERE of = ? AND member > ? ORDER BY member LIMIT ?"
    return [int(row[0]) for row in connection.execute(sql, (id, after, limit))]


def member_names(connection: Connection, id: int, limit: int) -> tuple[str, ...]:
    """Names of the members of a principal, in byte order."""
    sql = "SELECT p.name FROM memberships m JOIN principals p ON p.id = m.member WHERE m.of = ? ORDER BY p.name LIMIT ?"
    return tuple(str(row[0]) for row in connection.execute(sql, (id, limit)))


def member_count(connection: Connection, entry: Entry) -> int:
    """How many principals use a domain, or are a tenant's."""
    if entry.type is Type.DOMAIN:
        sql, value = "SELECT count(DISTINCT principal) FROM addresses WHERE domain = ?", entry.name
        return int(connection.execute(sql, (value,)).fetchone()[0])
    return int(connection.execute("SELECT count(*) FROM principals WHERE tenant = ?", (entry.id,)).fetchone()[0])


def users(connection: Connection, entry: Entry, limit: int) -> list[str]:
    """Names of some who use a domain, or are a tenant's."""
    if entry.type is Type.DOMAIN:
        sql = (
            "SELECT DISTINCT p.name FROM addresses a JOIN principals p ON p.id = a.principal WHERE a.domain = ? LIMIT ?"
        )
        return [str(row[0]) for row in connection.execute(sql, (entry.name, limit))]
    sql = "SELECT name FROM principals WHERE tenant = ? LIMIT ?"
    return [str(row[0]) for row in connection.execute(sql, (entry.id, limit))]


def next_hops(connection: Connection, names: Sequence[str] | None = None) -> dict[str, str]:
    """Where the mail of domains goes that say so; of `names`, or of all there are."""
    sql = (
        "SELECT name, json_extract(attributes, '$.nextHop') AS next_hop FROM principals"
        " WHERE type = 'domain' AND next_hop <> ''"
    )
    if names is None:
        return dict(connection.execute(sql))
    found: dict[str, str] = {}
    for name in names:
        found.update(connection.execute(f"{sql} AND name = ?", (name,)))
    return found


def view(connection: Connection, entry: Entry, *, members: int, secrets: bool) -> View:
    """A principal with the names of its members, up to `members` of them (0: without), and its secrets."""
    shown: tuple[str, ...] | int | None = None
    if members and entry.type in (Type.DOMAIN, Type.TENANT):
        shown = member_count(connection, entry)
    elif members and entry.type in MEMBER_TYPES:
        shown = member_names(connection, entry.id, members)
    return View(entry, shown, secrets_of(connection, entry.id).stored if secrets else None)


def count(connection: Connection, selection: Selection) -> int:
    """How many principals of the database `selection` holds."""
    where, values = _where(connection, selection)
    return int(connection.execute(f"SELECT count(*) FROM principals{where}", values).fetchone()[0])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of a list begins: behind the name `after`, and `offset` rows further."""

    after: str = ""
    offset: int = 0


def page(
    connection: Connection, selection: Selection, place: Place, limit: int, beside: Sequence[str] = ()
) -> list[Listed]:
    """A part of `selection` by name in byte order, with the names `beside` in their places."""
    where, values = _where(connection, selection)
    where = f"{where} AND name > ?" if where else " WHERE name > ?"
    values.append(place.after)
    sql = f"SELECT name, id FROM principals{where}"
    if beside:
        sql = f"{sql} UNION ALL SELECT value, NULL FROM json_each(?) WHERE value > ?"
        values += [msgspec.json.encode(beside).decode(), place.after]
    rows = connection.execute(f"{sql} ORDER BY 1 LIMIT ? OFFSET ?", (*values, limit, place.offset))
    return [Listed(str(name), id) for name, id in rows]


def _where(connection: Connection, selection: Selection) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if selection.types != frozenset(Type):
        conditions.append(f"type IN ({','.join('?' * len(selection.types))})")
        values += sorted(selection.types)
    if selection.tenant:
        known = id_of(connection, selection.tenant)
        conditions.append("tenant = ?")
        values.append(-1 if known is None else known[0])
    for word in selection.words:
        conditions.append("instr(search, ?) > 0")
        values.append(word.lower())
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def role(connection: Connection, name: str) -> Role | None:
    """What a role gives and takes, the roles that it is a member of included; None for one that does not exist."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    known = id_of(connection, name)
    if known is None or known[1] is not Type.ROLE:
        return None
    enabled: set[str] = set()
    disabled: set[str] = set()
    waiting, seen = [known[0]], set[int]()
    while waiting:
        id = waiting.pop()
        if id in seen:
            continue
        seen.add(id)
        built_in = BUILT_IN.get(ROLE_NAMES.get(id, ""))
        if built_in is not None:
            enabled |= built_in.enabled
            continue
        row = connection.execute("SELECT attributes FROM principals WHERE id = ? AND type = 'role'", (id,)).fetchone()
        if row is None:
            continue
        attributes = _decode(row[0])
        enabled.update(attributes.get(ENABLED, ()))
        disabled.update(attributes.get(DISABLED, ()))
        waiting += (int(each[0]) for each in connection.execute("SELECT of FROM memberships WHERE member = ?", (id,)))
    return Role(frozenset(enabled), frozenset(disabled))


def permissions(connection: Connection, entry: Entry) -> frozenset[str]:
    """The effective permissions of a principal: what its roles and lists give, within what its tenant's do.

    A tenant without roles and enabled permissions bounds nothing; what it disables its members never have.
    """
    found = _own_permissions(connection, entry)
    if entry.tenant and entry.type is not Type.TENANT:
        known = id_of(connection, entry.tenant)
        tenant = None if known is None else next(entries(connection, (known[0],)), None)
        if tenant is not None:
            if tenant.roles or tenant.enabled_permissions:
                found &= _own_permissions(connection, tenant)
            found -= frozenset(tenant.disabled_permissions)
    return found


def _own_permissions(connection: Connection, entry: Entry) -> frozenset[str]:
    known: dict[str, Role] = {}
    for name in entry.roles:
        found = role(connection, name)
        if found is not None:
            known[name] = found
    return effective(entry.roles, entry.enabled_permissions, entry.disabled_permissions, known)


def account(connection: Connection, entry: Entry) -> Account:
    """The account that an individual or API key is, without a version (which its secrets make)."""
    return Account(
        name=entry.name,
        type=entry.type.value,
        emails=entry.emails,
        roles=entry.roles,
        permissions=frozenset() if entry.suspended else permissions(connection, entry),
        tenant=entry.tenant,
        senders=entry.senders,
        suspended=entry.suspended,
    )


def attributes_of(values: Mapping[str, Any]) -> str:
    """The JSON of `attributes`."""
    kept = {key: value for key, value in values.items() if key in _ATTRIBUTES and value}
    return msgspec.json.encode(kept).decode()


def read_attributes(connection: Connection, id: int) -> dict[str, Any]:
    """What stands in `attributes`, lists as tuples."""
    row = connection.execute("SELECT attributes FROM principals WHERE id = ?", (id,)).fetchone()
    return {key: tuple(each) if isinstance(each, list) else each for key, each in _decode(row[0]).items()}


def addresses(connection: Connection, id: int) -> tuple[str, ...]:
    """The addresses of a principal, the primary one first."""
    sql = "SELECT address FROM addresses WHERE principal = ? ORDER BY position"
    return tuple(str(row[0]) for row in connection.execute(sql, (id,)))


def is_relation(field: str) -> bool:
    """Whether a field is kept in `memberships`."""
    return field in ("memberOf", "lists", ROLES, "members")


def suspended(connection: Connection, most: int) -> list[tuple[str, str]]:
    """Names of individuals that may not send, and why; `most` at most."""
    return [
        (name, reason)
        for name, reason in connection.execute(
            "SELECT name, json_extract(attributes, '$.suspended') AS reason FROM principals"
            " WHERE type = ? AND reason <> '' ORDER BY name LIMIT ?",
            (Type.INDIVIDUAL.value, most),
        )
    ]
