"""`relayd events`: the table of all events."""

from __future__ import annotations

import fnmatch

import click

from relayd.cli.show import json_option, print_json, print_table
from relayd.events.vocabulary import kinds


@click.command()
@click.argument("pattern", default="*")
@json_option
def events(pattern: str, as_json: bool) -> None:
    """Every event that relayd can state: id, level, text, fields; PATTERN ("delivery.*") chooses."""
    chosen = [kind for kind in kinds() if fnmatch.fnmatchcase(kind.id, pattern)]
    if as_json:
        print_json(
            [
                {
                    "id": kind.id,
                    "level": kind.default.name.lower(),
                    "text": kind.text,
                    "details": kind.details,
                    "fields": list(kind.fields.values()),
                }
                for kind in chosen
            ]
        )
        return
    print_table(
        ["ID", "LEVEL", "TEXT", "FIELDS"],
        [[kind.id, kind.default.name.lower(), kind.text, " ".join(kind.fields.values())] for kind in chosen],
    )
