"""What the directory keeps of a principal, without its secrets: the types, the fields, and which type has which.

The field names are those of the control API (control-api operations 5, 6 and 9), with four of our own beside them:

`nextHop` (domain): where the domain's mail goes: `mx`, or the id of a route; "" for what the configuration says.
`allowances` (individual, domain, tenant): what may be sent in a time, `recipients:300/hour` (`allowance`).
`senders` (individual): what else than its own addresses the account may send as: an address, `@domain`, or `*`.
`suspended` (individual): why the account may not send nor sign in; "" when it may.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Type(enum.StrEnum):
    """The types of principals."""

    INDIVIDUAL = "individual"
    GROUP = "group"
    RESOURCE = "resource"
    LOCATION = "location"
    LIST = "list"
    TENANT = "tenant"
    ROLE = "role"
    DOMAIN = "domain"
    API_KEY = "apiKey"
    OAUTH_CLIENT = "oauthClient"
    OTHER = "other"

    @property
    def family(self) -> str:
        """The family of permissions that guards principals of this type: `<family>-list`, `-get` and so on."""
        return _FAMILIES.get(self, "principal")

    @property
    def takes_mail(self) -> bool:
        """Whether its addresses are where mail can be sent to."""
        return self in RECIPIENTS


_FAMILIES = {
    Type.INDIVIDUAL: "individual",
    Type.GROUP: "group",
    Type.LIST: "mailing-list",
    Type.DOMAIN: "domain",
    Type.TENANT: "tenant",
    Type.ROLE: "role",
    Type.API_KEY: "api-key",
    Type.OAUTH_CLIENT: "oauth-client",
}

RECIPIENTS = frozenset({Type.INDIVIDUAL, Type.GROUP, Type.LIST, Type.RESOURCE, Type.LOCATION, Type.OTHER})
"""Types whose addresses mail is sent to: unique, at a domain of the directory."""

QUOTA_TYPES = (
    None,
    Type.INDIVIDUAL,
    Type.GROUP,
    Type.RESOURCE,
    Type.LOCATION,
    None,
    Type.LIST,
    Type.OTHER,
    Type.DOMAIN,
    Type.TENANT,
    Type.ROLE,
    Type.API_KEY,
    Type.OAUTH_CLIENT,
)
"""What each number of a tenant's `quota` limits: the first octets, each further one how many of a type it may have."""

NAME, DESCRIPTION, TENANT, SECRETS = "name", "description", "tenant", "secrets"
EMAILS, QUOTA, PICTURE, URLS = "emails", "quota", "picture", "urls"
MEMBER_OF, MEMBERS, LISTS, ROLES = "memberOf", "members", "lists", "roles"
ENABLED, DISABLED = "enabledPermissions", "disabledPermissions"
EXTERNAL_MEMBERS = "externalMembers"
NEXT_HOP, ALLOWANCES, SENDERS, SUSPENDED = "nextHop", "allowances", "senders", "suspended"

RELATIONS = {MEMBER_OF: Type.GROUP, LISTS: Type.LIST, ROLES: Type.ROLE}
"""Fields that name what a principal is a member of, and of which type that is."""

_ALL = frozenset({NAME, DESCRIPTION, TENANT})
_RIGHTS = frozenset({ROLES, ENABLED, DISABLED})
_MEMBER = frozenset({EMAILS, QUOTA, PICTURE, MEMBER_OF, LISTS, URLS})
_LIMITED = frozenset({ALLOWANCES})

FIELDS: dict[Type, frozenset[str]] = {
    Type.INDIVIDUAL: _ALL | _RIGHTS | _MEMBER | _LIMITED | {SECRETS, SENDERS, SUSPENDED},
    Type.GROUP: _ALL | _RIGHTS | _MEMBER | {MEMBERS, EXTERNAL_MEMBERS},
    Type.RESOURCE: _ALL | _RIGHTS | _MEMBER | {SECRETS, MEMBERS, EXTERNAL_MEMBERS},
    Type.LOCATION: _ALL | _RIGHTS | _MEMBER | {SECRETS, MEMBERS, EXTERNAL_MEMBERS},
    Type.OTHER: _ALL | _RIGHTS | _MEMBER | {SECRETS, MEMBERS, EXTERNAL_MEMBERS},
    Type.LIST: _ALL | {EMAILS, MEMBERS, EXTERNAL_MEMBERS, LISTS, PICTURE, URLS},
    Type.TENANT: (_ALL - {TENANT}) | _RIGHTS | _LIMITED | {QUOTA, PICTURE},
    Type.ROLE: _ALL | _RIGHTS | {MEMBERS},
    Type.DOMAIN: _ALL | _LIMITED | {NEXT_HOP, PICTURE},
    Type.API_KEY: _ALL | _RIGHTS | {SECRETS},
    Type.OAUTH_CLIENT: _ALL | {SECRETS, EMAILS, URLS, PICTURE},
}
"""The fields that a type has; what is empty may be given to every type."""

MEMBER_TYPES: dict[Type, frozenset[Type]] = {
    Type.GROUP: frozenset({Type.INDIVIDUAL, Type.GROUP, Type.RESOURCE, Type.LOCATION, Type.OTHER}),
    Type.RESOURCE: frozenset({Type.INDIVIDUAL, Type.GROUP}),
    Type.LOCATION: frozenset({Type.INDIVIDUAL, Type.GROUP}),
    Type.OTHER: frozenset({Type.INDIVIDUAL, Type.GROUP}),
    Type.LIST: frozenset({Type.INDIVIDUAL, Type.GROUP, Type.LIST, Type.RESOURCE, Type.LOCATION, Type.OTHER}),
    Type.ROLE: frozenset(each for each, fields in FIELDS.items() if ROLES in fields),
}
"""Which types may be members of a principal of a type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One principal as it is kept.  id: unsigned, 32 bits.  quota: octets, of a tenant several numbers (QUOTA_TYPES).

    emails: lower case, the first is the primary one; "@domain" catches all that is nobody's.  member_of, lists, roles:
    names of groups, lists and roles it is a member of; tenant: a name, "" for none.  The rest: see the module.
    """

    id: int
    type: Type
    name: str
    description: str = ""
    emails: tuple[str, ...] = ()
    quota: tuple[int, ...] = ()
    member_of: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant: str = ""
    enabled_permissions: tuple[str, ...] = ()
    disabled_permissions: tuple[str, ...] = ()
    picture: str = ""
    urls: tuple[str, ...] = ()
    external_members: tuple[str, ...] = ()
    next_hop: str = ""
    allowances: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    suspended: str = ""
    is_configured: bool = False
    """It stands in the configuration file, where alone it can be changed."""

    @property
    def email(self) -> str:
        """The primary address, "" when it has none that mail can be sent to."""
        return next((each for each in self.emails if not each.startswith("@")), "")


class How(enum.Enum):
    """By what an address was found to be somebody's."""

    EXACT = "exact"
    SUB_ADDRESS = "sub-address"
    CATCH_ALL = "catch-all"


@dataclass(frozen=True, slots=True)
class Found:
    """Whose an address is.  entry: of a type that takes mail.  address: the one of the directory that matched.

    detail: what stood behind the separator of a sub-address.
    """

    entry: Entry
    address: str
    how: How = How.EXACT
    detail: str = ""
