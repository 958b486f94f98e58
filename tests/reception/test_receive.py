"""Sessions and transactions up to the content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.mail.reply import Reply
from relayd.reception.policy import Policy
from relayd.reception.transaction import Transaction
from relayd.smtp.command import MailCommand
from tests.reception.house import HOSTNAME, House, options, outcome

ACCOUNTS: dict[str, dict[str, Any]] = {
    "app": {"secret": "s3cret", "emails": ["app@org.example", "@apps.example"]},
    "key": {"type": "apiKey", "secret": "k"},
    "mute": {"secret": "m", "disabled-permissions": ["email-send"]},
}


@pytest.mark.parametrize(
    "name",
    ["client.example", "localhost", "a_b.example", "_srv.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "x" * 63],
)
async def test_a_valid_name_is_taken_in_ehlo(tmp_path: Path, name: str) -> None:
    rig = House(tmp_path)
    assert await rig.reception.helo(rig.client(helo=name)) is None
    assert rig.facts("smtp.ehlo") == [{"domain": name}]


@pytest.mark.parametrize(
    "name",
    ["", "a b", "-a.example", "a..example", "a.example.", "[192.0.2.300]", "[::1]", "192.0.2.1]", "bü.example", "a@b"],
)
async def test_an_invalid_name_is_refused_without_an_enhanced_code(tmp_path: Path, name: str) -> None:
    rig = House(tmp_path)
    assert outcome(await rig.reception.helo(rig.client(helo=name))) == (501, "")


async def test_a_name_without_a_dot_is_refused_to_strangers_where_it_is_configured(tmp_path: Path) -> None:
    rig = House(tmp_path, ehlo={"reject-non-fqdn": True})
    assert outcome(await rig.reception.helo(rig.client(helo="localhost"))) == (550, "")
    assert await rig.reception.helo(rig.client(helo="[192.0.2.1]")) is None
    assert await rig.reception.helo(rig.client(helo="a.example")) is None
    assert (await rig.trusted(helo="pc")).trusted


async def test_dsn_and_vrfy_are_offered_to_trusted_sessions_only_and_auth_on_submission(tmp_path: Path) -> None:
    rig = House(tmp_path, limits={"size": 1000, "recipients": 7, "messages": 3})
    stranger, trusted = await rig.stranger(), await rig.trusted()
    for client, dsn in ((stranger, False), (trusted, True)):
        offered = rig.reception.offered(client)
        assert (offered.dsn, offered.vrfy, offered.auth) == (dsn, dsn, ())
        assert (offered.size, offered.rcpt_max, offered.mail_max) == (1000, 7, 3)
    assert rig.reception.offered(await rig.stranger(role="submission")).auth == ("PLAIN", "LOGIN")


async def test_an_announced_size_over_the_limit_is_refused(tmp_path: Path) -> None:
    rig = House(tmp_path, limits={"size": 1000})
    client = await rig.trusted()
    refused = await rig.reception.mail(client, MailCommand(return_path="a@b.example", size=1001))
    assert isinstance(refused, Reply)
    assert outcome(refused) == (552, "5.3.4")
    await rig.begin(client, size=1000)


async def test_the_space_check_is_asked_with_the_announced_size(tmp_path: Path) -> None:
    rig = House(tmp_path)
    rig.space.reply = Reply(452, "4.3.1", "full")
    refused = await rig.reception.mail(await rig.trusted(), MailCommand(return_path="a@b.example", size=12345))
    assert refused == Reply(452, "4.3.1", "full")
    assert rig.space.sizes == [12345]


async def test_a_session_may_send_so_many_messages(tmp_path: Path) -> None:
    rig = House(tmp_path, limits={"messages": 2})
    client = await rig.trusted()
    for _ in range(2):
        await rig.deliver(client, b"Subject: x\r\n\r\n")
    refused = await rig.reception.mail(client, MailCommand(return_path="a@b.example"))
    assert isinstance(refused, Reply)
    assert outcome(refused) == (421, "4.7.0")
    assert HOSTNAME in refused.text


async def test_good_credentials_make_a_session_trusted(tmp_path: Path) -> None:
    rig = House(tmp_path, ACCOUNTS)
    client = await rig.stranger(role="submission")
    assert outcome(await rig.reception.authenticate(client, "app", "s3cret")) == (235, "2.7.0")
    assert (client.trusted, client.account) == (True, "app")
    assert rig.reception.offered(client).dsn
    assert rig.facts("auth.success") == [{"account_name": "app", "span_id": 7, "type_": "smtp"}]
    assert await rig.reception.connect(client) is None
    assert client.trusted


async def test_a_login_that_xclient_told_sends_as_its_account_does(tmp_path: Path) -> None:
    rig = House(tmp_path, ACCOUNTS)
    client = rig.client(account="app", from_proxy=True)
    assert await rig.reception.connect(client) is None
    assert client.trusted
    assert isinstance(await rig.reception.mail(client, MailCommand(return_path="app@org.example")), Transaction)
    assert isinstance(await rig.reception.mail(client, MailCommand(return_path="boss@org.example")), Reply)


async def test_a_login_that_xclient_told_and_nobody_knows_lends_no_rights(tmp_path: Path) -> None:
    rig = House(tmp_path, ACCOUNTS)
    client = rig.client(account="nobody", from_proxy=True)
    assert await rig.reception.connect(client) is None
    assert (client.trusted, client.account) == (False, None)


@pytest.mark.parametrize(
    ("login", "secret"), [("app", "wrong"), ("nobody", "s3cret"), ("key", "k"), ("mute", "m"), ("", "")]
)
async def test_bad_credentials_are_refused_and_never_told(tmp_path: Path, login: str, secret: str) -> None:
    rig = House(tmp_path, ACCOUNTS)
    client = await rig.stranger(role="submission")
    assert outcome(await rig.reception.authenticate(client, login, secret)) == (535, "5.7.8")
    assert not client.trusted
    assert rig.facts("auth.failed") == [{"account_name": login, "type_": "smtp", "remote_ip": "203.0.113.5"}]


async def test_a_directory_that_fails_is_temporary(tmp_path: Path) -> None:
    rig = House(tmp_path, {"odd": {"secret": "$6$"}})
    rig.directory.reconfigure({})
    rig.directory._waiting = 10_000
    assert outcome(await rig.reception.authenticate(await rig.stranger(), "a", "b")) == (454, "4.7.0")


async def test_a_submission_listener_demands_authentication_even_from_relay_networks(tmp_path: Path) -> None:
    rig = House(tmp_path, ACCOUNTS)
    refused = await rig.reception.mail(await rig.trusted(role="submission"), MailCommand(return_path="a@b.example"))
    assert isinstance(refused, Reply)
    assert outcome(refused) == (530, "5.7.0")


@pytest.mark.parametrize(
    ("sender", "allowed"),
    [
        ("app@org.example", True),
        ("APP@org.example", True),
        ("anyone@apps.example", True),
        ("", True),
        ("boss@org.example", False),
        ("app@x.apps.example", False),
    ],
)
async def test_an_account_sends_from_its_own_addresses(tmp_path: Path, sender: str, allowed: bool) -> None:
    rig = House(tmp_path, ACCOUNTS)
    client = await rig.stranger(role="submission")
    await rig.reception.authenticate(client, "app", "s3cret")
    answer = await rig.reception.mail(client, MailCommand(return_path=sender))
    if allowed:
        assert isinstance(answer, Transaction)
    else:
        assert isinstance(answer, Reply)
        assert outcome(answer) == (550, "5.7.1")
        assert rig.facts("smtp.mail-from-unauthorized") == [
            {"from_": sender, "account_name": "app", "reason": "not an address of the account"}
        ]


async def test_data_without_recipients_is_refused(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await rig.begin(await rig.trusted())
    assert outcome(await rig.reception.begin_data(tx)) == (554, "5.5.1")


async def test_bare_newlines_are_mended_for_whom_it_is_configured(tmp_path: Path) -> None:
    rig = House(tmp_path, data={"bare-newlines-networks": ["203.0.113.0/24"]}, limits={"line": 2000, "size": 10**6})
    tx = await rig.begin(await rig.stranger())
    assert (tx.normalise, tx.max_line, tx.max_size) == (True, 2000, 10**6)
    assert not (await rig.begin(await rig.trusted())).normalise
    assert not rig.reception.normalises(rig.client(None))
    assert House(tmp_path, data={"bare-newlines": "normalise"}).reception.normalises(rig.client(None))


async def test_a_transaction_ends_by_the_policy_it_began_with(tmp_path: Path) -> None:
    rig = House(tmp_path, limits={"recipients": 2})
    client = await rig.trusted()
    tx = await rig.begin(client)
    rig.reception.reconfigure(Policy(options(limits={"recipients": 1})))
    assert [(await rig.rcpt(tx, f"{name}@far.example")).code for name in "abc"] == [250, 250, 452]
    later = await rig.begin(client)
    assert [(await rig.rcpt(later, f"{name}@far.example")).code for name in "abc"] == [250, 452, 452]
