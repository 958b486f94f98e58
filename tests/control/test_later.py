"""Every operation of the API is routed with its permission; those still to come say so, and nothing more."""

from __future__ import annotations

import re

import aiohttp
import pytest

from relayd.control.api import later
from relayd.control.routes import Route
from relayd.directory.options import AccountOptions
from tests.control.conftest import Control

# Number, method, path, permission, as control-api.md §1.3 and §2 have them: written from there, not from the routes.
# Where the permission depends on a principal's type, that of individuals.
OPERATIONS = """
1 POST /oauth authenticate-oauth
2 GET /telemetry/metrics metrics-list
3 GET /telemetry/live/metrics-token metrics-live
4 GET /telemetry/metrics/live metrics-live
5 GET /principal individual-list
6 POST /principal individual-create
7 POST /dkim dkim-signature-create
8 GET /principal/{} individual-get
9 PATCH /principal/{} individual-update
10 DELETE /principal/{} individual-delete
11 GET /queue/messages message-queue-list
12 PATCH /queue/messages message-queue-update
13 DELETE /queue/messages message-queue-delete
14 GET /queue/reports outgoing-report-list
15 GET /reports/dmarc incoming-report-list
16 GET /reports/tls incoming-report-list
17 GET /reports/arf incoming-report-list
18 GET /telemetry/traces tracing-list
19 GET /logs logs-view
20 POST /spam-filter/train/spam spam-filter-train
21 POST /spam-filter/train/ham spam-filter-train
22 POST /spam-filter/train/spam/{} spam-filter-train
23 POST /spam-filter/train/ham/{} spam-filter-train
24 POST /spam-filter/classify spam-filter-train
25 GET /troubleshoot/token troubleshoot
26 GET /troubleshoot/delivery/{} troubleshoot
27 POST /troubleshoot/dmarc troubleshoot
28 GET /reload settings-reload
29 GET /update/spam-filter spam-filter-update
30 GET /update/webadmin webadmin-update
31 GET /store/reindex fts-reindex
32 GET /settings/keys settings-list
33 GET /settings/group settings-list
34 GET /settings/list settings-list
35 POST /settings settings-update
36 GET /account/crypto manage-encryption
37 POST /account/crypto manage-encryption
38 GET /account/auth manage-passwords
39 POST /account/auth manage-passwords
40 PATCH /queue/status/stop message-queue-update
41 PATCH /queue/status/start message-queue-update
42 GET /queue/messages/{} message-queue-get
43 PATCH /queue/messages/{} message-queue-update
44 DELETE /queue/messages/{} message-queue-delete
45 GET /store/blobs/{} blob-fetch
46 GET /telemetry/trace/{} tracing-get
47 GET /telemetry/live/tracing-token tracing-live
48 GET /telemetry/traces/live tracing-live
49 GET /dns/records/{} domain-get
50 GET /store/purge/account/{} purge-account
51 GET /store/undelete/{} undelete
52 POST /store/undelete/{} undelete
53 GET /queue/status message-queue-get
54 GET /store/purge/blob purge-blob-store
55 GET /store/purge/data purge-data-store
56 GET /store/purge/in-memory purge-in-memory-store
57 GET /store/purge/account purge-account
58 DELETE /store/uids/{} purge-account
"""
TABLE = [row.split() for row in OPERATIONS.strip().splitlines()]
LATER = list(later.routes())


def shape(path: str) -> str:
    """A path with the names of its elements left out."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def filled(route: Route) -> str:
    return re.sub(r"\{[^}]*\}", "x", "/api" + route.path)


def test_the_table_is_complete() -> None:
    assert [int(row[0]) for row in TABLE] == list(range(1, 59))


@pytest.mark.parametrize(("number", "method", "path", "permission"), TABLE, ids=[row[0] for row in TABLE])
async def test_every_operation_is_routed(
    control: Control, number: str, method: str, path: str, permission: str
) -> None:
    found = [route for route in control.app.routes if route.operation == int(number) and shape(route.path) == path]
    assert [(each.method, each.permission) for each in found if each.method == method] == [(method, permission)]


async def test_no_two_routes_have_the_same_method_and_path(control: Control) -> None:
    seen = [(route.method, shape(route.path)) for route in control.app.routes]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("route", LATER, ids=[f"{each.method} {each.path}" for each in LATER])
async def test_what_is_still_to_come_says_so(admin: aiohttp.ClientSession, route: Route) -> None:
    # a body that nobody reads yet is no reason to refuse
    async with admin.request(route.method, filled(route), data=b"{not json") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        details = "Restart is not yet supported" if route.path == "/restart" else "Not available in this version"
        assert await answer.json() == {"error": "unsupported", "details": details}


@pytest.mark.parametrize("path", ["/troubleshoot", "/troubleshoot/", "/troubleshoot/x/y", "/spam-filter/train/eggs"])
async def test_below_a_fenced_path_nothing_more_is_found(admin: aiohttp.ClientSession, path: str) -> None:
    async with admin.post("/api" + path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/troubleshoot", "/troubleshoot/x/y", "/troubleshoot/dmarc"])
async def test_below_a_fenced_path_the_permission_comes_first(control: Control, path: str) -> None:
    async with control.session(Authorization=aiohttp.encode_basic_auth("user", "plain")) as user:
        async with user.post("/api" + path) as answer:
            assert answer.status == 403
        async with user.post("/api/spam-filter/train/eggs") as answer:  # users may train
            assert answer.status == 404


async def test_either_permission_will_do_to_classify(control: Control) -> None:
    account = AccountOptions(secret="plain", roles=(), enabled_permissions=("authenticate", "spam-filter-classify"))
    control.accounts.reconfigure({"classifier": account})
    async with control.session(Authorization=aiohttp.encode_basic_auth("classifier", "plain")) as session:
        async with session.post("/api/spam-filter/classify") as answer:
            assert answer.status == 400  # let in: there is nothing to classify
        async with session.post("/api/spam-filter/train/ham") as answer:
            assert answer.status == 403
