"""What may be written into a principal: each field's form, and changes to it.

A value comes as JSON has it (text, number, list, None); `normal` makes of it what is kept: a text, a tuple of texts or
numbers, in lower case where case does not count.  Nothing is asked of the database here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from relayd.directory.allowance import parse_allowance
from relayd.directory.entry import (
    ALLOWANCES,
    DESCRIPTION,
    DISABLED,
    EMAILS,
    ENABLED,
    EXTERNAL_MEMBERS,
    FIELDS,
    LISTS,
    MEMBER_OF,
    MEMBERS,
    NAME,
    NEXT_HOP,
    PICTURE,
    QUOTA,
    QUOTA_TYPES,
    ROLES,
    SECRETS,
    SENDERS,
    SUSPENDED,
    TENANT,
    URLS,
    Type,
)
from relayd.directory.permissions import PERMISSIONS
from relayd.directory.refusals import FieldMissing, Invalid, invalid_parameter
from relayd.mail.address import AddressError, a_label, check_domain, parse_address

Value = str | tuple[str, ...] | tuple[int, ...]
"""What is kept of a field."""

Action = Literal["set", "addItem", "removeItem"]

MAX_NAME = 255
MAX_TEXT = 4096
MAX_PICTURE = 256 << 10
MAX_ITEMS = 50_000
"""Items of one list of one principal."""

MAX_SECRETS = 64
MAX_QUOTA = 2**63 - 1

READ_ONLY = frozenset({"id", "usedQuota"})
"""Taken and ignored, for a client may send back what it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change to a principal: `set` replaces a field, `addItem` and `removeItem` change a list by one item.

    value: as `normal` makes it; of an item, the text alone.
    """

    action: Action
    field: str
    value: Value


def draft(type: Type, given: Mapping[str, Any]) -> dict[str, Value]:
    """The fields of a new principal, without those that are empty.  Raises FieldMissing, Invalid.

    Fields must be known (`is_field`); `type` and what is read only are left out.
    """
    values = {}
    for field, raw in given.items():
        if field == "type" or field in READ_ONLY:
            continue
        value = normal(type, field, raw)
        if value and field not in FIELDS[type]:
            raise invalid_parameter(field, f"a principal of type {type} has none")
        if value:
            values[field] = value
    if NAME not in values:
        raise FieldMissing(NAME)
    return values


def is_field(name: str) -> bool:
    """Whether there is a field of that name, of whatever type."""
    return name in _FORMS or name in READ_ONLY or name == "type"


def change(type: Type, action: Action, field: str, raw: Any) -> Change:
    """A change to a principal of `type`.  Raises Invalid."""
    if field not in FIELDS[type]:
        raise invalid_parameter(field, f"a principal of type {type} has none that can be set")
    if action == "set":
        value = normal(type, field, raw)
        if field == NAME and not value:
            raise FieldMissing(NAME)
        return Change(action=action, field=field, value=value)
    if field not in _LISTS:
        raise invalid_parameter(field, f"{action} is for lists")
    if not isinstance(raw, str):
        raise invalid_parameter(field, "expected a text")
    if field == SECRETS or action == "removeItem":
        # what is removed need not be valid: it only has to be there
        return Change(action=action, field=field, value=raw if field == SECRETS else raw.strip())
    items = normal(type, field, [raw])
    if not items:
        raise invalid_parameter(field, "expected a text that is not empty")
    return Change(action=action, field=field, value=str(items[0]))


def normal(type: Type, field: str, raw: Any) -> Value:
    """What is kept of a value as it came; empty for None.  Raises Invalid."""
    if raw is None:
        return () if field in _LISTS or field == QUOTA else ""
    return _FORMS[field](type, field, raw)


def _text(type: Type, field: str, raw: Any) -> str:
    limit = MAX_PICTURE if field == PICTURE else MAX_TEXT
    if not isinstance(raw, str):
        raise invalid_parameter(field, "expected a text")
    if len(raw.encode("utf-8", "surrogatepass")) > limit or "\0" in raw or (not raw.isprintable() and field != PICTURE):
        raise invalid_parameter(field, f"expected a text of at most {limit} octets, without control characters")
    return raw.strip()


def _name(type: Type, field: str, raw: Any) -> str:
    if not isinstance(raw, str):
        raise invalid_parameter(field, "expected a text")
    name = raw.strip().lower()
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME or not name.isprintable():
        raise invalid_parameter(field, f"expected a text of at most {MAX_NAME} octets, without control characters")
    if name and type is Type.DOMAIN:
        return _domain(field, name)
    if type in (Type.INDIVIDUAL, Type.API_KEY) and (":" in name or "%" in name):
        raise invalid_parameter(field, 'a name to sign in with holds no ":" nor "%"')
    return name


def _domain(field: str, name: str) -> str:
    try:
        domain = a_label(check_domain(name, smtputf8=True))
    except AddressError as error:
        raise invalid_parameter(field, error.text) from None
    if domain.startswith("["):
        raise invalid_parameter(field, "expected the name of a domain")
    return domain


def normal_address(text: str) -> str:
    """An address as the directory keeps it: lower case, the domain as A-labels; "@domain" too.  Raises AddressError."""
    text = text.strip().lower()
    if text.startswith("@"):
        return "@" + a_label(check_domain(text[1:], smtputf8=True))
    local, _, domain = parse_address(text, smtputf8=True).rpartition("@")
    return f"{local}@{a_label(domain)}"


def _texts(field: str, raw: Any) -> tuple[str, ...]:
    """The items of a list, a single one too; blanks around them and empty ones go, each counts once."""
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or any(not isinstance(each, str) for each in items):
        raise invalid_parameter(field, "expected texts")
    if len(items) > MAX_ITEMS:
        raise invalid_parameter(field, f"expected at most {MAX_ITEMS} items")
    if any(len(each) > MAX_TEXT or "\0" in each for each in items):
        raise invalid_parameter(field, "an item is too long")
    return tuple(dict.fromkeys(each.strip() for each in items if each.strip()))


def _names(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.lower() for each in _texts(field, raw)))


def _urls(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    return _texts(field, raw)


def _secrets(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or any(not isinstance(each, str) for each in items):
        raise invalid_parameter(field, "expected texts")
    if len(items) > MAX_SECRETS:
        raise invalid_parameter(field, f"expected at most {MAX_SECRETS} secrets")
    return tuple(dict.fromkeys(each for each in items if each))


def _emails(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    found = []
    for each in _texts(field, raw):
        try:
            found.append(normal_address(each))
        except AddressError as error:
            raise Invalid("Invalid email", f"{each}: {error.text}") from None
    return tuple(dict.fromkeys(found))


def _external(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    found = []
    for each in _texts(field, raw):
        try:
            found.append(parse_address(each, smtputf8=True))  # another's mailbox: its case may count
        except AddressError as error:
            raise Invalid("Invalid email", f"{each}: {error.text}") from None
    return tuple(dict.fromkeys(found))


def _senders(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    items = _texts(field, raw)
    return ("*",) if "*" in items else _emails(type, field, items)


def _permissions(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    found = _names(type, field, raw)
    for each in found:
        if each not in PERMISSIONS:
            raise Invalid(f"Invalid {field} value", f"there is no permission {each}")
    return found


def _quota(type: Type, field: str, raw: Any) -> tuple[int, ...]:
    if raw == "":
        return ()
    numbers = list(raw) if isinstance(raw, list | tuple) else [raw]
    if any(isinstance(each, bool) or not isinstance(each, int) or not 0 <= each <= MAX_QUOTA for each in numbers):
        raise invalid_parameter(field, "expected octets, 0 for no limit")
    if len(numbers) > (len(QUOTA_TYPES) if type is Type.TENANT else 1):
        raise invalid_parameter(field, "expected fewer numbers")
    return tuple(numbers) if any(numbers) else ()


def _allowances(type: Type, field: str, raw: Any) -> tuple[str, ...]:
    found = {}
    for each in _texts(field, raw):
        allowance = parse_allowance(each)
        if allowance is None:
            why = f'{each}: expected messages, recipients or bytes by hour, day or month, as in "recipients:300/hour"'
            raise invalid_parameter(field, why)
        found[allowance.measure, allowance.period] = str(allowance)
    return tuple(found.values())


_FORMS: dict[str, Callable[[Type, str, Any], Value]] = {
    NAME: _name,
    DESCRIPTION: _text,
    TENANT: lambda type, field, raw: _text(type, field, raw).lower(),
    SECRETS: _secrets,
    EMAILS: _emails,
    QUOTA: _quota,
    PICTURE: _text,
    URLS: _urls,
    MEMBER_OF: _names,
    MEMBERS: _names,
    LISTS: _names,
    ROLES: _names,
    ENABLED: _permissions,
    DISABLED: _permissions,
    EXTERNAL_MEMBERS: _external,
    NEXT_HOP: _text,
    ALLOWANCES: _allowances,
    SENDERS: _senders,
    SUSPENDED: _text,
}

_LISTS = frozenset(
    {
        SECRETS,
        EMAILS,
        URLS,
        MEMBER_OF,
        MEMBERS,
        LISTS,
        ROLES,
        ENABLED,
        DISABLED,
        EXTERNAL_MEMBERS,
        ALLOWANCES,
        SENDERS,
    }
)
