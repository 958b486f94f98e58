"""Hashes of crypt(3): by the machine's libcrypt, or by libpass (extra "hashes") where that is missing or knows less.

Everything here blocks, for milliseconds to tenths of a second; libcrypt releases the interpreter lock while it does.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hmac
import re
from typing import Any

from relayd.directory.hashes import UnknownHash

_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_CRYPT_DATA = 131_232  # the largest struct crypt_data there is (glibc); libxcrypt's has 32,768 octets
_MAX_SECRET = 511  # libxcrypt's; it refuses longer ones

_B = "[./0-9A-Za-z]"
_KINDS = {
    # pattern of the whole hash, with the rounds where they are written in decimal; the most of them; a cheap setting
    "$6$": (rf"\$6\$(?:rounds=(\d{{1,9}})\$)?[!-#%-9;-~]{{0,16}}\${_B}{{86}}", 5_000_000, "$6$rounds=1000$ab$"),
    "$5$": (rf"\$5\$(?:rounds=(\d{{1,9}})\$)?[!-#%-9;-~]{{0,16}}\${_B}{{43}}", 5_000_000, "$5$rounds=1000$ab$"),
    "$1$": (rf"\$1\$()[!-#%-9;-~]{{0,8}}\${_B}{{22}}", 0, "$1$ab$"),
    "$2": (rf"\$2[abxy]\$(\d\d)\${_B}{{53}}", 16, "$2b$04$" + "C" * 22),
    "$sha1$": (rf"\$sha1\$(\d{{1,9}})\${_B}{{1,64}}\${_B}{{28}}", 5_000_000, "$sha1$100$abcdefgh$"),
    # yescrypt, and scrypt as crypt(3) writes it, to 256 MiB and the usual parallelism
    "$y$": (rf"\$y\$()j[./0-9A-D][./0-9A-T]\${_B}{{0,86}}\${_B}{{43}}", 0, "$y$j75$abcdefgh$"),
    "$gy$": (rf"\$gy\$()j[./0-9A-D][./0-9A-T]\${_B}{{0,86}}\${_B}{{43}}", 0, "$gy$j75$abcdefgh$"),
    "$7$": (rf"\$7\$()[./0-9A-E][./0-9A-U]\.{{4}}[/0]\.{{4}}{_B}{{0,86}}\${_B}{{43}}", 0, "$7$4/..../....abcdefgh$"),
    "_": (rf"_(){_B}{{3}}[.]{_B}{{15}}", 0, "_J9..CCCC"),  # BSDi's, to 262,143 rounds
    "": (rf"(){_B}{{13}}", 0, "ab"),  # DES, which nothing but {CRYPT} tells from a plain secret
}


class Crypt:
    """A hash of crypt(3) by its prefix; UnknownHash when it is malformed, too costly, or of no kind known here."""

    def __init__(self, stored: str) -> None:
        prefix = next(each for each in _KINDS if stored.startswith(each))
        pattern, limit, setting = _KINDS[prefix]
        match = re.fullmatch(pattern, stored, re.ASCII)
        if match is None:
            raise UnknownHash("is no hash of crypt(3) of a known form")
        if match[1] and int(match[1]) > limit:
            raise UnknownHash("has too many rounds to check")
        self._is_native = _is_native(setting)
        if not self._is_native and not _is_foreign(stored):
            raise UnknownHash('is of a kind that this machine\'s libcrypt does not know; the extra "hashes" may')
        self._stored = stored

    def verify(self, secret: bytes) -> bool:
        """Whether `secret` is the one; blocks."""
        if len(secret) > _MAX_SECRET or b"\0" in secret:
            return False
        if not self._is_native:
            return _libpass_verifies(secret, self._stored)
        found = _crypt(secret, self._stored)
        if found is None:
            raise UnknownHash("is refused by libcrypt")
        return hmac.compare_digest(found, self._stored.encode())


def is_crypt(stored: str) -> bool:
    """Whether the prefix of a stored secret is one of crypt(3)."""
    if stored.startswith("_"):
        return re.fullmatch(f"_{_B}{{19}}", stored, re.ASCII) is not None
    return stored.startswith(tuple(each for each in _KINDS if each.startswith("$")))


def _library() -> ctypes.CDLL | None:
    for name in _LIBRARIES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return None


_libcrypt = _library()


def _crypt(secret: bytes, setting: str) -> bytes | None:
    """crypt(3), re-entrant: each call brings its own memory.  None when it fails."""
    if _libcrypt is None:
        return None
    data = ctypes.create_string_buffer(_CRYPT_DATA)
    if hasattr(_libcrypt, "crypt_rn"):
        crypt = _libcrypt.crypt_rn
        arguments: tuple[object, ...] = (secret, setting.encode(), data, ctypes.c_int(len(data)))
    else:
        crypt = _libcrypt.crypt_r
        arguments = (secret, setting.encode(), data)
    crypt.restype = ctypes.c_char_p
    result: bytes | None = crypt(*arguments)
    return None if result is None or result.startswith(b"*") else result


@functools.cache
def _is_native(setting: str) -> bool:
    """Whether libcrypt knows the kind of a setting (an old one answers with another kind's hash)."""
    found = _crypt(b"", setting)
    return found is not None and found.startswith(setting[: 3 if setting.startswith("$") else 1].encode())


def _is_foreign(stored: str) -> bool:
    """Whether libpass is there and knows the kind of `stored`."""
    context = _libpass()
    handler = context.identify(stored, resolve=True) if context is not None else None
    try:
        return handler is not None and (not hasattr(handler, "get_backend") or bool(handler.get_backend()))
    except RuntimeError:  # its MissingBackendError: libpass leaves bcrypt to another package
        return False


@functools.cache
def _libpass() -> Any:
    """A context of libpass for what crypt(3) knows, None without libpass."""
    try:
        from passlib.context import CryptContext
    except ImportError:
        return None
    schemes = ["sha512_crypt", "sha256_crypt", "bcrypt", "sha1_crypt", "md5_crypt", "bsdi_crypt", "des_crypt"]
    return CryptContext(schemes)  # type: ignore[no-untyped-call]


def _libpass_verifies(secret: bytes, stored: str) -> bool:
    try:
        return bool(_libpass().verify(secret, stored))
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnknownHash(f"cannot be checked by libpass ({type(error).__name__})") from None
