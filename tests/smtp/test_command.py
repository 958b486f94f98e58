"""Command lines, paths and parameters."""

from __future__ import annotations

import pytest

from relayd.mail.envelope import Notify
from relayd.smtp.command import MailCommand, RcptCommand, SyntaxRefused, parse_command, parse_mail, parse_rcpt
from relayd.smtp.extension import Extensions

STRANGER = Extensions()
TRUSTED = Extensions(dsn=True, auth=("PLAIN",), vrfy=True)


def refused(argument: str, offered: Extensions = TRUSTED, verb: str = "MAIL", smtputf8: bool = False) -> str:
    with pytest.raises(SyntaxRefused) as caught:
        if verb == "MAIL":
            parse_mail(argument, offered)
        else:
            parse_rcpt(argument, offered, smtputf8)
    return f"{caught.value.reply.code} {caught.value.reply.enhanced}"


def test_a_line_is_a_verb_and_its_argument() -> None:
    assert parse_command(b"mail FROM:<A@b> ENVID=x ") == ("MAIL", "FROM:<A@b> ENVID=x")
    assert parse_command(b"QUIT") == ("QUIT", "")
    assert parse_command(b"NOOP \t x\ty") == ("NOOP", "x\ty")
    assert parse_command("RCPT TO:<é@b>".encode()) == ("RCPT", "TO:<é@b>")


@pytest.mark.parametrize(
    "line", [b"", b" QUIT", b"DATA_", b"QUIT\0", b"NOOP \x1b", b"NOOP \xff", b"NOOP \r", b"250 ok"]
)
def test_what_is_no_command_line_is_refused(line: bytes) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_command(line)
    assert caught.value.reply.code == 500
    assert caught.value.reply.enhanced == "5.5.2"


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        ("FROM:<a@B.example>", MailCommand(return_path="a@b.example")),
        ("from:<a@b.example> size=4096", MailCommand(return_path="a@b.example", size=4096)),
        ("FROM:<> BODY=8bitmime SIZE=5", MailCommand(return_path="", size=5, body="8BITMIME")),
        ("FROM:<a@b> SIZE=5 BODY=7BIT", MailCommand(return_path="a@b", size=5)),
        ("FROM : <a@b>", MailCommand(return_path="a@b")),
        ('FROM:<"a > b"@c> SIZE=1', MailCommand(return_path='"a > b"@c', size=1)),
        ("FROM:<é@b> SMTPUTF8", MailCommand(return_path="é@b", smtputf8=True)),
        ("FROM:<a@b> RET=hdrs ENVID=Ab+2BC", MailCommand(return_path="a@b", ret="HDRS", envid="Ab+2BC")),
        ("FROM:<a@b> AUTH=e+3Dmc2@example.com", MailCommand(return_path="a@b", auth="e=mc2@example.com")),
        ("FROM:<a@b> AUTH=<>", MailCommand(return_path="a@b", auth="")),
    ],
)
def test_mail(argument: str, command: MailCommand) -> None:
    assert parse_mail(argument, TRUSTED) == command


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("", "501 5.5.4"),
        ("TO:<a@b>", "501 5.5.4"),
        ("FROM:a@b", "501 5.5.4"),
        ("FROM:<a@b", "501 5.5.4"),
        ("FROM:<a@b>SIZE=1", "501 5.5.4"),
        ("FROM:<a@b>>", "501 5.5.4"),
        ("FROM:<a@@b>", "501 5.1.7"),
        ("FROM:<root>", "501 5.1.7"),
        (f"FROM:<{'a' * 65}@b>", "501 5.1.7"),
        (f"FROM:<{'a' * 60}@{'b.' * 100}c>", "501 5.1.7"),
        ("FROM:<é@b>", "553 5.6.7"),
        ("FROM:<a@b> SIZE=", "501 5.5.4"),
        ("FROM:<a@b> SIZE", "501 5.5.4"),
        ("FROM:<a@b> SIZE=1x", "501 5.5.4"),
        ("FROM:<a@b> SIZE=" + "9" * 21, "501 5.5.4"),
        ("FROM:<a@b> SIZE=1 SIZE=2", "501 5.5.4"),
        ("FROM:<a@b> BODY=BINARYMIME", "501 5.5.4"),
        ("FROM:<a@b> SMTPUTF8=YES", "501 5.5.4"),
        ("FROM:<a@b> RET=ALL", "501 5.5.4"),
        ("FROM:<a@b> RET=HDRS RET=FULL", "501 5.5.4"),
        ("FROM:<a@b> ENVID=", "501 5.5.4"),
        ("FROM:<a@b> ENVID=+0D+0ABcc", "501 5.5.4"),
        ("FROM:<a@b> ENVID=" + "x" * 101, "501 5.5.4"),
        ("FROM:<a@b> AUTH=a+zz", "501 5.5.4"),
        ("FROM:<a@b> AUTH=a@@b", "501 5.5.4"),
        ("FROM:<a@b> AUTH", "501 5.5.4"),
        ("FROM:<a@b> =x", "501 5.5.4"),
        ("FROM:<a@b> FOO", "555 5.5.4"),
        ("FROM:<a@b> HOLDFOR=60", "555 5.5.4"),
        ("FROM:<a@b> REQUIRETLS", "555 5.5.4"),
        ("FROM:<a@b> NOTIFY=NEVER", "555 5.5.4"),
    ],
)
def test_mail_refused(argument: str, answer: str) -> None:
    assert refused(argument) == answer


@pytest.mark.parametrize("parameter", ["RET=HDRS", "ENVID=x", "AUTH=<>"])
def test_a_parameter_of_what_is_not_offered_is_not_known(parameter: str) -> None:
    assert refused(f"FROM:<a@b> {parameter}", STRANGER) == "555 5.5.4"


def test_requiretls_is_a_word_alone_where_it_is_offered() -> None:
    offered = Extensions(requiretls=True)
    assert parse_mail("FROM:<a@b> requiretls SIZE=5", offered) == MailCommand(
        return_path="a@b", size=5, requiretls=True
    )
    assert refused("FROM:<a@b> REQUIRETLS=YES", offered) == "501 5.5.4"
    assert "REQUIRETLS" in offered.lines("x")
    assert "REQUIRETLS" not in Extensions(starttls=True).lines("x")


def test_extensions_that_are_off_take_their_parameters_with_them() -> None:
    bare = Extensions(eightbitmime=False, smtputf8=False)
    assert refused("FROM:<a@b> BODY=8BITMIME", bare) == "555 5.5.4"
    assert refused("FROM:<a@b> SMTPUTF8", bare) == "555 5.5.4"
    assert refused("FROM:<é@b> SMTPUTF8", bare) == "553 5.6.7"


def test_bare_names_are_for_those_who_are_let() -> None:
    assert parse_mail("FROM:<root>", STRANGER, bare_names=True).return_path == "root"
    assert parse_rcpt("TO:<root>", STRANGER, False, bare_names=True).address == "root"


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        ("TO:<a@B.example>", RcptCommand(address="a@b.example")),
        ("to: <postmaster>", RcptCommand(address="postmaster")),
        ("TO:<@x.example:a@b>", RcptCommand(address="a@b")),
        ("TO:<a@b> NOTIFY=NEVER", RcptCommand(address="a@b", notify=frozenset((Notify.NEVER,)))),
        (
            "TO:<a@b> notify=success,Failure ORCPT=rfc822;A+2Bx@b",
            RcptCommand(address="a@b", notify=frozenset((Notify.SUCCESS, Notify.FAILURE)), orcpt="rfc822;A+2Bx@b"),
        ),
        (r"TO:<a@b> ORCPT=utf-8;\x{E9}@b", RcptCommand(address="a@b", orcpt=r"utf-8;\x{E9}@b")),
    ],
)
def test_rcpt(argument: str, command: RcptCommand) -> None:
    assert parse_rcpt(argument, TRUSTED, False) == command


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("TO:<>", "501 5.1.3"),
        ("TO:<> NOTIFY=NEVER", "501 5.1.3"),
        ("TO:<a@>", "501 5.1.3"),
        ("TO:<root>", "501 5.1.3"),
        ("TO:<é@b>", "553 5.6.7"),
        ("TO:<a@b> NOTIFY=", "501 5.5.4"),
        ("TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("TO:<a@b> NOTIFY=SOMETIMES", "501 5.5.4"),
        ("TO:<a@b> ORCPT=rfc822", "501 5.5.4"),
        ("TO:<a@b> ORCPT=rfc822;", "501 5.5.4"),
        ("TO:<a@b> ORCPT=;a@b", "501 5.5.4"),
        ("TO:<a@b> ORCPT=rfc822;a+0Ab", "501 5.5.4"),
        ("TO:<a@b> ORCPT=utf-8;é@b", "501 5.5.4"),
        ("TO:<a@b> ORCPT=rfc822;" + "a" * 500, "501 5.5.4"),
        ("TO:<a@b> SIZE=1", "555 5.5.4"),
    ],
)
def test_rcpt_refused(argument: str, answer: str) -> None:
    assert refused(argument, verb="RCPT") == answer


def test_recipients_may_be_utf8_in_a_utf8_transaction() -> None:
    command = parse_rcpt("TO:<é@b> ORCPT=utf-8;é@b", TRUSTED, True)
    assert command == RcptCommand(address="é@b", orcpt="utf-8;é@b")
    assert refused("TO:<a@b> NOTIFY=DELAY", STRANGER, "RCPT") == "555 5.5.4"
