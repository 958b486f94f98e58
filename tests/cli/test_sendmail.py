"""`sendmail` and `relayd send`: options, envelope, content, and exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.cli.program import main, sendmail
from relayd.cli.sendmail import parse
from tests.cli.conftest import FakeSubmit

Run = Callable[..., int]


@pytest.fixture
def run(config: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs sendmail with a message on stdin."""

    def call(*arguments: str, stdin: bytes = b"Subject: s\n\nbody\n") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return sendmail(["--config", str(config), *arguments])

    return call


@pytest.fixture
def send(config: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `relayd send` with a message on stdin."""

    def call(*arguments: str, stdin: bytes = b"Subject: s\n\nbody\n") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return main(["send", "--config", str(config), *arguments])

    return call


def test_a_message_is_handed_in(run: Run, submit: FakeSubmit) -> None:
    assert run("-i", "-f", "ann@a.example", "-F", "Ann", "bob@b.example", "root") == 0
    (mail,) = submit.taken
    assert mail.mail.startswith("MAIL FROM:<ann@a.example> SIZE=")
    assert mail.rcpt == ["RCPT TO:<bob@b.example>", "RCPT TO:<root@relay.test>"]
    assert b"From: Ann <ann@a.example>\r\n" in mail.content
    assert b"\r\nMessage-ID: <" in mail.content
    assert mail.content.endswith(b"\r\n\r\nbody\r\n")


def test_recipients_of_the_header_and_no_bcc(run: Run, submit: FakeSubmit) -> None:
    assert run("-t", "-oi", stdin=b"To: a@x.y\nBcc: b@x.y\n\nbody\n") == 0
    assert submit.taken[0].rcpt == ["RCPT TO:<a@x.y>", "RCPT TO:<b@x.y>"]
    assert b"b@x.y" not in submit.taken[0].content


def test_the_user_is_the_sender(run: Run, submit: FakeSubmit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayd.cli.person.login_name", lambda: "ann")
    monkeypatch.setattr("relayd.cli.person.full_name", lambda: "Ann Example")
    assert run("a@x.y") == 0
    assert submit.taken[0].mail.startswith("MAIL FROM:<ann@relay.test>")
    assert b"From: Ann Example <ann@relay.test>\r\n" in submit.taken[0].content


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_null_sender(null: str, run: Run, submit: FakeSubmit) -> None:
    assert run("-f", null, "a@x.y") == 0
    assert submit.taken[0].mail.startswith("MAIL FROM:<>")


def test_dots_are_stuffed_and_eight_bits_announced(run: Run, submit: FakeSubmit) -> None:
    assert run("-i", "a@x.y", stdin="Subject: s\n\n.\n..x\ngrüße\n".encode()) == 0
    assert submit.taken[0].content.endswith("\r\n\r\n.\r\n..x\r\ngrüße\r\n".encode())
    assert "BODY=8BITMIME" in submit.taken[0].mail
    assert "SMTPUTF8" not in submit.taken[0].mail


def test_an_international_address(run: Run, submit: FakeSubmit) -> None:
    assert run("jürgen@x.y") == 0
    assert submit.taken[0].mail.endswith("SMTPUTF8")
    submit.extensions = ["8BITMIME"]
    assert run("jürgen@x.y") == 65


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ({"RCPT TO:<b@": "550 5.1.1 no such user"}, 67),
        ({"RCPT TO:<b@": "550 5.7.1 relaying denied"}, 77),
        ({"RCPT TO:<b@": "501 5.5.4 bad"}, 65),
        ({"RCPT TO:<a@": "451 4.3.0 later"}, 75),
        ({"MAIL": "452 4.3.1 full"}, 75),
        ({"MAIL": "552 5.3.4 too big"}, 65),
        ({"DATA": "451 4.3.0 later"}, 75),
        ({"final": "554 5.6.0 bad"}, 65),
        ({"final": "451 4.3.0 later"}, 75),
    ],
)
def test_refusals(replies: dict[str, str], code: int, run: Run, submit: FakeSubmit) -> None:
    submit.replies = replies
    assert run("a@x.y", "b@x.y") == code
    assert submit.taken == []


def test_all_refused_recipients_are_named(run: Run, submit: FakeSubmit, capsys: pytest.CaptureFixture[str]) -> None:
    submit.replies = {"RCPT TO:<a": "550 5.1.1 no a", "RCPT TO:<c": "550 5.1.1 no c"}
    assert run("a@x.y", "b@x.y", "c@x.y") == 67
    err = capsys.readouterr().err
    assert "a@x.y: 550 5.1.1 no a" in err
    assert "c@x.y: 550 5.1.1 no c" in err


def test_more_recipients_than_fit_take_a_further_transaction(
    run: Run, submit: FakeSubmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = submit.reply

    def reply(command: str, answer: str) -> str:
        since = submit.commands[::-1].index(next(c for c in reversed(submit.commands) if c.startswith("MAIL")))
        return "452 4.5.3 too many" if command.startswith("RCPT") and since > 2 else usual(command, answer)

    monkeypatch.setattr(submit, "reply", reply)
    assert run(*(f"u{number}@x.y" for number in range(5))) == 0
    assert [len(mail.rcpt) for mail in submit.taken] == [2, 2, 1]


def test_nobody_there_is_75(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a@x.y") == 75
    err = capsys.readouterr().err
    assert "data/submit.sock" in err
    assert "127.0.0.1:1" in err


@pytest.mark.parametrize("greeting", ["421 4.3.2 shutting down", "554 5.3.2 no", "hello"])
def test_a_daemon_that_does_not_greet(greeting: str, run: Run, submit: FakeSubmit) -> None:
    submit.greeting = greeting
    assert run("a@x.y") == (65 if greeting.startswith("5") else 75)


def test_a_recipient_cannot_inject_a_command(run: Run, submit: FakeSubmit) -> None:
    assert run("a@x.y>\r\nRCPT TO:<b@x.y") == 65
    assert not any("b@x.y" in command for command in submit.commands)


@pytest.mark.parametrize("arguments", [[], ["-t"], ["-x"], ["-bd"], ["-f"], ["-z", "a@x.y"]])
def test_a_wrong_command_line_is_64(arguments: list[str], run: Run, submit: FakeSubmit) -> None:
    assert run(*arguments) == 64
    assert submit.taken == []


def test_addresses_that_cannot_be_read_are_65(run: Run, submit: FakeSubmit) -> None:
    assert run("-t", stdin=b"To: a@x.y <b@x.y\n\n") == 65


@pytest.mark.parametrize(
    ("arguments", "envelope", "recipients", "take", "dot"),
    [
        (["-fa@x", "b"], "a@x", ["b"], False, True),
        (["-ti"], None, [], True, False),
        (["-tifa@x"], "a@x", [], True, False),
        (["-r", "a@x", "-oi", "-oem", "-em", "-B8BITMIME", "b"], "a@x", ["b"], False, False),
        (["-odb", "-oQ/tmp", "-v", "-q15m", "-N", "never", "-Am", "b"], None, ["b"], False, True),
        (["-bm", "--", "-b"], None, ["-b"], False, True),
    ],
)
def test_command_lines(
    arguments: list[str], envelope: str | None, recipients: list[str], take: bool, dot: bool
) -> None:
    request = parse(arguments)
    assert request.mode == "m"
    assert request.envelope == envelope
    assert request.recipients == recipients
    assert (request.take_recipients, request.lone_dot_ends) == (take, dot)


def test_newaliases_has_nothing_to_do(run: Run) -> None:
    assert run("-bi") == 0


def test_send_reads_a_message(send: Run, submit: FakeSubmit, capsys: pytest.CaptureFixture[str]) -> None:
    assert send("--from", "ann@a.example", stdin=b"To: a@x.y\nBcc: b@x.y\n\nbody\n") == 0
    assert submit.taken[0].rcpt == ["RCPT TO:<a@x.y>", "RCPT TO:<b@x.y>"]
    assert capsys.readouterr().out == "250 2.0.0 queued as 1\n"


def test_send_composes_a_message(send: Run, submit: FakeSubmit) -> None:
    assert (
        send("--from", "ann@a.example", "--to", "a@x.y", "b@x.y", "--subject", "Hi", "--body", "-", stdin=b"text") == 0
    )
    (mail,) = submit.taken
    assert mail.rcpt == ["RCPT TO:<a@x.y>", "RCPT TO:<b@x.y>"]
    assert b"To: a@x.y, b@x.y\r\n" in mail.content
    assert mail.content.endswith(b"\r\n\r\ntext\r\n")


def test_send_needs_recipients(send: Run, submit: FakeSubmit) -> None:
    assert send("--subject", "Hi") == 64
    assert send(stdin=b"Subject: s\n\n") == 64


def test_send_to_a_given_server(submit: FakeSubmit) -> None:
    assert main(["send", "--server", f"unix:{submit.path}", "--to", "a@x.y", "--body", "text"]) == 0
    assert main(["send", "--server", "nonsense", "--to", "a@x.y", "--body", "text"]) == 64
    assert len(submit.taken) == 1
