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
