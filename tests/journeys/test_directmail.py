"""The DirectMail dialect by its real clients: all eight operations, and what they mean for mail.

The clients live in an environment of their own (`tests/clients/directmail/requirements.lock`, which `.ci/run`
installs); RELAYD_DIRECTMAIL_PYTHON names its Python.
"""

from __future__ import annotations

import json
import os
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay, message, wait_until
from tests.journeys.test_webhooks import Background
from tests.rig.daemon import Daemon, free_port
from tests.rig.peers import absent, require_program
from tests.rig.sink import Delivery, Sink

_CALLS = Path(__file__).parents[1] / "clients" / "directmail" / "calls.py"

_RELAYD = (sys.executable, "-m", "relayd")

SECRET = "$argon2id$v=19$m=8,t=1,p=1$Td1xjnUCpnYaeUMRc2naqw$qf7ermvJdy30iC2ywc9tCRFPVScAad5lFwEdSc8yrjA"


def answer(verb: str, argument: str, delivery: Delivery) -> str | None:
    return "550 5.1.1 no such user" if verb == "RCPT" and "<nobody" in argument else None


class Account:
    """The account `ann`, its access key, and calls by the real clients as it."""

    def __init__(self, daemon: Daemon, submission: int) -> None:
        self.daemon = daemon
        self.submission = submission
        made = subprocess.run(
            [*_RELAYD, "account", "access-key", "create", "ann", "--json", "--config", str(daemon.config)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        key = json.loads(made)
        assert set(key) == {"access_key_id", "access_key_secret"}
        self.key, self.secret = key["access_key_id"], key["access_key_secret"]

    def calls(self, *calls: tuple[str, str, dict[str, Any]], secret: str = "") -> list[dict[str, Any]]:
        """The answers to calls: see `tests/clients/directmail/calls.py`."""
        python = os.environ.get("RELAYD_DIRECTMAIL_PYTHON", "")
        if not python:
            absent("RELAYD_DIRECTMAIL_PYTHON names no Python with the clients of DirectMail")
        given = {"port": self.daemon.http_port, "key": self.key, "secret": secret or self.secret, "calls": calls}
        done = subprocess.run(
            [python, str(_CALLS)], input=json.dumps(given), capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    def send(self, login: str, password: str, sender: str, to: str) -> str:
        """Submit a message; "" or why it was refused."""
        with smtplib.SMTP("127.0.0.1", self.submission, "client.test", timeout=60) as client:
            try:
                client.login(login, password)
                client.sendmail(sender, to, message(From=sender, To=to))
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
                return str(error)
        return ""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(answer=answer) as one:
        yield one


@pytest.fixture
def ann(relay: StartRelay, sink: Sink) -> Account:
    submission = free_port()
    daemon = relay(
        sink.port,
        {
            "server.listener.submission.bind": [f"127.0.0.1:{submission}"],
            "server.listener.submission.protocol": "smtp",
            "server.listener.submission.role": "submission",
            "account.ann.secret": SECRET,
            "account.ann.emails": ["ann@mail.test"],
            "account.bob.secret": SECRET,
            "account.bob.emails": ["bob@other.test"],
        },
    )
    return Account(daemon, submission)


def test_a_life_of_a_sending_address(ann: Account, sink: Sink) -> None:
    name = "noreply@mail.test"
    created, listed = ann.calls(
        ("dm", "create_mail_address", {"account_name": name, "sendtype": "batch", "reply_address": "help@mail.test"}),
        ("dm", "query_mail_address_by_param", {"key_word": "noreply", "page_no": 1, "page_size": 20}),
    )
    id = created["MailAddressId"]
    assert created["status"] == 200
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", created["RequestId"])
    (item,) = listed["data"]["mailAddress"]
    assert (listed["TotalCount"], listed["PageNumber"], listed["PageSize"]) == (1, 1, 20)
    assert item.pop("CreateTime").endswith("Z")
    assert item == {
        "MailAddressId": id,
        "AccountName": name,
        "ReplyAddress": "help@mail.test",
        "Sendtype": "batch",
        "AccountStatus": "0",
        "ReplyStatus": "1",
        "DailyCount": "10000",
        "MonthCount": "200000",
        "DailyReqCount": "0",
        "MonthReqCount": "0",
        "DomainStatus": "0",
    }

    # a password of its own, which works on the submission listener for this address alone
    assert "5.7.8" in ann.send(name, "S3cret-enough", name, "a@x.test")
    (changed,) = ann.calls(("dm", "modify_mail_address", {"mail_address_id": id, "password": "S3cret-enough"}))
    assert changed["status"] == 200
    assert ann.send(name, "S3cret-enough", name, "a@x.test") == ""
    assert "5.7.1" in ann.send(name, "S3cret-enough", "ann@mail.test", "a@x.test")
    assert ann.send("ann", "for-tests-only", name, "b@x.test") == "", "its owner may send from it too"
    assert "5.7.1" in ann.send("bob", "for-tests-only", name, "b@x.test")
    sink.wait_for(2)

    # the counters are the live ones, over a restart
    ann.daemon.kill()
    ann.daemon.start()
    (listed,) = ann.calls(("dm", "query_mail_address_by_param", {"key_word": name}))
    (item,) = listed["data"]["mailAddress"]
    assert (item["DailyReqCount"], item["MonthReqCount"]) == ("2", "2")

    # the reply address is verified by a mail with a ticket
    (checked,) = ann.calls(("dm", "check_reply_to_mail_address", {"mail_address_id": id}))
    assert checked["status"] == 200
    mail = sink.wait_for(3)[-1]
    assert (mail.return_path, mail.recipients) == ("", ["help@mail.test"])
    ticket = re.findall(rb"^  (\S{20,})\r?$", mail.content, re.M)[0].decode()
    wrong, approved, again, listed = ann.calls(
        ("dm", "approve_reply_mail_address", {"ticket": ticket[:-1]}),
        ("dm", "approve_reply_mail_address", {"ticket": ticket}),
        ("dm", "approve_reply_mail_address", {"ticket": ticket}),
        ("dm", "query_mail_address_by_param", {"key_word": name}),
    )
    assert "InvalidTicket.Malformed" in wrong["error"]
    assert approved["status"] == 200
    assert "InvalidTicket.Malformed" in again["error"]
    assert listed["data"]["mailAddress"][0]["ReplyStatus"] == "0"

    # frozen by the operator: refused at MAIL, whoever signs in
    frozen = ann.daemon.data_of("PATCH", f"/api/sending-addresses/{name}", {"frozen": "complaints"})
    assert frozen["used"] == {"day": 2, "month": 2}
    assert "frozen: complaints" in ann.send(name, "S3cret-enough", name, "a@x.test")
    assert "frozen: complaints" in ann.send("ann", "for-tests-only", name, "a@x.test")
    (listed,) = ann.calls(("dm", "query_mail_address_by_param", {"key_word": name}))
    assert listed["data"]["mailAddress"][0]["AccountStatus"] == "1"
    ann.daemon.data_of("PATCH", f"/api/sending-addresses/{name}", {"frozen": "", "daily": 2})
    assert "450" in ann.send(name, "S3cret-enough", name, "a@x.test"), "its quota is used up"

    deleted, gone, listed = ann.calls(
        ("dm", "delete_mail_address", {"mail_address_id": id}),
        ("dm", "delete_mail_address", {"mail_address_id": id}),
        ("dm", "query_mail_address_by_param", {"key_word": name}),
    )
    assert deleted["status"] == 200
    assert "InvalidMailAddressId.Malformed" in gone["error"]
    assert listed["TotalCount"] == 0
    assert "5.7.8" in ann.send(name, "S3cret-enough", name, "a@x.test")
    assert ann.secret not in ann.daemon.output.read_text(errors="replace")
    assert b"S3cret-enough" not in (ann.daemon.data / "directory.db").read_bytes()
    assert ann.secret.encode() not in (ann.daemon.data / "directory.db").read_bytes()


def test_outcomes_go_to_the_notification_url_signed_with_the_access_key(ann: Account) -> None:
    with Background() as receiver:
        create, wrong, none, update, get = ann.calls(
            ("POST", "CreateMailAddress", {"AccountName": "trigger@mail.test", "Sendtype": "trigger"}),
            (
                "POST",
                "UpdateMailAddressMsgCallBackUrl",
                {"MailFrom": "trigger@mail.test", "NotifyUrl": "ftp://x.test/"},
            ),
            ("GET", "GetMailAddressMsgCallBackUrl", {"MailFrom": "trigger@mail.test"}),
            ("POST", "UpdateMailAddressMsgCallBackUrl", {"MailFrom": "trigger@mail.test", "NotifyUrl": receiver.url}),
            ("GET", "GetMailAddressMsgCallBackUrl", {"MailFrom": "trigger@mail.test"}),
        )
        assert "MailAddressId" in create
        assert "InvalidNotifyUrl.Malformed" in wrong["error"]
        assert (none["NotifyUrl"], none["NotifyUrlStatus"]) == ("", 0)
        assert "error" not in update
        assert (get["NotifyUrl"], get["NotifyUrlStatus"]) == (receiver.url, 1)
        assert ann.send("ann", "for-tests-only", "trigger@mail.test", "a@x.test") == ""
        assert ann.send("ann", "for-tests-only", "trigger@mail.test", "nobody@x.test") == ""
        assert ann.send("ann", "for-tests-only", "ann@mail.test", "c@x.test") == ""
        wait_until(lambda: len(receiver.taken) == 2, "both outcomes")
        kinds = {each["type"]: each["data"] for each in receiver.taken}
        assert kinds["delivery.delivered"]["to"] == "a@x.test"
        assert kinds["delivery.bounced"]["to"] == "nobody@x.test"
        assert kinds["delivery.bounced"]["class"] == "bad-mailbox"
        assert all(each.is_signed(ann.secret) for each in receiver.requests)


def test_what_the_clients_are_refused(ann: Account) -> None:
    ours, bob, unknown, bad, twice_1, twice_2, type, action = ann.calls(
        ("dm", "create_mail_address", {"account_name": "ann@mail.test", "sendtype": "trigger"}),
        ("dm", "create_mail_address", {"account_name": "x@other.test", "sendtype": "batch"}),
        ("dm", "create_mail_address", {"account_name": "x@nowhere.test", "sendtype": "batch"}),
        ("dm", "create_mail_address", {"account_name": "no address", "sendtype": "batch"}),
        ("GET", "CreateMailAddress", {"AccountName": "twice@mail.test", "Sendtype": "batch"}),
        ("POST", "CreateMailAddress", {"AccountName": "Twice@mail.test", "Sendtype": "batch"}),
        ("dm", "create_mail_address", {"account_name": "y@mail.test"}),
        ("POST", "SingleSendMail", {"AccountName": "twice@mail.test"}),
    )
    assert ours["status"] == 200
    for answer, code in (
        (bob, "Forbidden"),
        (unknown, "InvalidMailAddressDomain.Malformed"),
        (bad, "InvalidMailAddressName.Malformed"),
        (twice_2, "InvalidMailAddressName.Duplicate"),
        (type, "MissingSendtype"),
        (action, "InvalidAction.NotFound"),
    ):
        assert code in answer["error"]
    assert "MailAddressId" in twice_1
    (wrong,) = ann.calls(("dm", "query_mail_address_by_param", {"key_word": "x"}), secret="another")
    assert "SignatureDoesNotMatch" in wrong["error"]
    ann.daemon.data_of("DELETE", f"/api/access-keys/ann/{ann.key}")
    (revoked,) = ann.calls(("GET", "GetMailAddressMsgCallBackUrl", {"MailFrom": "ann@mail.test"}))
    assert "InvalidAccessKeyId.NotFound" in revoked["error"]


def test_a_sending_address_signs_in_by_scram_as_well(ann: Account, sink: Sink, tmp_path: Path) -> None:
    """SCRAM is offered once an account of the database has a verifier; who takes it must not be locked out."""
    ann.daemon.data_of("POST", "/api/principal", {"type": "domain", "name": "stored.test"})
    zoe = {"type": "individual", "name": "zoe", "secrets": ["secret of zoe"], "emails": ["zoe@stored.test"]}
    ann.daemon.data_of("POST", "/api/principal", zoe)
    (created,) = ann.calls(("dm", "create_mail_address", {"account_name": "scram@mail.test", "sendtype": "trigger"}))
    change = {"mail_address_id": created["MailAddressId"], "password": "S3cret-enough"}
    assert ann.calls(("dm", "modify_mail_address", change))[0]["status"] == 200
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {ann.submission}\ntls off\nauth scram-sha-256\nuser scram@mail.test\n"
        f'passwordeval "echo S3cret-enough"\nfrom scram@mail.test\n'
    )
    config.chmod(0o600)
    command = [require_program("msmtp"), "-C", str(config), "a@x.test"]
    letter = message(From="scram@mail.test", To="a@x.test")
    done = subprocess.run(command, input=letter, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sink.wait_for(1)[0].return_path == "scram@mail.test"
