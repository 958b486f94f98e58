"""The message that a command is given: a file, or standard input."""

from __future__ import annotations

import sys

from relayd.cli.failure import NO_INPUT, Failure


def read_message(path: str) -> bytes:
    """The octets of a message; `-` is standard input.  Raises Failure 66 when there are none."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        raise Failure(NO_INPUT, f"{path}: {error.strerror or error}") from None
    if not content:
        raise Failure(NO_INPUT, f"{path}: there is no message in it")
    return content
