"""Secrets that the configuration points at instead of holding: `%{env:NAME}%` and `%{file:PATH}%`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from relayd.options import OptionError

_POINTER = re.compile(r"%\{(env|file):([^}]*)\}%")


def expand(value: str, environ: Mapping[str, str], directory: Path) -> str:
    """`value` with its pointers replaced; a relative PATH starts at `directory`, one final newline is dropped.

    Raises OptionError when the variable is not set or the file cannot be read; its text never holds the secret.
    """

    def replace(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        if kind == "env":
            if name not in environ:
                raise OptionError(f"expected the environment variable {name} to be set")
            return environ[name]
        path = directory / name
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise OptionError(f"expected a readable file {path}: {reason}") from None

    return _POINTER.sub(replace, value)


def late_pointer(value: str, directory: Path) -> str | None:
    """`value` with an absolute PATH when it is nothing but a pointer to a file; None when it is something else."""
    match = _POINTER.fullmatch(value.strip())
    if match is None or match[1] != "file":
        return None
    return f"%{{file:{(directory / match[2]).absolute()}}}%"
