"""What commands print: JSON, or tables (rich ones only when stdout is a terminal)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Decorator: the command takes `--json` (parameter `as_json`)."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: object) -> None:
    """`value` as indented JSON; texts stay readable."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def printable(text: str) -> str:
    """`text` without control characters: what peers sent must not steer the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table with a head; columns of plain text are separated by two blanks."""
    lines = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", header_style="bold")
        for column in columns:
            table.add_column(column)
        for line in lines:
            table.add_row(*(Text(cell) for cell in line))
        Console().print(table)
        return
    if title:
        print(title)
    everything = [list(columns), *lines]
    widths = [max(len(line[at]) for line in everything) for at in range(len(columns))]
    for line in everything:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show on a terminal that long work goes on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


Advance = Callable[[int], None]
"""Tells that so many more are done."""


@contextmanager
def progress(text: str, total: int) -> Iterator[Advance]:
    """Show on a terminal how far long work has come."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(text, total=total)
        yield lambda count: shown.advance(task, count)
