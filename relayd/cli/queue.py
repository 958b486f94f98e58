"""`relayd queue`: list, show, retry, hold, release, bounce, delete, pause, resume, audit."""

from __future__ import annotations

from typing import Any

import click

from relayd.cli.control import open_control
from relayd.cli.failure import NO_INPUT, SOFTWARE, Failure
from relayd.cli.listing import audit_rows, message_lines, message_row, pause_line
from relayd.cli.selection import selected, selection_options
from relayd.cli.show import json_option, print_json, print_table, printable, working
from relayd.cli.where import url_option, where


@click.group()
@url_option
def queue() -> None:
    """Show and steer the queue of the running daemon."""


@queue.command("list")
@selection_options
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Messages on a page.")
@click.option("--page", type=click.IntRange(1), default=1, help="Which page.")
@json_option
@url_option
def list_(limit: int, page: int, as_json: bool, **given: Any) -> None:
    """List queued messages, oldest first."""
    control = open_control(where())
    items: list[dict[str, Any]] = []
    total, running = 0, True
    for query in selected(given).queries():
        paged = [*query, ("values", "1"), ("limit", str(limit)), ("page", str(page))]
        data = control.get("/queue/messages", paged)
        items += data["items"]
        total += data["total"]
        running = data["status"]
    if as_json:
        print_json({"items": items, "total": total, "status": running})
        return
    if not running:
        click.echo(printable(pause_line(control.get("/queue/status", [("detail", "1")]))))
    if not items:
        click.echo("The queue is empty." if total == 0 and not any(given.values()) else "No message matches.")
        return
    print_table(["id", "size", "created", "from", "to", "state", "next attempt"], map(message_row, items))
    if total > len(items):
        click.echo(f"{len(items)} of {total} messages; --page {page + 1} shows more.")


@queue.command()
@click.argument("ids", nargs=-1, type=int, required=True, metavar="ID...")
@json_option
@url_option
def show(ids: tuple[int, ...], as_json: bool) -> None:
    """Show everything that is known of messages."""
    control = open_control(where())
    messages = [control.get(f"/queue/messages/{each}") for each in ids]
    if as_json:
        print_json(messages if len(messages) > 1 else messages[0])
        return
    for message in messages:
        for line in message_lines(message):
            click.echo(printable(line))


@queue.command()
@selection_options
@click.option("--at", metavar="TIME", help="RFC 3339 time of the next attempt; now by default.")
@url_option
def retry(at: str | None, **given: Any) -> None:
    """Try messages again now, or at a given time."""
    _act("PATCH", given, [("at", at)] if at else [], "to be tried again")


@queue.command()
@selection_options
@click.option("--recipient-filter", metavar="TEXT", help="Only recipients whose address holds this (with ids).")
@url_option
def delete(recipient_filter: str | None, **given: Any) -> None:
    """Remove messages; nobody is told."""
    extra = [("filter", recipient_filter)] if recipient_filter else []
    if extra and not given["ids"]:
        raise click.UsageError("--recipient-filter needs message ids")
    _act("DELETE", given, extra, "deleted")


@queue.command()
@selection_options
@click.option("--reason", metavar="TEXT", help="Kept with the message and shown.")
@url_option
def hold(reason: str | None, **given: Any) -> None:
    """Keep messages from being tried until they are released."""
    _mark("hold", given, reason, "held")


@queue.command()
@selection_options
@url_option
def release(**given: Any) -> None:
    """Let held messages go."""
    _mark("release", given, None, "released")


@queue.command()
@selection_options
@click.option("--reason", metavar="TEXT", help="Told to the sender.")
@url_option
def bounce(reason: str | None, **given: Any) -> None:
    """Give messages up: their senders get a bounce."""
    _mark("bounce", given, reason, "bounced")


@queue.command()
@click.option("--reason", metavar="TEXT", help="Kept and shown until the queue runs again.")
@url_option
def pause(reason: str | None) -> None:
    """Stop outbound attempts; mail is still taken in.  A restart does not end a pause."""
    was_running = open_control(where()).ask("PATCH", "/queue/status/stop", body=_reason(reason))
    click.echo("The queue is paused." if was_running else "The queue was paused already.")


@queue.command()
@url_option
def resume() -> None:
    """Let outbound attempts go on."""
    was_running = open_control(where()).ask("PATCH", "/queue/status/start")
    click.echo("The queue was running already." if was_running else "The queue runs.")


@queue.command()
@json_option
@url_option
def audit(as_json: bool) -> int:
    """Check that every recipient ever accepted is accounted for; exit code 70 when not."""
    data = open_control(where()).get("/queue/audit")
    if as_json:
        print_json(data)
    else:
        print_table(["recipients", "count"], audit_rows(data))
        click.echo("All accounted for." if not data.get("difference") else "NOT all accounted for: report this.")
    return SOFTWARE if data.get("difference") else 0


def _act(method: str, given: dict[str, Any], extra: list[tuple[str, str]], done: str) -> None:
    """The control API's own verbs: one message by its path, many by filters."""
    selection = selected(given)
    selection.require()
    control = open_control(where())
    if selection.ids:
        missed = []
        for each in selection.ids:
            try:
                if control.ask(method, f"/queue/messages/{each}", extra):
                    click.echo(f"{each} {done}")
                else:
                    missed.append(f"{each}: nothing matches")
            except Failure as failure:
                if failure.code != NO_INPUT:
                    raise
                missed.append(f"{each}: no such message")
        if missed:
            raise Failure(NO_INPUT, "\n".join(missed))
        return
    query = [*selection.queries()[0], *extra]
    total = control.get("/queue/messages", [*selection.queries()[0], ("limit", "1")])["total"]
    with working(f"{total} messages"):
        matched = control.ask(method, "/queue/messages", query)
    if not matched:
        raise Failure(NO_INPUT, "no message matches")
    click.echo(f"{total} messages {done}")


def _mark(verb: str, given: dict[str, Any], reason: str | None, done: str) -> None:
    """Verbs of our own: POST with the filters of the list."""
    selection = selected(given)
    selection.require()
    control = open_control(where())
    matched = 0
    with working(f"{verb} ..."):
        for query in selection.queries():
            matched += control.ask("POST", f"/queue/{verb}", query, _reason(reason))["matched"]
    if not matched:
        raise Failure(NO_INPUT, "no message matches")
    click.echo(f"{matched} message{'s' * (matched != 1)} {done}")


def _reason(reason: str | None) -> dict[str, str] | None:
    return None if reason is None else {"reason": reason}
