"""Creating, changing and deleting principals, within one transaction.

`Editing` is one change by somebody: what it raises rolls all of it back.  Rules: a name is one principal's, of whatever
type, in database and configuration together; so is an address, whose domain must be a principal too.  Nobody gives
more than he has: a role or permission that the caller lacks, a principal that may do more for others than he may.
Whoever is of a tenant sees and makes principals of that tenant alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from relayd.database.interface import Connection
from relayd.directory import rows
from relayd.directory.entry import (
    DISABLED,
    EMAILS,
    ENABLED,
    MEMBER_TYPES,
    MEMBERS,
    NAME,
    NEXT_HOP,
    QUOTA_TYPES,
    RELATIONS,
    ROLES,
    SECRETS,
    TENANT,
    Entry,
    Type,
)
from relayd.directory.fields import MAX_ITEMS, MAX_SECRETS, Change, Value
from relayd.directory.permissions import ROLES as BUILT_IN
from relayd.directory.refusals import AlreadyExists, Invalid, NotFound, OverTenantQuota, invalid_parameter
from relayd.directory.schema import ROLE_IDS
from relayd.directory.secrets import Secrets, changed_secrets

_LISTED = 5
"""Names in a reason."""


@dataclass(frozen=True, slots=True)
class Authority:
    """In whose name something is changed.  permissions: None for all.  tenant: whose alone it may touch, "" for all."""

    permissions: frozenset[str] | None = None
    tenant: str = ""

    def lacks(self, permissions: Iterable[str]) -> list[str]:
        """Those of `permissions` that it does not have."""
        return [] if self.permissions is None else sorted(frozenset(permissions) - self.permissions)


EVERYTHING = Authority()


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the accounts of the configuration take: names, and addresses with whose they are.

    entries: those accounts by name, to be shown among the others.  routes: that next hops may name; None: any.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    routes: Collection[str] | None = None


class Editing:
    """One change, by `authority`, on the writer's connection."""

    def __init__(self, connection: Connection, authority: Authority, reserved: Reserved) -> None:
        self._connection = connection
        self._authority = authority
        self._reserved = reserved

    def create(self, type: Type, values: Mapping[str, Value], secrets: Secrets) -> int:
        """A new principal; its id.  values: of `fields.draft`.  Raises DirectoryRefusal."""
        name = str(values[NAME])
        self._check_name(type, name)
        tenant = str(values.get(TENANT, "")) or (self._authority.tenant if type is not Type.TENANT else "")
        tenant_id = self._tenant(tenant, type) if tenant else None
        sql = "INSERT INTO principals (type, name, tenant, search, attributes) VALUES (?, ?, ?, '', '{}')"
        self._connection.execute(sql, (type.value, name, tenant_id))
        id = int(self._connection.execute("SELECT last_insert_rowid()").fetchone()[0])
        changes = [Change(action="set", field=key, value=value) for key, value in values.items() if key != SECRETS]
        self._apply(id, type, [each for each in changes if each.field not in (NAME, TENANT)])
        if secrets.stored:
            self._write_secrets(id, secrets)
        self._check_gain(id, frozenset())
        return id

    def update(self, name: str, changes: Sequence[Change], secrets: Mapping[str, Secrets]) -> None:
        """Make all of `changes`, or raise DirectoryRefusal.  secrets: of plain ones that changes hold, hashed."""
        entry = self.get(name)
        self._check_target(entry)
        before = rows.permissions(self._connection, entry)
        self._apply(entry.id, entry.type, [each for each in changes if each.field != SECRETS])
        mine = [each for each in changes if each.field == SECRETS]
        if mine:
            kept = rows.secrets_of(self._connection, entry.id)
            after = changed_secrets(Secrets(kept.stored, kept.scram), mine, secrets)
            if len(after.stored) > MAX_SECRETS:
                raise invalid_parameter(SECRETS, f"expected at most {MAX_SECRETS} secrets")
            self._write_secrets(entry.id, after)
        self._check_gain(entry.id, before)

    def delete(self, name: str) -> Entry:
        """Delete a principal and what refers to it; what it was.  Raises DirectoryRefusal."""
        entry = self.get(name)
        self._check_target(entry)
        if entry.type in (Type.DOMAIN, Type.TENANT):
            used = rows.users(self._connection, entry, _LISTED)
            if used:
                raise Invalid(f"{entry.type.value.capitalize()} has members", ", ".join(used))
        for sql in (
            "DELETE FROM secrets WHERE principal = ?",
            "DELETE FROM addresses WHERE principal = ?",
            "DELETE FROM memberships WHERE member = ?",
            "DELETE FROM memberships WHERE of = ?",
            "DELETE FROM principals WHERE id = ?",
        ):
            self._connection.execute(sql, (entry.id,))
        return entry

    def get(self, name: str) -> Entry:
        """The principal of that name, if the caller may see it.  Raises NotFound."""
        known = rows.id_of(self._connection, name)
        entry = None if known is None else rows.entry(self._connection, known[0])
        if entry is None or (self._authority.tenant and entry.tenant != self._authority.tenant):
            raise NotFound(name)
        return entry

    def _check_name(self, type: Type, name: str) -> None:
        taken = name in self._reserved.entries or (type is Type.ROLE and name in BUILT_IN)
        if taken or rows.id_of(self._connection, name) is not None:
            raise AlreadyExists(NAME, name)

    def _tenant(self, name: str, type: Type) -> int:
        """The id of a tenant that one more principal of `type` may come to."""
        known = rows.id_of(self._connection, name)
        if known is None or known[1] is not Type.TENANT or self._authority.tenant not in ("", name):
            raise NotFound(name)
        quota = rows.read_attributes(self._connection, known[0]).get("quota", ())
        place = QUOTA_TYPES.index(type)
        most = quota[place] if place < len(quota) else 0
        if most:
            sql = "SELECT count(*) FROM principals WHERE tenant = ? AND type = ?"
            if self._connection.execute(sql, (known[0], type.value)).fetchone()[0] >= most:
                raise OverTenantQuota(f"{name} may have {most} principals of type {type}")
        return known[0]

    def _apply(self, id: int, type: Type, changes: Sequence[Change]) -> None:
        """All but secrets."""
        attributes = rows.read_attributes(self._connection, id)
        emails = before = rows.addresses(self._connection, id)
        for each in changes:
            if each.field == NAME:
                self._rename(id, type, str(each.value))
            elif each.field == TENANT:
                self._move(id, type, str(each.value))
            elif rows.is_relation(each.field):
                self._relate(id, type, each)
            elif each.field == EMAILS and type.takes_mail:
                emails = tuple(str(item) for item in _edited(emails, each))
            else:
                if each.field in (ENABLED, DISABLED):
                    self._check_permissions(each)
                elif each.field == NEXT_HOP:
                    self._check_route(str(each.value))
                attributes[each.field] = _edited(attributes.get(each.field, ()), each)
        if emails != before or any(each.field == TENANT for each in changes):
            self._write_emails(id, emails)
        name = self._connection.execute("SELECT name FROM principals WHERE id = ?", (id,)).fetchone()[0]
        contacts = attributes.get(EMAILS, ())
        search = "\n".join([name, str(attributes.get("description", "")).lower(), *emails, *contacts])
        sql = "UPDATE principals SET attributes = ?, search = ? WHERE id = ?"
        self._connection.execute(sql, (rows.attributes_of(attributes), search, id))

    def _rename(self, id: int, type: Type, name: str) -> None:
        entry = rows.entry(self._connection, id)
        assert entry is not None
        if entry.name == name:
            return
        self._check_name(type, name)
        if type is Type.DOMAIN and (used := rows.users(self._connection, entry, _LISTED)):
            raise Invalid("Domain has members", ", ".join(used))
        self._connection.execute("UPDATE principals SET name = ? WHERE id = ?", (name, id))

    def _move(self, id: int, type: Type, tenant: str) -> None:
        if self._authority.tenant and tenant != self._authority.tenant:
            raise NotFound(tenant)
        tenant_id = self._tenant(tenant, type) if tenant else None
        self._connection.execute("UPDATE principals SET tenant = ? WHERE id = ?", (tenant_id, id))

    def _write_emails(self, id: int, emails: Sequence[str]) -> None:
        tenant = self._connection.execute("SELECT tenant FROM principals WHERE id = ?", (id,)).fetchone()[0]
        self._connection.execute("DELETE FROM addresses WHERE principal = ?", (id,))
        for position, address in enumerate(emails):
            domain = address.rpartition("@")[2]
            sql = "SELECT tenant FROM principals WHERE name = ? AND type = 'domain'"
            row = self._connection.execute(sql, (domain,)).fetchone()
            if row is None or (tenant is not None and row[0] != tenant):
                raise NotFound(domain)
            sql = "SELECT 1 FROM addresses WHERE address = ?"
            if address in self._reserved.addresses or self._connection.execute(sql, (address,)).fetchone():
                raise AlreadyExists(EMAILS, address)
            sql = "INSERT INTO addresses (address, principal, position, domain) VALUES (?, ?, ?, ?)"
            self._connection.execute(sql, (address, id, position, domain))

    def _relate(self, id: int, type: Type, change: Change) -> None:
        """Change `memberOf`, `lists`, `roles` (what it is a member of), or `members` (who is one of it)."""
        names = [str(each) for each in change.value] if change.action == "set" else [str(change.value).lower()]
        upwards = change.field != MEMBERS
        mine, theirs = ("member", "of") if upwards else ("of", "member")
        others = [self._other(id, type, change.field, name, change.action) for name in names]
        if change.action == "removeItem":
            for other in others:
                self._connection.execute(f"DELETE FROM memberships WHERE {mine} = ? AND {theirs} = ?", (id, other))
            return
        if change.action == "set":
            self._unrelate(id, change.field, set(others))
        sql = (
            "INSERT OR IGNORE INTO memberships (member, of, position) VALUES (?, ?, (SELECT coalesce(max(position), -1)"
            " + 1 FROM memberships WHERE member = ?))"
        )
        for other in others:
            member, of = (id, other) if upwards else (other, id)
            self._connection.execute(sql, (member, of, member))

    def _unrelate(self, id: int, field: str, keep: set[int]) -> None:
        """End the memberships of a field but for those in `keep`; what else the principal is a member of stays."""
        if field == MEMBERS:
            sql, gone = (
                "SELECT member FROM memberships WHERE of = ?",
                "DELETE FROM memberships WHERE of = ? AND member = ?",
            )
            held = [int(row[0]) for row in self._connection.execute(sql, (id,))]
        else:
            gone = "DELETE FROM memberships WHERE member = ? AND of = ?"
            sql = "SELECT m.of, q.type FROM memberships m LEFT JOIN principals q ON q.id = m.of WHERE m.member = ?"
            held = [int(of) for of, type in self._connection.execute(sql, (id,)) if _field_of(type) == field]
        self._connection.executemany(gone, [(id, each) for each in held if each not in keep])

    def _other(self, id: int, type: Type, field: str, name: str, action: str) -> int:
        """The id of whom a membership is with, after the rules of types and rights."""
        known = (
            (ROLE_IDS[name], Type.ROLE) if field == ROLES and name in ROLE_IDS else rows.id_of(self._connection, name)
        )
        if known is None:
            raise NotFound(name)
        other, kind = known
        if action == "removeItem":
            return other
        group, member = (type, kind) if field == MEMBERS else (kind, type)
        expected = RELATIONS.get(field)
        wrong = expected is not None and kind is not expected and not (field == "memberOf" and kind in _GROUPS)
        if wrong or other == id or member not in MEMBER_TYPES.get(group, frozenset()):
            raise Invalid("Invalid role" if field == ROLES else f"Invalid {field} value", f"{name} cannot be one")
        if other not in rows.ROLE_NAMES:
            self._check_same_tenant(name, other)
        if group is Type.ROLE:
            self._check_role(name if field == ROLES else self._name(id))
        return other

    def _check_same_tenant(self, name: str, other: int) -> None:
        """Whoever is bound to a tenant knows no others' principals."""
        if self._authority.tenant:
            entry = rows.entry(self._connection, other)
            if entry is None or entry.tenant != self._authority.tenant:
                raise NotFound(name)

    def _name(self, id: int) -> str:
        return str(self._connection.execute("SELECT name FROM principals WHERE id = ?", (id,)).fetchone()[0])

    def _check_role(self, name: str) -> None:
        role = rows.role(self._connection, name)
        lacking = self._authority.lacks(role.enabled - role.disabled) if role is not None else []
        if lacking:
            raise Invalid("Invalid role", f"{name}: you do not have its permission {lacking[0]}")

    def _check_permissions(self, change: Change) -> None:
        """Whether the caller may give what `enabledPermissions` is set to; what it takes away `_check_gain` sees."""
        if change.field != ENABLED or change.action == "removeItem":
            return
        given = change.value if change.action == "set" else (change.value,)
        lacking = self._authority.lacks(str(each) for each in given)
        if lacking:
            raise Invalid(f"Invalid {ENABLED} value", f"you do not have the permission {lacking[0]}")

    def _check_route(self, word: str) -> None:
        """Mail to a next hop that is not there would go by the MX, which may be us: it would come back as a loop."""
        routes = self._reserved.routes
        if word and word != "mx" and routes is not None and word not in routes:
            raise invalid_parameter(NEXT_HOP, f'{word}: expected "mx" or a route of the configuration')

    def _check_gain(self, id: int, before: frozenset[str]) -> None:
        """Refuse a change by which a principal gets more than the caller has, however it came about."""
        if self._authority.permissions is None:
            return
        entry = rows.entry(self._connection, id)
        assert entry is not None
        lacking = self._authority.lacks(rows.permissions(self._connection, entry) - before)
        if lacking:
            raise Invalid(f"Invalid {DISABLED} value", f"you do not have the permission {lacking[0]}")

    def _check_target(self, entry: Entry) -> None:
        """Refuse to change who may do more than the caller, beyond what every user may."""
        mine = BUILT_IN["user"].enabled
        lacking = self._authority.lacks(rows.permissions(self._connection, entry) - mine)
        if lacking and entry.type in (Type.INDIVIDUAL, Type.API_KEY, Type.ROLE):
            raise Invalid("Not permitted", f"{entry.name} has the permission {lacking[0]}, which you do not have")

    def _write_secrets(self, id: int, secrets: Secrets) -> None:
        sql = "INSERT OR REPLACE INTO secrets (principal, stored, scram) VALUES (?, ?, ?)"
        self._connection.execute(sql, (id, secrets.as_json(), secrets.scram))


_GROUPS = frozenset({Type.GROUP, Type.RESOURCE, Type.LOCATION, Type.OTHER})


def _field_of(type: str | None) -> str:
    """The field by which a membership in a principal of that type is shown; None is a role that is always there."""
    return {None: ROLES, Type.ROLE.value: ROLES, Type.LIST.value: "lists"}.get(type, "memberOf")


def _edited(before: Value, change: Change) -> Value:
    """What a field is after a change."""
    if change.action == "set":
        return change.value
    item = str(change.value)
    items = tuple(str(each) for each in before)
    if change.action == "addItem":
        if len(items) >= MAX_ITEMS:
            raise invalid_parameter(change.field, f"expected at most {MAX_ITEMS} items")
        return items if item in items else (*items, item)
    return tuple(each for each in items if each.lower() != item.lower())
