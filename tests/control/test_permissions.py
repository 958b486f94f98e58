"""Every route asks for its permission, of whoever calls: the table is the application's own, so it grows by itself."""

from __future__ import annotations

import re

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from relayd.control.access import Caller
from relayd.control.answers import Problem
from relayd.control.routes import CALLER, SPAN, Route
from relayd.directory.options import AccountOptions
from relayd.directory.permissions import AUTHENTICATE, PERMISSIONS, ROLES
from relayd.events.event import EventStream, Span
from tests.control.conftest import ACCOUNTS, Control


def path_of(route: Route) -> str:
    """A path of the route, with something in place of every element; lists of types ask for each type's permission."""
    query = "?types=individual" if route.operation == 5 else ""
    return "/api" + re.sub(r"\{[^}]*\}", "0", route.path) + query


def allowed(route: Route) -> set[str]:
    """The permissions of which one is enough."""
    return set(route.opened_by)


def named(route: Route) -> str:
    """What the accounts of a route are called: it may share its permission with others that open to more."""
    return "-".join(route.opened_by[:2]) if len(route.opened_by) < 3 else f"{route.opened_by[0]}-or-another"


@pytest.fixture
def table(control: Control) -> list[Route]:
    """Every route, and accounts by what they may: one permission ("only-"), all others ("but-"), a role ("role-")."""
    accounts = {f"role-{each}": AccountOptions(secret="x", roles=(each,)) for each in ROLES}
    for route in control.app.routes:
        alone = tuple({AUTHENTICATE, route.permission})
        others = tuple(PERMISSIONS - allowed(route) | {AUTHENTICATE})
        accounts[f"only-{named(route)}"] = AccountOptions(secret="x", roles=(), enabled_permissions=alone)
        accounts[f"but-{named(route)}"] = AccountOptions(secret="x", roles=(), enabled_permissions=others)
    control.accounts.reconfigure({**ACCOUNTS, **accounts})
    return control.app.routes


async def status(session: aiohttp.ClientSession, route: Route, login: str = "") -> int:
    """What an account is told.  The body is no JSON and the element no thing, so that nothing is changed."""
    headers = {"Authorization": aiohttp.encode_basic_auth(login, "x")} if login else {}
    async with session.request(route.method, path_of(route), data=b"{not json", headers=headers) as answer:
        return answer.status


def test_every_permission_that_a_route_asks_for_can_be_given(table: list[Route]) -> None:
    for route in table:
        assert route.permission, route.path
        assert allowed(route) <= PERMISSIONS, route.path


async def test_without_credentials_every_route_is_401(table: list[Route], tcp: aiohttp.ClientSession) -> None:
    for route in table:
        assert await status(tcp, route) == 401, route.path


async def test_every_route_opens_to_its_permission(table: list[Route], tcp: aiohttp.ClientSession) -> None:
    for route in table:
        assert await status(tcp, route, f"only-{named(route)}") not in (401, 403, 500), route.path


async def test_no_other_permissions_open_it(table: list[Route], tcp: aiohttp.ClientSession) -> None:
    for route in table:
        if route.permission != AUTHENTICATE:  # which all have
            assert await status(tcp, route, f"but-{named(route)}") == 403, route.path


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_opens_what_its_permissions_open(
    table: list[Route], tcp: aiohttp.ClientSession, role: str
) -> None:
    for route in table:
        found = await status(tcp, route, f"role-{role}")
        assert (found != 403) == bool(allowed(route) & ROLES[role].enabled), (role, route.method, route.path)


async def test_no_single_permission_opens_what_asks_for_another(table: list[Route]) -> None:
    """Route by route, permission by permission, at the check itself: what is refused never gets to its handler."""
    span = Span(EventStream(lambda: 0.0))
    for route in table:
        request = make_mocked_request(route.method, path_of(route))
        request[SPAN] = span
        for permission in PERMISSIONS - allowed(route):
            request[CALLER] = Caller("x", frozenset({permission}))
            with pytest.raises(Problem) as refused:
                await route.respond(request)
            assert refused.value.status == 403, (route.method, route.path, permission)
