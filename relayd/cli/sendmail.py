"""`sendmail`: the command that programs know, as far as they rely on it.

No click here: the options are older than getopt (`-oi`, `-bs`, `-fADDRESS`), and cron starts it for every mail.
"""

from __future__ import annotations

import os
import select
import sys
from dataclasses import dataclass, field

from relayd.cli.compose import BadMessage, complete, header_recipients, read_draft
from relayd.cli.failure import BAD_DATA, USAGE, Failure
from relayd.cli.person import date_now, new_message_id, qualified, sender
from relayd.cli.submission import Outgoing, open_connection, open_submission
from relayd.cli.where import Where

USAGE_TEXT = "usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [--config FILE] [RECIPIENT ...]"
_WITH_VALUE = "fFrBCDLNORVXhMpAd"
_IGNORED_LONG = {"-em", "-ep", "-ew", "-ee", "-eq", "-v", "-n", "-U", "-G", "-m", "-s", "-om"}


@dataclass
class Request:
    """What the command line asks for.  mode: "m" send, "s" SMTP on stdin and stdout, "p" mailq, "i" nothing."""

    mode: str = "m"
    take_recipients: bool = False
    lone_dot_ends: bool = True
    envelope: str | None = None
    full_name: str | None = None
    config: str | None = None
    recipients: list[str] = field(default_factory=list)


def parse(arguments: list[str]) -> Request:
    """Read the command line.  Raises Failure 64 for what sendmail does not know."""
    request = Request()
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            request.recipients += waiting
            break
        if not word.startswith("-") or word == "-":
            request.recipients.append(word)
        elif word == "--config":
            request.config = _value(word, "", waiting)
        elif word.startswith("--config="):
            request.config = word.partition("=")[2]
        elif word.startswith("-b"):
            request.mode = _mode(word)
        elif word.startswith("-o"):  # of sendmail's own options only -oi says something to us
            request.lone_dot_ends = request.lone_dot_ends and word != "-oi"
        elif word in _IGNORED_LONG or word.startswith("-q"):
            continue
        else:
            _letters(word[1:], waiting, request)
    return request


def _mode(word: str) -> str:
    if word[2:] not in ("m", "s", "p", "i"):
        raise Failure(USAGE, f"{word} is not for us: `relayd serve` is the daemon")
    return word[2:]


def _letters(letters: str, waiting: list[str], request: Request) -> None:
    """A word of single letters, of which the last may take a value: -ti, -tf ADDRESS, -fADDRESS."""
    for at, letter in enumerate(letters):
        if letter == "t":
            request.take_recipients = True
        elif letter == "i":
            request.lone_dot_ends = False
        elif letter in _WITH_VALUE:
            value = _value("-" + letter, letters[at + 1 :], waiting)
            if letter in "fr":
                request.envelope = value
            elif letter == "F":
                request.full_name = value
            return
        else:
            raise Failure(USAGE, f"-{letters}: unknown option\n{USAGE_TEXT}")


def _value(name: str, attached: str, waiting: list[str]) -> str:
    if attached:
        return attached
    if not waiting:
        raise Failure(USAGE, f"{name} needs a value\n{USAGE_TEXT}")
    return waiting.pop(0)


def run(arguments: list[str]) -> int:
    """Do what the command line asks; the exit code, or Failure."""
    request = parse(arguments)
    where = Where(config=request.config)
    if request.mode == "p":
        from relayd.cli.program import mailq

        return mailq(["--config", request.config] if request.config else [])
    if request.mode == "i":  # newaliases: aliases are part of the configuration
        return 0
    if request.mode == "s":
        return _converse(where)
    _send(request, where)
    return 0


def _send(request: Request, where: Where) -> None:
    if not request.recipients and not request.take_recipients:
        raise Failure(USAGE, f"no recipients\n{USAGE_TEXT}")
    draft = read_draft(sys.stdin.buffer.read(), lone_dot_ends=request.lone_dot_ends)
    submission = open_submission(where)
    try:
        author = sender(request.envelope, request.full_name, submission.origin)
        named = list(request.recipients)
        if request.take_recipients:
            named += header_recipients(draft)
        if not named:
            raise Failure(USAGE, "no recipients in To, Cc or Bcc")
        addresses = list(dict.fromkeys(qualified(each.strip("<>"), submission.origin) for each in named))
        content = complete(draft, author, date=date_now(), message_id=new_message_id(submission.hostname))
        submission.send(Outgoing(author.envelope, addresses, content, draft.utf8_header))
    except BadMessage as error:
        raise Failure(BAD_DATA, str(error)) from None
    finally:
        submission.close()


def _converse(where: Where) -> int:
    """-bs: what comes on stdin goes to the daemon, its answers to stdout, until it closes the session."""
    with open_connection(where)[0] as connection:
        inputs = [connection.fileno(), 0]
        while True:
            ready, _, _ = select.select(inputs, [], [])
            if 0 in ready:
                given = os.read(0, 65536)
                if given:
                    connection.sendall(given)
                else:
                    inputs.remove(0)
                    connection.shutdown(1)
            if connection.fileno() in ready:
                answer = connection.recv(65536)
                if not answer:
                    return 0
                os.write(1, answer)
