"""What roles and lists of permissions come to."""

from __future__ import annotations

import pytest

from relayd.directory.permissions import PERMISSION_NAMES, PERMISSIONS, ROLE_NAMES, ROLES, Role, effective
from relayd.options import OptionError

GUARDS = """
authenticate-oauth metrics-list metrics-live tracing-list tracing-get tracing-live dkim-signature-create
dkim-signature-get domain-get message-queue-list message-queue-get message-queue-update message-queue-delete
outgoing-report-list outgoing-report-get outgoing-report-delete incoming-report-list incoming-report-get
incoming-report-delete logs-view spam-filter-train spam-filter-classify troubleshoot settings-reload spam-filter-update
webadmin-update fts-reindex settings-list settings-update settings-delete manage-encryption manage-passwords blob-fetch
purge-account purge-blob-store purge-data-store purge-in-memory-store undelete
"""
FAMILIES = "individual group domain mailing-list role tenant api-key oauth-client principal"


def test_the_roles() -> None:
    user, tenant_admin, admin = (effective([role], [], []) for role in ("user", "tenant-admin", "admin"))
    assert admin == PERMISSIONS
    assert user < tenant_admin < admin
    assert user == {
        "authenticate",
        "authenticate-oauth",
        "email-send",
        "email-verify",
        "email-receive",
        "manage-encryption",
        "manage-passwords",
        "spam-filter-classify",
        "spam-filter-train",
    }
    assert {"message-queue-delete", "individual-create", "undelete", "incoming-report-get"} <= tenant_admin
    assert not tenant_admin & {"tenant-create", "settings-update", "logs-view", "purge-account", "backup"}


def test_what_guards_an_operation_is_there() -> None:
    verbs = ("list", "get", "create", "update", "delete")
    of_principals = {f"{family}-{verb}" for family in FAMILIES.split() for verb in verbs}
    assert len(of_principals) == 45
    assert set(GUARDS.split()) | of_principals <= PERMISSIONS


@pytest.mark.parametrize(
    ("roles", "enabled", "disabled", "expected"),
    [
        ([], [], [], set()),
        ([], ["logs-view"], [], {"logs-view"}),
        (["reader"], ["logs-view"], [], {"metrics-list", "logs-view"}),
        (["reader"], [], ["metrics-list"], set()),
        (["reader"], ["tracing-list"], [], {"metrics-list"}),  # a role takes away what is given by name
        (
            ["reader", "user"],
            ["backup"],
            ["backup", "authenticate"],
            ROLES["user"].enabled - {"authenticate"} | {"metrics-list"},
        ),
        (["unknown"], ["backup"], [], {"backup"}),
    ],
)
def test_given_by_role_or_name_but_taken_away_by_either(
    roles: list[str], enabled: list[str], disabled: list[str], expected: set[str]
) -> None:
    known = {**ROLES, "reader": Role(frozenset({"metrics-list", "tracing-list"}), frozenset({"tracing-list"}))}
    assert effective(roles, enabled, disabled, known) == expected


def test_a_name_that_is_none_is_told_with_the_nearest() -> None:
    assert PERMISSION_NAMES.parse(["logs-view", "backup"]) == ("logs-view", "backup")
    with pytest.raises(OptionError, match='name of a permission such as "message-queue-list"'):
        PERMISSION_NAMES.parse(["message-queue-lst"])
    with pytest.raises(OptionError, match='name of a role such as "tenant-admin"'):
        ROLE_NAMES.parse(["tenantadmin"])
    for value in ("zzzzzzzz", 7):
        with pytest.raises(OptionError, match="name of a role"):
            ROLE_NAMES.parse([value])
