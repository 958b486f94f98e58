"""`relayd message`: body, and what `history` tells of messages."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from relayd.cli.control import open_control
from relayd.cli.failure import CANNOT_CREATE, USAGE, Failure
from relayd.cli.history import list_, show
from relayd.cli.show import printable
from relayd.cli.where import url_option, where

_LONGEST_ID = 20
_HASH = 43


@click.group()
@url_option
def message() -> None:
    """Read queued mail, and what became of messages."""


message.add_command(list_)
message.add_command(show)


@message.command()
@click.argument("name", metavar="ID|HASH")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file.")
@click.option("--head", type=click.IntRange(1), metavar="N", help="Only the first N octets.")
@url_option
def body(name: str, output: str | None, head: int | None) -> None:
    """Print a message by its queue id or by the hash of its content (one that begins with "-" goes behind "--").

    On a terminal everything that could steer it is escaped; anywhere else it is the message, octet by octet.
    """
    control = open_control(where())
    blob_hash = name
    if name.isascii() and name.isdigit() and len(name) <= _LONGEST_ID:
        blob_hash = control.get(f"/queue/messages/{name}")["blob_hash"]
    elif len(name) != _HASH or not name.replace("-", "").replace("_", "").isalnum():
        raise Failure(USAGE, f'"{printable(name)}" is neither a queue id nor a hash of {_HASH} characters')
    pieces = control.fetch(f"/store/blobs/{blob_hash}", [("limit", str(head))] if head else ())
    first = next(pieces, b"")  # a refusal comes before anything is written
    if output is not None:
        _save(Path(output), first, pieces)
    elif sys.stdout.isatty():
        for text in _readable(first, pieces):
            click.echo(text, nl=False)
    else:
        for piece in chain([first], pieces):
            sys.stdout.buffer.write(piece)


def _save(path: Path, first: bytes, pieces: Iterator[bytes]) -> None:
    """Write a file that nobody else may read: it is somebody's mail."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for piece in chain([first], pieces):
                file.write(piece)
    except OSError as error:
        raise Failure(CANNOT_CREATE, f"{path}: {error.strerror or error}") from None


def _readable(first: bytes, pieces: Iterator[bytes]) -> Iterator[str]:
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    for piece in chain([first], pieces):
        yield _escaped(decoder.decode(piece))
    yield _escaped(decoder.decode(b"", final=True))


def _escaped(text: str) -> str:
    return "\n".join("\t".join(printable(part) for part in line.split("\t")) for line in text.split("\n"))
