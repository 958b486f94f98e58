"""Which queued messages a verb is about: ids, or the filters of the control API's `/api/queue/messages`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from relayd.cli.failure import USAGE, Failure

F = TypeVar("F", bound=Callable[..., Any])
Query = list[tuple[str, str]]


@dataclass(frozen=True)
class Selection:
    """What the command line selects; nothing given selects nothing, `everything` all."""

    ids: tuple[int, ...]
    filters: tuple[tuple[str, str], ...]
    everything: bool

    def require(self) -> None:
        """Raises Failure 64 when nothing was selected: a forgotten filter must not reach the whole queue."""
        if not self.ids and not self.filters and not self.everything:
            raise Failure(USAGE, "give message ids, a filter such as --to, or --all")
        if self.ids and self.filters:
            raise Failure(USAGE, "give message ids or filters, not both")

    def queries(self) -> list[Query]:
        """The query of each request that together reach the selection."""
        if self.ids:
            return [[("range-start", str(each)), ("range-end", str(each))] for each in self.ids]
        return [list(self.filters)]


def selection_options(command: F) -> F:
    """Decorator: the command takes ids and filters; make the Selection of its keyword arguments with `selected`."""
    decorators = [
        click.argument("ids", nargs=-1, type=int, metavar="[ID]..."),
        click.option("--from", "sender", metavar="TEXT", help="Part of the return path."),
        click.option("--to", "recipient", metavar="TEXT", help="Part of a recipient's address."),
        click.option("--domain", metavar="TEXT", help="Part of a recipient's domain."),
        click.option("--text", metavar="TEXT", help="Part of the return path or of a recipient's address."),
        click.option("--before", metavar="TIME", help="Next attempt before this RFC 3339 time."),
        click.option("--after", metavar="TIME", help="Next attempt after this RFC 3339 time."),
        click.option("--held", is_flag=True, help="Held messages."),
        click.option("--deleted", is_flag=True, help="Deleted messages, while they are kept."),
        click.option("--all", "everything", is_flag=True, help="The whole queue."),
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def dry_run_option(command: F) -> F:
    """Decorator: the command takes --dry-run."""
    return click.option("--dry-run", is_flag=True, help="Only say what would be changed.")(command)


def selected(given: dict[str, Any]) -> Selection:
    """The Selection from the keyword arguments that `selection_options` adds."""
    names = {
        "sender": "from",
        "recipient": "to",
        "domain": "domain",
        "text": "text",
        "before": "before",
        "after": "after",
    }
    filters = [(name, str(given[key])) for key, name in names.items() if given[key]]
    if given["held"] and given["deleted"]:
        raise Failure(USAGE, "give --held or --deleted, not both")
    if given["deleted"]:
        filters.append(("state", "deleted"))
    if given["held"]:
        filters.append(("held", "1"))
    # The daemon compares with lower-cased addresses.
    lowered = tuple(
        (name, value.lower() if name in ("from", "to", "domain", "text") else value) for name, value in filters
    )
    return Selection(tuple(given["ids"]), lowered, given["everything"])
