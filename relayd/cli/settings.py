"""`relayd settings`: list, get, set, delete, group.

Changes go to the daemon, which takes all of a command or nothing; they are in force after `relayd reload`.  Only
`delete` also works without a daemon: a value that it will not start with must be taken away somehow.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from relayd.cli.control import Control, open_control
from relayd.cli.failure import BAD_CONFIG, BAD_DATA, NO_INPUT, OS_ERROR, TRY_AGAIN, UNAVAILABLE, Failure, Refused
from relayd.cli.show import json_option, print_json, print_table, printable
from relayd.cli.where import url_option, where

_LATER = 'In force after "relayd reload".'


@click.group()
@url_option
def settings() -> None:
    """Show and change the settings of the running daemon."""


def _shown(command: Any) -> Any:
    """Decorator: `--defaults` and `--source`."""
    defaults = click.option("--defaults", is_flag=True, help="Show what is not set too, with its default.")
    source = click.option("--source", is_flag=True, help="Say where each value comes from: database, file or default.")
    return defaults(source(command))


@settings.command("list")
@click.argument("prefix", required=False)
@_shown
@json_option
@url_option
def list_(prefix: str | None, defaults: bool, source: bool, as_json: bool) -> None:
    """List what is set, all of it or below PREFIX."""
    query = [("prefix", prefix)] if prefix else []
    data = open_control(where()).get("/settings/list", query + _flags(defaults, source))
    if as_json:
        print_json(data)
        return
    start = (prefix.removesuffix(".") + ".") if prefix else ""
    _print({start + key: value for key, value in data["items"].items()}, data.get("sources"))
    if not data["items"]:
        click.echo(f"Nothing is set below {start}" if start else "Nothing is set.")


@settings.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@_shown
@json_option
@url_option
def get(keys: tuple[str, ...], defaults: bool, source: bool, as_json: bool) -> int:
    """Show single settings; exit code 66 when one is not set."""
    data = open_control(where()).get("/settings/keys", [("keys", ",".join(keys)), *_flags(defaults, source)])
    items, sources = (data["items"], data["sources"]) if source else (data, None)
    if as_json:
        print_json(data)
    elif len(keys) == 1 and list(items) == [keys[0]] and not source:
        print(printable(items[keys[0]]))  # for scripts
    else:
        _print(items, sources)
    missing = [key for key in keys if not any(each == key or each[:-5] == key for each in items)]
    for key in missing:
        print(f"relayd: {key} is not set", file=sys.stderr)
    return NO_INPUT if missing else 0


@settings.command("set")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY VALUE...")
@click.option("--list", "as_list", is_flag=True, help="One KEY, the rest are the elements of its list.")
@click.option("--new", is_flag=True, help="Only where the first key is not set yet, in file or database.")
@url_option
def set_(pairs: tuple[str, ...], as_list: bool, new: bool) -> None:
    """Write settings to the database, where they win over the file: one or more KEY VALUE pairs.

    For a list, KEY VALUE writes one of a single element, KEY "" an empty one. VALUE "-" reads from standard input: the
    arguments of a command can be seen by every user.
    """
    body: list[dict[str, object]] = []
    if as_list:
        key, *elements = pairs
        values = [[f"{key}.{number:04d}", _value(value)] for number, value in enumerate(elements)] or [[key, ""]]
        body.append({"type": "delete", "keys": [key]})
    elif len(pairs) % 2:
        raise click.UsageError("expected pairs of KEY and VALUE")
    else:
        values = [[key, _value(value)] for key, value in zip(pairs[::2], pairs[1::2], strict=True)]
    body.append({"type": "insert", "prefix": None, "values": values, "assert_empty": new})
    _change(open_control(where()), "POST", "/settings", body)
    click.echo(f"{len(values)} key{'s' * (len(values) != 1)} written. {_LATER}")


def _value(given: str) -> str:
    return sys.stdin.read().removesuffix("\n") if given == "-" else given


@settings.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--below", metavar="PREFIX", help="Every key that starts with this; a group ends in a dot.")
@url_option
def delete(keys: tuple[str, ...], below: str | None) -> None:
    """Remove settings from the database; what the file says shows again.

    Works without a daemon too, if none holds the data directory: then nothing is checked.
    """
    if not keys and not below:
        raise click.UsageError("give keys, or --below PREFIX")
    control = open_control(where())
    try:
        _delete(control, keys, below)
    except Failure as failure:
        if failure.code != UNAVAILABLE or where().url is not None:
            raise
        click.echo(_delete_offline(keys, below, failure))
        return
    click.echo(f"Removed. {_LATER}")


def _delete(control: Control, keys: tuple[str, ...], below: str | None) -> None:
    if len(keys) == 1 and not below:
        _change(control, "DELETE", f"/settings/{quote(keys[0], safe='')}", None)
        return
    body: list[dict[str, object]] = [{"type": "delete", "keys": list(keys)}]
    if below:
        body.append({"type": "clear", "prefix": below})
    _change(control, "POST", "/settings", body)


def _change(control: Control, method: str, path: str, body: object) -> None:
    """Ask for a change.  Raises Failure: 65 where what was asked for is refused."""
    try:
        control.ask(method, path, body=body)
    except Refused as refused:
        raise Failure(BAD_DATA, str(refused)) from None


def _delete_offline(keys: tuple[str, ...], below: str | None, unanswered: Failure) -> str:
    """Remove from the database of a daemon that does not run; what was done.  Raises Failure."""
    from relayd.config.places import STATE_DIRECTORY, data_directory
    from relayd.config.store import SETTINGS, read_stored, remove_stored
    from relayd.database.interface import DatabaseError, NewerSchema
    from relayd.queue.lock import DirectoryInUse, DirectoryLock

    config = where().load()
    places = [data_directory(config)] + ([] if "server.data-dir" in config.flat() else [STATE_DIRECTORY])
    try:
        place = next((each for each in places if (each / SETTINGS).exists()), None)
        if place is None:
            raise unanswered
        lock = DirectoryLock(place)
        try:
            gone = [key for key in read_stored(place) if _is_meant(key, keys, below)]
            if gone:
                remove_stored(place, gone)
        finally:
            lock.release()
    except DirectoryInUse as error:
        raise Failure(TRY_AGAIN, f"{error}, which does not answer") from None
    except NewerSchema as error:
        raise Failure(BAD_CONFIG, str(error)) from None
    except (DatabaseError, OSError) as error:
        raise Failure(OS_ERROR, str(error)) from None
    if not gone:
        raise Failure(NO_INPUT, f"nothing of that is in {_path(place)}")
    return f"Removed from {_path(place)}, no daemon runs: {', '.join(gone)}"


def _is_meant(key: str, keys: tuple[str, ...], below: str | None) -> bool:
    head, _, number = key.rpartition(".")
    is_element = len(number) == 4 and number.isdigit() and head in keys
    return key in keys or is_element or bool(below and key.startswith(below))


def _path(place: Path) -> str:
    return f"{place}/settings.db"


@settings.command()
@click.argument("prefix")
@click.argument("suffix", required=False)
@click.option("--field", metavar="KEY", help="Only this key of each record.")
@click.option("--filter", "text", metavar="TEXT", help="What an id or a value must hold.")
@click.option("--limit", type=click.IntRange(1), help="Records on a page.")
@click.option("--page", type=click.IntRange(1), help="Which page.")
@_shown
@json_option
@url_option
def group(prefix: str, suffix: str | None, defaults: bool, source: bool, as_json: bool, **given: Any) -> None:
    """List records: those below PREFIX that have the key SUFFIX, as in "server.listener bind"."""
    names = {"suffix": suffix, "field": given["field"], "filter": given["text"]}
    names |= {name: given[name] and str(given[name]) for name in ("limit", "page")}
    query = [("prefix", prefix), *((name, value) for name, value in names.items() if value)]
    data = open_control(where()).get("/settings/group", query + _flags(defaults, source))
    if as_json:
        print_json(data)
        return
    for item in data["items"]:
        id = item.pop("_id")
        click.echo(printable(id))
        for name, value in sorted(item.items()):
            origin = _origin(data.get("sources"), prefix.removesuffix("."), id, name)
            click.echo(printable(f"  {'=' if name == '_value' else name} {value}{origin}"))
    shown = len(data["items"])
    click.echo(f"{data['total']} records" if shown == data["total"] else f"{shown} of {data['total']} records")


def _origin(sources: dict[str, str] | None, prefix: str, id: str, name: str) -> str:
    if sources is None:
        return ""
    key = f"{prefix}.{id}" if name == "_value" else f"{prefix}.{id}.{name}"
    return f"  ({sources[key]})"


def _flags(defaults: bool, source: bool) -> list[tuple[str, str]]:
    return [(name, "1") for name, given in (("defaults", defaults), ("source", source)) if given]


def _print(items: dict[str, str], sources: dict[str, str] | None) -> None:
    if not items:
        return
    if sources is None:
        print_table(["key", "value"], sorted(items.items()))
    else:
        print_table(["key", "value", "from"], [[key, value, sources[key]] for key, value in sorted(items.items())])
