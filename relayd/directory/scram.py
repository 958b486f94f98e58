"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the verifier that is kept of a password, and the server's half of an exchange.

The verifier is kept as PostgreSQL and others write it, `SCRAM-SHA-256$iterations:salt$stored key:server key`, each in
base64.  It does not hold the password, nor what a client would need to sign in elsewhere.

Whoever has no verifier is led through the same exchange with a salt of his own (the same each time, for it is made of
his name) and fails at its end: the answers do not tell whether an account exists, nor whether it has a verifier.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from dataclasses import dataclass

ITERATIONS = 32_768
"""Rounds of PBKDF2 that a client computes; RFC 7677 asks for 4,096 at least."""

MAX_MESSAGE = 4096

_VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(\d{4,7}):([A-Za-z0-9+/=]{8,88})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)", re.ASCII
)
_FIRST = re.compile(r"(n|y|p=[A-Za-z0-9.\-]+),(a=[^,]*)?,(m=[^,]*,)?n=([^,]+),r=([!-+\--~]{1,1024})(,[A-Za-z]=[^,]*)*")
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,[A-Za-z]=[^,]*)*),p=([A-Za-z0-9+/=]+)")


class BadExchange(Exception):
    """A message of the client's is none of this exchange."""


@dataclass(frozen=True, slots=True, repr=False)
class Verifier:
    """What the server knows of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def saslprep(text: str) -> str:
    """RFC 4013; a text that it refuses comes back as it is, for the client may have sent it so."""
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in text if not stringprep.in_table_b1(each)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    refused = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if not prepared or any(check(each) for each in prepared for check in refused):
        return text
    right = [stringprep.in_table_d1(each) for each in prepared]
    if any(right) and (not (right[0] and right[-1]) or any(stringprep.in_table_d2(each) for each in prepared)):
        return text
    return prepared


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The verifier to keep of a password.  Blocks for milliseconds."""
    octets = saslprep(password).encode("utf-8", "surrogateescape")
    salted = hashlib.pbkdf2_hmac("sha256", octets, salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def parse_verifier(text: str) -> Verifier | None:
    """A verifier as it is kept, None when it is none."""
    match = _VERIFIER.fullmatch(text)
    if match is None:
        return None
    try:
        return Verifier(int(match[1]), *(base64.b64decode(match[group], validate=True) for group in (2, 3, 4)))
    except binascii.Error:
        return None


def decoy(key: bytes, login: str) -> Verifier:
    """A verifier that nothing verifies against, the same for a login each time.  key: a secret of this machine's."""

    def made(what: bytes) -> bytes:
        return hmac.digest(key, what + login.encode("utf-8", "surrogateescape"), "sha256")

    return Verifier(ITERATIONS, made(b"salt ")[:16], made(b"stored "), made(b"server "))


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The first message.  login, authorize: as given, unescaped; authorize "" for none.  bare: without the header."""

    login: str
    authorize: str
    nonce: str
    header: str
    bare: str


def parse_first(message: bytes) -> ClientFirst:
    """The client's first message (RFC 5802 section 5.1).  Raises BadExchange.

    Channel binding is not offered: who asks for it (`p=`) is refused; `y` is right to think that we do not have it.
    """
    text = _decoded(message)
    match = _FIRST.fullmatch(text)
    if match is None or match[3] or match[1].startswith("p"):
        raise BadExchange
    header = f"{match[1]},{match[2] or ''},"
    authorize = _unescaped((match[2] or "a=")[2:])
    return ClientFirst(_unescaped(match[4]), authorize, match[5], header, text[len(header) :])


class Exchange:
    """The server's half of one exchange.  nonce: the server's part, printable without commas, never used before."""

    def __init__(self, first: ClientFirst, known: Verifier, nonce: str) -> None:
        self._first = first
        self._known = known
        self._nonce = first.nonce + nonce
        self._challenge = f"r={self._nonce},s={_text(known.salt)},i={known.iterations}"

    @property
    def challenge(self) -> bytes:
        """The server's first message."""
        return self._challenge.encode()

    def finish(self, message: bytes) -> bytes | None:
        """The server's final message, None when the client does not have the password.  Raises BadExchange."""
        match = _FINAL.fullmatch(_decoded(message))
        if match is None:
            raise BadExchange
        try:
            binding, proof = (base64.b64decode(match[group], validate=True) for group in (2, 4))
        except binascii.Error:
            raise BadExchange from None
        if binding != self._first.header.encode() or match[3] != self._nonce or len(proof) != 32:
            raise BadExchange
        signed = f"{self._first.bare},{self._challenge},{match[1]}".encode()
        signature = hmac.digest(self._known.stored_key, signed, "sha256")
        key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(key).digest(), self._known.stored_key):
            return None
        return b"v=" + base64.b64encode(hmac.digest(self._known.server_key, signed, "sha256"))


def _decoded(message: bytes) -> str:
    if len(message) > MAX_MESSAGE or b"\0" in message:
        raise BadExchange
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise BadExchange from None


def _unescaped(name: str) -> str:
    if re.search(r"=(?!2C|3D)", name):
        raise BadExchange
    return name.replace("=2C", ",").replace("=3D", "=")


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
