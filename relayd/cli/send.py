"""`relayd send`: hand in a message, given on stdin or composed from options."""

from __future__ import annotations

import sys
from typing import Any

import click

from relayd.cli.compose import BadMessage, complete, header_recipients, letter, read_draft
from relayd.cli.failure import BAD_DATA, USAGE, Failure
from relayd.cli.person import date_now, new_message_id, qualified, sender
from relayd.cli.submission import Outgoing, open_submission
from relayd.cli.where import config_option, where


@click.command()
@click.option("-f", "--from", "envelope", metavar="ADDRESS", help='Sender; "<>" for none. You by default.')
@click.option("-F", "--name", metavar="NAME", help="Full name of a From field that is added.")
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, help="Recipient; may be repeated.")
@click.option("--subject", metavar="TEXT", help="Compose a message with this subject.")
@click.option("--body", metavar="TEXT", help='Compose a message with this text; "-" reads the text from stdin.')
@click.option("--server", metavar="ADDRESS", help="unix:/path or host:port instead of the usual places.")
@click.argument("more", nargs=-1, metavar="[RECIPIENT]...")
@config_option
def send(
    envelope: str | None,
    name: str | None,
    server: str | None,
    **given: Any,
) -> None:
    """Hand in a message.

    It is read from stdin, header and body, unless --subject or --body composes one. Recipients not given are those of
    its To, Cc and Bcc. From, Date and Message-ID are added when missing, Bcc is removed. Exits 75 when the daemon
    does not answer.
    """
    subject, body = given["subject"], given["body"]
    composed = subject is not None or body is not None
    to = list(dict.fromkeys((*given["recipients"], *given["more"])))
    if composed and not to:
        raise Failure(USAGE, "a composed message needs recipients: --to ADDRESS")
    text = sys.stdin.buffer.read() if not composed or body == "-" else b""
    submission = open_submission(where(), server)
    try:
        author = sender(envelope, name, submission.origin)
        if composed:
            words = text.decode("utf-8", "replace") if body == "-" else body or ""
            draft = letter(author, [qualified(each, submission.origin) for each in to], subject or "", words)
        else:
            draft = read_draft(text)
            to = to or header_recipients(draft)
        if not to:
            raise Failure(USAGE, "no recipients: give --to ADDRESS, or To, Cc or Bcc in the message")
        content = complete(draft, author, date=date_now(), message_id=new_message_id(submission.hostname))
        addresses = [qualified(each, submission.origin) for each in to]
        for answer in submission.send(Outgoing(author.envelope, addresses, content, draft.utf8_header)):
            click.echo(answer)
    except BadMessage as error:
        raise Failure(BAD_DATA, str(error)) from None
    finally:
        submission.close()
