"""The fallback administrator works whatever the directory does; accounts sign in by their role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relayd.control.options import FallbackAdminOptions
from relayd.control.signing_in import SigningIn
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.directory.password import hash_secret
from relayd.directory.tokens import Tokens

ACCOUNTS = {"ann": AccountOptions(secret="plain", roles=("admin",)), "bob": AccountOptions(secret="plain")}


@pytest.fixture
async def signing_in() -> AsyncIterator[SigningIn]:
    accounts = Directory(ACCOUNTS, lambda: 0.0)
    fallback = FallbackAdminOptions(user="Root", secret=hash_secret("s3cret"))
    signing_in = SigningIn(accounts, fallback, Tokens(bytes(32), lambda: 0.0), lambda: 0.0)
    yield signing_in
    signing_in.close()
    accounts.close()


async def test_the_fallback_administrator(signing_in: SigningIn) -> None:
    account = await signing_in("root", "s3cret")
    assert account is not None
    assert "admin" in account.roles
    assert await signing_in("root", "wrong") is None
    assert await signing_in("root", "") is None
    signing_in.reconfigure(FallbackAdminOptions(user="root", secret="other"))
    assert await signing_in("root", "s3cret") is None
    assert await signing_in("root", "other") is not None


async def test_without_user_or_secret_there_is_none(signing_in: SigningIn) -> None:
    for options in (FallbackAdminOptions(user="root"), FallbackAdminOptions(secret="x"), FallbackAdminOptions()):
        signing_in.reconfigure(options)
        assert await signing_in("root", "x") is None
        assert await signing_in("", "x") is None
        assert await signing_in("root", "") is None


async def test_accounts_of_the_directory(signing_in: SigningIn) -> None:
    ann, bob = await signing_in("ann", "plain"), await signing_in("bob", "plain")
    assert ann is not None
    assert bob is not None
    assert ("admin" in ann.roles, "admin" in bob.roles) == (True, False)
    assert await signing_in("nobody", "plain") is None
