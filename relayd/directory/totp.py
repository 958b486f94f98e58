"""One-time codes of time (RFC 6238), each good once.

The key of an account is an `otpauth://totp/...` URL as authenticator programs show it in a QR code.  A client sends the
code behind the secret: `secret$123456`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass

import pyotp

WINDOW = 1
"""Steps by which the clocks may differ, either way."""

MAX_WRONG = 5
"""Wrong codes of an account after which none is taken for the rest of the step: there are but a million."""

MAX_REMEMBERED = 100_000
"""Accounts whose last codes are remembered; a code is worth remembering for two steps only."""

_WITH_CODE = re.compile(r"(.*)\$([0-9]{6,8})", re.DOTALL)


class BadTotp(ValueError):
    """The text is no otpauth URL that can be used; says why, without the key."""


def split_code(secret: str) -> tuple[str, str]:
    """The secret and the 6 to 8 digits behind its last `$`, "" when there are none."""
    match = _WITH_CODE.fullmatch(secret)
    return (match[1], match[2]) if match is not None else (secret, "")


def parse_totp(url: str) -> pyotp.TOTP:
    """The generator of an otpauth URL.  Raises BadTotp."""
    try:
        parsed = pyotp.parse_uri(url)
    except (ValueError, TypeError):  # its text may quote the URL
        text = 'expected a URL such as "otpauth://totp/NAME?secret=BASE32", its secret of 112 bits or more'
        raise BadTotp(text) from None
    if type(parsed) is not pyotp.TOTP:
        raise BadTotp("expected codes of time: otpauth://totp/...")
    if not 15 <= parsed.interval <= 120:
        raise BadTotp("expected a period from 15 to 120 seconds")
    return parsed


@dataclass(slots=True)
class _Memory:
    """Of an account: the last step whose code was taken; wrong codes, and in which step."""

    taken: int = -1
    step: int = -1
    wrong: int = 0


class UsedCodes:
    """Takes each code once, and few wrong ones."""

    def __init__(self) -> None:
        self._memories: OrderedDict[bytes, _Memory] = OrderedDict()

    def take(self, name: str, url: str, code: str, now: float) -> bool:
        """Whether `code` is good at `now` (Unix seconds) and was not used before; it is used then.  Raises BadTotp.

        A code of an earlier step than one that was taken is refused too (RFC 6238 section 5.2 asks for less).
        """
        totp = parse_totp(url)
        step = int(now // totp.interval)
        matching = None
        for each in range(max(0, step - WINDOW), step + WINDOW + 1):  # all of them, however soon one is found
            if hmac.compare_digest(totp.generate_otp(each).encode(), code.encode("utf-8", "replace")):
                matching = each
        key = hashlib.sha256(f"{len(name)}:{name}:{url}".encode("utf-8", "surrogateescape")).digest()
        memory = self._memories.setdefault(key, _Memory())
        self._memories.move_to_end(key)
        if len(self._memories) > MAX_REMEMBERED:
            self._memories.popitem(last=False)
        if memory.step != step:
            memory.step, memory.wrong = step, 0
        if matching is None or matching <= memory.taken or memory.wrong >= MAX_WRONG:
            memory.wrong += 1
            return False
        memory.taken = matching
        return True
