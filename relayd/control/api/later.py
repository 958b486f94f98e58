"""The operations of areas still to come: routed and checked for their permission, and not available yet.

Each row of `_OPERATIONS` is a route that answers form A "unsupported".  Where the API names none
(`/store/uids`, `/store/quota`), one of an administrator's is asked for.

Below `/troubleshoot` and `/spam-filter` the permission comes before the path: who lacks it is told 403 whatever the
path (`fences`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Never

from relayd.control.answers import NOT_FOUND, Failure, Problem
from relayd.control.routes import Call, Route

_OPERATIONS = (
    # operation, method, path, permission, area, summary
    (14, "GET", "/queue/reports", "outgoing-report-list", "reports", "List the reports to be sent"),
    (0, "DELETE", "/queue/reports", "outgoing-report-delete", "reports", "Delete many reports to be sent"),
    (0, "GET", "/queue/reports/{id}", "outgoing-report-get", "reports", "One report to be sent"),
    (0, "DELETE", "/queue/reports/{id}", "outgoing-report-delete", "reports", "Delete a report to be sent"),
    (15, "GET", "/reports/dmarc", "incoming-report-list", "reports", "List received DMARC reports"),
    (16, "GET", "/reports/tls", "incoming-report-list", "reports", "List received TLS reports"),
    (17, "GET", "/reports/arf", "incoming-report-list", "reports", "List received abuse reports"),
    (0, "DELETE", "/reports/dmarc", "incoming-report-delete", "reports", "Delete many DMARC reports"),
    (0, "DELETE", "/reports/tls", "incoming-report-delete", "reports", "Delete many TLS reports"),
    (0, "DELETE", "/reports/arf", "incoming-report-delete", "reports", "Delete many abuse reports"),
    (0, "GET", "/reports/dmarc/{id}", "incoming-report-get", "reports", "One DMARC report"),
    (0, "GET", "/reports/tls/{id}", "incoming-report-get", "reports", "One TLS report"),
    (0, "GET", "/reports/arf/{id}", "incoming-report-get", "reports", "One abuse report"),
    (0, "DELETE", "/reports/dmarc/{id}", "incoming-report-delete", "reports", "Delete a DMARC report"),
    (0, "DELETE", "/reports/tls/{id}", "incoming-report-delete", "reports", "Delete a TLS report"),
    (0, "DELETE", "/reports/arf/{id}", "incoming-report-delete", "reports", "Delete an abuse report"),
    (30, "GET", "/update/webadmin", "webadmin-update", "maintenance", "Update the console"),
    (31, "GET", "/store/reindex", "fts-reindex", "store", "Index all accounts anew"),
    (31, "GET", "/store/reindex/{account_id}", "fts-reindex", "store", "Index an account anew"),
    (36, "GET", "/account/crypto", "manage-encryption", "account", "Own encryption at rest"),
    (37, "POST", "/account/crypto", "manage-encryption", "account", "Set own encryption at rest"),
    (57, "GET", "/store/purge/account", "purge-account", "store", "Purge all accounts"),
    (50, "GET", "/store/purge/account/{account_id}", "purge-account", "store", "Purge an account"),
    (51, "GET", "/store/undelete/{account_id}", "undelete", "store", "Deleted messages of an account"),
    (52, "POST", "/store/undelete/{account_id}", "undelete", "store", "Restore deleted messages of an account"),
    (54, "GET", "/store/purge/blob", "purge-blob-store", "store", "Purge the blobs"),
    (55, "GET", "/store/purge/data", "purge-data-store", "store", "Purge the data"),
    (55, "GET", "/store/purge/data/{store}", "purge-data-store", "store", "Purge a store"),
    (58, "DELETE", "/store/uids/{account_id}", "purge-account", "store", "Reset the numbers of an account's mailboxes"),
    (0, "GET", "/store/quota/{account_id}", "purge-account", "store", "What an account uses"),
    (0, "DELETE", "/store/quota/{account_id}", "purge-account", "store", "Count anew what an account uses"),
)


_FENCED = (("/troubleshoot", "troubleshoot"), ("/spam-filter", "spam-filter-train"))


def routes() -> Iterator[Route]:
    """Every operation that is not there yet."""
    for operation, method, path, permission, area, summary in _OPERATIONS:
        yield Route(
            method=method,
            path=path,
            permission=permission,
            or_permission=_or_permission(permission, operation),
            handler=_absent,
            summary=summary,
            area=area,
            operation=operation,
            available=False,
        )
    yield Route(
        method="GET",
        path="/restart",
        permission="restart",
        handler=_no_restart,
        summary="Restart",
        area="maintenance",
    )


def fences() -> Iterator[Route]:
    """What is below an area without being an operation: 403 without the area's permission, else 404.

    Put behind all others; no operations, so not described.
    """
    for path, permission in _FENCED:
        for below in ("", "/{rest:.*}"):
            yield Route(
                method="*",
                path=path + below,
                permission=permission,
                or_permission=_or_permission(permission, 0),
                handler=_not_found,
                summary="",
                area="",
            )


def _or_permission(permission: str, operation: int) -> str:
    """The other permission that will do."""
    if permission == "spam-filter-train" and operation in (0, 24):
        return "spam-filter-classify"
    return ""


async def _absent(call: Call) -> Never:
    raise Failure("unsupported", details="Not available in this version")


async def _no_restart(call: Call) -> Never:
    raise Failure("unsupported", details="Restart is not yet supported")


async def _not_found(call: Call) -> Never:
    raise Problem(*NOT_FOUND)
