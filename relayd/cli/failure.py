"""How a command ends when it cannot do what was asked: one line on stderr and an exit code of sysexits.h."""

from __future__ import annotations

import os

USAGE = os.EX_USAGE
BAD_DATA = os.EX_DATAERR
NO_INPUT = os.EX_NOINPUT
NO_USER = os.EX_NOUSER
UNAVAILABLE = os.EX_UNAVAILABLE
SOFTWARE = os.EX_SOFTWARE
CANNOT_CREATE = os.EX_CANTCREAT
OS_ERROR = os.EX_OSERR
TRY_AGAIN = os.EX_TEMPFAIL
NOT_ALLOWED = os.EX_NOPERM
BAD_CONFIG = os.EX_CONFIG


class Failure(Exception):
    """The command ends: `str()` is the line to print, `code` the exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Refused(Failure):
    """The daemon understood what was asked for, and does not do it."""
