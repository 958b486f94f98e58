"""`relayd queue`: look at messages, steer them, take that back; pause, resume, suspensions, audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from relayd.cli.bulk import Change, run
from relayd.cli.control import open_control
from relayd.cli.failure import SOFTWARE
from relayd.cli.listing import audit_rows, message_lines, message_row, pause_line
from relayd.cli.selection import dry_run_option, selected, selection_options
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

F = TypeVar("F", bound=Callable[..., Any])

_MESSAGES = "/queue/messages"
_SUSPENSIONS = "/queue/suspensions"


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
    messages = [control.get(f"/queue/messages/{each}", [("deleted", "1")]) for each in ids]
    if as_json:
        print_json(messages if len(messages) > 1 else messages[0])
        return
    for message in messages:
        for line in message_lines(message):
            click.echo(printable(line))


@queue.command()
@selection_options
@click.option("--at", metavar="TIME", help="RFC 3339 time of the next attempt; now by default.")
@dry_run_option
@url_option
def retry(at: str | None, dry_run: bool, **given: Any) -> None:
    """Try messages again now, or at a given time."""
    extra = (("at", at),) if at else ()
    change = Change(method="PATCH", path=_MESSAGES, done="to be tried again", extra=extra, by_path=True)
    _run(given, change, dry_run)


@queue.command()
@selection_options
@click.option("--recipient-filter", metavar="TEXT", help="Only recipients whose address holds this (with ids).")
@click.option("--purge", is_flag=True, help="For good, so that `undo` finds nothing; with --deleted, what is deleted.")
@dry_run_option
@url_option
def delete(recipient_filter: str | None, purge: bool, dry_run: bool, **given: Any) -> None:
    """Remove messages; nobody is told.  `undo` brings them back while they are kept (queue.deleted.keep)."""
    if recipient_filter and not given["ids"]:
        raise click.UsageError("--recipient-filter needs message ids")
    extra = ((("filter", recipient_filter),) if recipient_filter else ()) + ((("purge", "1"),) if purge else ())
    change = Change(method="DELETE", path=_MESSAGES, done="purged" if purge else "deleted", extra=extra, by_path=True)
    _run(given, change, dry_run)


@queue.command()
@selection_options
@click.option("--reason", metavar="TEXT", help="Kept in the log.")
@dry_run_option
@url_option
def undo(reason: str | None, dry_run: bool, **given: Any) -> None:
    """Bring back deleted messages and cancelled recipients; they are tried at once."""
    _run(given, _posted("undo", "restored", reason, states=("deleted", "")), dry_run)


@queue.command()
@selection_options
@click.option("--reason", metavar="TEXT", help="Kept with the message and shown.")
@dry_run_option
@url_option
def hold(reason: str | None, dry_run: bool, **given: Any) -> None:
    """Keep messages from being tried until they are released."""
    _run(given, _posted("hold", "held", reason), dry_run)


@queue.command()
@selection_options
@dry_run_option
@url_option
def release(dry_run: bool, **given: Any) -> None:
    """Let held messages go."""
    _run(given, _posted("release", "released", None), dry_run)


@queue.command()
@selection_options
@click.option("--reason", metavar="TEXT", help="Told to the sender.")
@dry_run_option
@url_option
def bounce(reason: str | None, dry_run: bool, **given: Any) -> None:
    """Give messages up: their senders get a bounce."""
    _run(given, _posted("bounce", "bounced", reason), dry_run)


@queue.command()
@selection_options
@click.option(
    "--next-hop",
    metavar="ROUTE",
    required=True,
    help='A route\'s id, "mx" for the MX of each domain, "" for what the configuration says.',
)
@click.option("--reason", metavar="TEXT", help="Kept in the log.")
@dry_run_option
@url_option
def reroute(next_hop: str, reason: str | None, dry_run: bool, **given: Any) -> None:
    """Send messages by another next hop, now, whatever the configuration says."""
    _run(given, _posted("reroute", "rerouted", reason, next_hop=next_hop), dry_run)


_SUBJECTS = ("domain", "route", "provider", "account", "source")


def _subject_options(command: F) -> F:
    """`--domain`, `--route`, `--provider`, `--account`, `--source`."""
    words = {
        "domain": "Mail to a recipient domain.",
        "route": "Mail by a route (queue.route.<id>).",
        "provider": "Mail to all domains of a provider (queue.shaping.<id>), or of a site of mail hosts.",
        "account": "Mail that an account submitted.",
        "source": "Mail from a source address.",
    }
    for name in reversed(_SUBJECTS):
        command = click.option(f"--{name}", metavar="NAME", help=words[name])(command)
    return command


def _subject(given: dict[str, str | None]) -> dict[str, str]:
    """The one subject that was given; none at all is {}.  Raises UsageError."""
    found = {name: value for name in _SUBJECTS if (value := given[name]) is not None}
    if len(found) > 1:
        raise click.UsageError(f"expected only one of {', '.join('--' + name for name in found)}")
    return found


@queue.command()
@json_option
@url_option
def suspensions(as_json: bool) -> None:
    """List what nothing is attempted for now: domains, routes, providers, accounts, sources."""
    found = open_control(where()).get(_SUSPENSIONS)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("Nothing is suspended.")
    else:
        columns = ("subject", "name", "since", "until", "by", "reason")
        print_table(columns, [[each[name] or "" for name in columns] for each in found])


@queue.command()
@_subject_options
@click.option("--for", "for_", metavar="DURATION", help="For how long, such as 30m; without, until it is resumed.")
@click.option("--until", metavar="TIME", help="Until this RFC 3339 time.")
@click.option("--reason", metavar="TEXT", help="Kept and shown until it is resumed.")
@url_option
def suspend(for_: str | None, until: str | None, reason: str | None, **given: str | None) -> None:
    """Attempt nothing to a domain, route or provider, for an account, or from a source.  Other mail goes on."""
    subject = _subject(given)
    if not subject:
        raise click.UsageError(f"expected one of {', '.join('--' + name for name in _SUBJECTS)}")
    body = subject | {name: value for name, value in (("for", for_), ("until", until), ("reason", reason)) if value}
    done = open_control(where()).ask("POST", _SUSPENSIONS, body=body)
    end = f"until {done['until']}" if done["until"] else "until it is resumed"
    click.echo(printable(f"The {done['subject']} {done['name']} is suspended {end}."))


@queue.command()
@click.argument("key")
@url_option
def unsuspend(key: str) -> None:
    """Attempt deliveries again by the key of a suspension: a domain, or route:ID, provider:ID, account:NAME..."""
    _lift(key)
    click.echo(f"Deliveries to {printable(key)} are attempted again.")


def _lift(key: str) -> None:
    open_control(where()).ask("DELETE", f"{_SUSPENSIONS}/{quote(key, safe='')}")


@queue.command()
@click.option("--reason", metavar="TEXT", help="Kept and shown until the queue runs again.")
@url_option
def pause(reason: str | None) -> None:
    """Stop outbound attempts; mail is still taken in.  A restart does not end a pause."""
    was_running = open_control(where()).ask("PATCH", "/queue/status/stop", body=_reason(reason))
    click.echo("The queue is paused." if was_running else "The queue was paused already.")


@queue.command()
@_subject_options
@url_option
def resume(**given: str | None) -> None:
    """Let outbound attempts go on: those of the whole queue, or what was suspended."""
    subject = _subject(given)
    for kind, name in subject.items():
        _lift(name if kind == "domain" else f"{kind}:{name}")
        click.echo(printable(f"The {kind} {name} is no longer suspended."))
    if not subject:
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


def _run(given: dict[str, Any], change: Change, dry_run: bool) -> None:
    selection = selected(given)
    selection.require()
    run(open_control(where()), selection, change, dry_run=dry_run)


def _posted(verb: str, done: str, reason: str | None, *, states: tuple[str, ...] = ("",), **body: str) -> Change:
    """A verb of our own: POST with the filters of the list."""
    said = body if reason is None else {**body, "reason": reason}
    return Change(method="POST", path=f"/queue/{verb}", done=done, body=said or None, states=states)


def _reason(reason: str | None) -> dict[str, str] | None:
    return None if reason is None else {"reason": reason}
