"""The JSON of principals: what operations 5, 6, 8 and 9 take and answer.

A field with one value is written as that value where the API has it so (`secrets`, `emails`); what is empty is left
out.  Both forms are taken in every list.  Hashes are shown to who may change them, the key of one-time codes to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Literal, TypedDict, cast

import msgspec

from relayd.directory import entry as fields
from relayd.directory.entry import Entry, Type
from relayd.directory.rows import View
from relayd.directory.secrets import OTP

_OTP_KEY = re.compile(r"(?<=[?&]secret=)[^&]*", re.IGNORECASE)

_ENTRY_FIELDS = {
    fields.DESCRIPTION: "description",
    fields.MEMBER_OF: "member_of",
    fields.LISTS: "lists",
    fields.ROLES: "roles",
    fields.TENANT: "tenant",
    fields.ENABLED: "enabled_permissions",
    fields.DISABLED: "disabled_permissions",
    fields.PICTURE: "picture",
    fields.URLS: "urls",
    fields.EXTERNAL_MEMBERS: "external_members",
    fields.NEXT_HOP: "next_hop",
    fields.ALLOWANCES: "allowances",
    fields.SENDERS: "senders",
    fields.SUSPENDED: "suspended",
}

_WITH_QUOTA = frozenset({Type.INDIVIDUAL, Type.GROUP})
"""Types whose quota is shown when there is none, too."""

Texts = str | list[str] | None

TypeName = Literal[
    "individual",
    "group",
    "resource",
    "location",
    "list",
    "tenant",
    "role",
    "domain",
    "apiKey",
    "oauthClient",
    "other",
    "superuser",
]
"""`superuser` is an individual with the role `admin`."""


class PrincipalBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A principal to create.  id, usedQuota: taken and ignored."""

    type: TypeName | None = None
    id: int | None = None
    name: str | None = None
    description: str | None = None
    secrets: Texts = None
    emails: Texts = None
    quota: int | list[int] | None = None
    used_quota: int | None = None
    member_of: Texts = None
    members: Texts | int = None
    lists: Texts = None
    roles: Texts = None
    tenant: str | None = None
    enabled_permissions: Texts = None
    disabled_permissions: Texts = None
    picture: str | None = None
    urls: Texts = None
    external_members: Texts = None
    next_hop: str | None = None
    allowances: Texts = None
    senders: Texts = None
    suspended: str | None = None

    def given(self) -> tuple[Type | None, dict[str, Any]]:
        """The type, and the fields that came with a value."""
        values = cast(dict[str, Any], msgspec.to_builtins(self))
        named = values.pop("type", None)
        if isinstance(self.members, int):
            values.pop("members", None)  # the count of a domain or tenant, sent back as it was shown
        if named == "superuser":
            roles = [self.roles] if isinstance(self.roles, str) else self.roles or []
            return Type.INDIVIDUAL, {**values, "roles": [*roles, "admin"]}
        return (Type(named) if named is not None else None), values


class ChangeBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One change; `addItem` and `removeItem` are for lists."""

    action: Literal["set", "addItem", "removeItem"]
    field: str
    value: str | int | list[str | int] | None = None


class PrincipalValue(TypedDict, total=False):
    """A principal.  members: names, of a domain or tenant their number.  configured: it stands in the configuration
    file, where alone it can be changed.  allowances, senders, suspended, nextHop: of relayd's own."""

    id: int
    type: str
    name: str
    description: str
    secrets: str | list[str]
    emails: str | list[str]
    quota: int | list[int]
    memberOf: list[str]
    members: list[str] | int
    lists: list[str]
    roles: list[str]
    tenant: str
    enabledPermissions: list[str]
    disabledPermissions: list[str]
    picture: str
    urls: list[str]
    externalMembers: list[str]
    nextHop: str
    allowances: list[str]
    senders: list[str]
    suspended: str
    configured: bool


def principal_value(view: View, wanted: Collection[str] = ()) -> PrincipalValue:
    """A principal as it is answered; wanted: names of fields, empty for all."""
    entry = view.entry
    found: dict[str, Any] = {"id": entry.id, "type": entry.type.value, "name": entry.name}
    if view.secrets:
        found[fields.SECRETS] = _scalar([_shown(each) for each in view.secrets])
    if entry.emails:
        found[fields.EMAILS] = _scalar(list(entry.emails))
    quota = _quota(entry)
    if quota is not None:
        found[fields.QUOTA] = quota
    if view.members is not None and view.members != ():
        found[fields.MEMBERS] = view.members if isinstance(view.members, int) else list(view.members)
    for name, attribute in _ENTRY_FIELDS.items():
        value = getattr(entry, attribute)
        if value:
            found[name] = list(value) if isinstance(value, tuple) else value
    if entry.is_configured:
        found["configured"] = True
    if wanted:
        found = {name: value for name, value in found.items() if name in wanted}
    return cast(PrincipalValue, found)


def _quota(entry: Entry) -> int | list[int] | None:
    if entry.type is Type.TENANT:
        return list(entry.quota) or None
    if entry.type in _WITH_QUOTA or entry.quota:
        return entry.quota[0] if entry.quota else 0
    return None


def _scalar(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _shown(stored: str) -> str:
    return _OTP_KEY.sub("********", stored) if stored.startswith(OTP) else stored
