"""Authorisation codes: once, in time, by whom they were given to."""

from __future__ import annotations

import re

import pytest

from relayd.directory import codes as module
from relayd.directory.codes import CodeRefused, Codes, Grant, WrongClient
from relayd.directory.options import CodeOptions, ExpiryOptions
from relayd.directory.tokens import Realm
from tests.directory.test_directory import Clock

URI = "stalwart://auth"


def grant(account: str = "ann", uri: str | None = URI) -> Grant:
    return Grant(realm=Realm.DIRECTORY, account=account, version=b"v", client_id="webadmin", redirect_uri=uri)


def codes(clock: Clock) -> Codes:
    return Codes(ExpiryOptions(), CodeOptions(), clock)


def test_a_code_is_good_once() -> None:
    waiting = codes(Clock())
    code = waiting.issue(grant())
    assert re.fullmatch("[A-Za-z0-9]{40}", code)
    assert waiting.redeem(code, "webadmin", URI) == grant()
    for each in (code, "", "x" * 40):
        with pytest.raises(CodeRefused):
            waiting.redeem(each, "webadmin", URI)


def test_its_time_ends() -> None:
    clock = Clock()
    waiting = codes(clock)
    early, late = waiting.issue(grant()), waiting.issue(grant())
    clock.now += 599
    waiting.redeem(early, "webadmin", URI)
    clock.now += 1
    with pytest.raises(CodeRefused):
        waiting.redeem(late, "webadmin", URI)


@pytest.mark.parametrize(("client", "uri"), [("other", URI), ("webadmin", "stalwart://else"), ("webadmin", None)])
def test_another_client_has_three_tries(client: str, uri: str | None) -> None:
    waiting = codes(Clock())
    code, kept = waiting.issue(grant()), waiting.issue(grant())
    for _ in range(3):
        with pytest.raises(WrongClient):
            waiting.redeem(code, client, uri)
    with pytest.raises(CodeRefused):
        waiting.redeem(code, "webadmin", URI)
    with pytest.raises(WrongClient):
        waiting.redeem(kept, client, uri)
    waiting.redeem(kept, "webadmin", URI)


def test_a_code_without_redirect_is_exchanged_without() -> None:
    waiting = codes(Clock())
    with pytest.raises(WrongClient):
        waiting.redeem(waiting.issue(grant(uri=None)), "webadmin", URI)
    waiting.redeem(waiting.issue(grant(uri=None)), "webadmin", None)
    waiting.redeem(waiting.issue(grant(uri=None)), "webadmin", "")


def test_what_waits_is_bounded_for_each_account_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CODES", 4)
    monkeypatch.setattr(module, "MAX_CODES_PER_ACCOUNT", 2)
    clock = Clock()
    waiting = codes(clock)
    first, bob, second, third = (waiting.issue(grant(name)) for name in ("ann", "bob", "ann", "ann"))
    with pytest.raises(CodeRefused):
        waiting.redeem(first, "webadmin", URI)
    for name in ("carl", "dora"):
        waiting.issue(grant(name))
    with pytest.raises(CodeRefused):
        waiting.redeem(bob, "webadmin", URI)  # the oldest of all
    for code in (second, third):
        waiting.redeem(code, "webadmin", URI)
    clock.now += 600
    waiting.issue(grant())
    assert len(waiting._waiting) == 1
