"""Permissions and roles: what an account may do.

The names are those of the control API (kebab-case), with our own beside them.  An account has the permissions of its
roles and those given to it by name, without those that a role or its own list takes away.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from relayd.options import Kind, OptionError, Raw, list_of

AUTHENTICATE = "authenticate"
"""To sign in at all, whatever the way."""

AUTHENTICATE_OAUTH = "authenticate-oauth"
EMAIL_SEND = "email-send"
EMAIL_VERIFY = "email-verify"
"""Ours: to ask with VRFY whether an address is somebody's."""

EMAIL_EXPAND = "email-expand"
"""Ours: to ask with EXPN who the members of a list are."""

METRICS_LIVE = "metrics-live"
TRACING_LIVE = "tracing-live"
TROUBLESHOOT = "troubleshoot"
UNLIMITED_REQUESTS = "unlimited-requests"

_PRINCIPALS = frozenset(
    f"{family}-{verb}"
    for family in (
        "individual",
        "group",
        "domain",
        "mailing-list",
        "role",
        "tenant",
        "api-key",
        "oauth-client",
        "principal",
    )
    for verb in ("list", "get", "create", "update", "delete")
)

_USER = frozenset(
    {
        AUTHENTICATE,
        AUTHENTICATE_OAUTH,
        EMAIL_SEND,
        EMAIL_VERIFY,
        "email-receive",
        "manage-encryption",
        "manage-passwords",
        "spam-filter-classify",
        "spam-filter-train",
    }
)

_TENANT_ADMIN = (
    _USER
    | {each for each in _PRINCIPALS if not each.startswith("tenant-")}
    | {f"message-queue-{verb}" for verb in ("list", "get", "update", "delete")}
    | {f"{way}-report-{verb}" for way in ("outgoing", "incoming") for verb in ("list", "get", "delete")}
    | {EMAIL_EXPAND, "quota-get", "undelete", "dkim-signature-create", "dkim-signature-get"}
)

_ADMIN = (
    _TENANT_ADMIN
    | _PRINCIPALS
    | {
        "metrics-list",
        METRICS_LIVE,
        "tracing-list",
        "tracing-get",
        TRACING_LIVE,
        "logs-view",
        TROUBLESHOOT,
        "settings-list",
        "settings-update",
        "settings-delete",
        "settings-reload",
        "spam-filter-update",
        "webadmin-update",
        "fts-reindex",
        "blob-fetch",
        "purge-account",
        "purge-blob-store",
        "purge-data-store",
        "purge-in-memory-store",
        "impersonate",
        UNLIMITED_REQUESTS,
        "unlimited-uploads",
        "delete-system-folders",
        "restart",
        "oauth-client-registration",
        "oauth-client-override",
        "ai-model-interact",
        "backup",  # ours: a copy of the running relay's data
        "ban-list",  # ours: who is shut out
        "ban-delete",
        "suppression-list",  # ours: the recipients that are not sent to
        "suppression-create",
        "suppression-delete",
        "webhook-list",  # ours: who is told of events, and how far they are
        "webhook-update",
    }
)

PERMISSIONS: frozenset[str] = _ADMIN
"""Every permission there is."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a role gives, and what it takes away whatever else gives it."""

    enabled: frozenset[str] = field(default_factory=frozenset)
    disabled: frozenset[str] = field(default_factory=frozenset)


ROLES: Mapping[str, Role] = {
    "user": Role(_USER),
    "tenant-admin": Role(_TENANT_ADMIN),
    "admin": Role(_ADMIN),
}
"""The roles that are always there."""


def effective(
    roles: Iterable[str], enabled: Iterable[str], disabled: Iterable[str], known: Mapping[str, Role] = ROLES
) -> frozenset[str]:
    """The permissions of who has `roles`, `enabled` and `disabled`: (role's | enabled) - (role's disabled | disabled).

    known: the roles by name; a role that is not among them gives nothing.
    """
    held = [known[role] for role in roles if role in known]
    given = frozenset(enabled).union(*(role.enabled for role in held))
    return given.difference(disabled, *(role.disabled for role in held))


def _one_of(what: str, known: Collection[str]) -> Kind[str]:
    """A name that is one of many: the error names the nearest instead of all."""

    def parse(value: Raw) -> str:
        if isinstance(value, str) and value in known:
            return value
        nearest = difflib.get_close_matches(value, known, n=1, cutoff=0.5) if isinstance(value, str) else []
        hint = f' such as "{nearest[0]}"' if nearest else f' such as "{min(known)}"'
        raise OptionError(f"expected the name of a {what}{hint}")

    return Kind(what, parse)


PERMISSION_NAMES = list_of(_one_of("permission", PERMISSIONS))
"""The kind of an option that lists permissions."""

ROLE_NAMES = list_of(_one_of("role", ROLES))
"""The kind of an option that lists roles."""
