"""Options of the signatures that we make: `signature.<id>.*`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from relayd.mail.address import AddressError, a_label
from relayd.options import (
    BOOLEAN,
    DURATION,
    REQUIRED,
    TEXT,
    TEXTS,
    Kind,
    OptionError,
    Raw,
    choice,
    list_of,
    option,
    section,
)

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.ASCII)
_FIELD = re.compile(r"[!-9;-~]{1,70}", re.ASCII)
_FILE = re.compile(r"%\{file:([^}]+)\}%")
_MAX_NAME = 200
_MAX_FIELDS = 50


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """Where a private key is: in a file (path), or here (pem).  Its repr shows neither."""

    pem: str = ""
    path: str = ""

    def __repr__(self) -> str:
        return "<PrivateKey>"


def _parse_key(value: Raw) -> PrivateKey:
    if isinstance(value, str):
        pointer = _FILE.fullmatch(value.strip())
        if pointer is not None:
            return PrivateKey(path=pointer[1])
        if "-----BEGIN " in value or value.startswith("%{"):  # a client of the daemon sees pointers as they are written
            return PrivateKey(pem=value.strip())
    raise OptionError('expected a private key in PEM, or a pointer such as "%{file:/etc/relayd/dkim.pem}%"')


def _parse_domain(value: Raw) -> str:
    if isinstance(value, str) and len(value) <= _MAX_NAME:
        try:
            domain = a_label(value.strip().removesuffix("."))
        except AddressError:
            domain = ""
        if "." in domain and _NAME.fullmatch(domain):
            return domain
    raise OptionError('expected a domain such as "example.org"')


def _parse_selector(value: Raw) -> str:
    if isinstance(value, str) and len(value) <= _MAX_NAME and _NAME.fullmatch(value.lower()):
        return value.lower()
    raise OptionError('expected a selector such as "202611r"')


def _parse_author(value: Raw) -> str:
    if value == "*":
        return "*"
    if isinstance(value, str) and value.startswith("*."):
        return "*." + _parse_domain(value[2:])
    return _parse_domain(value)


def _parse_return_path(value: Raw) -> str:
    return "" if value == "<>" else _parse_author(value)


def _parse_fields(value: Raw) -> tuple[str, ...]:
    fields = TEXTS.parse(value)
    if len(fields) > _MAX_FIELDS or not all(_FIELD.fullmatch(each) for each in fields):
        raise OptionError(f"expected names of header fields, at most {_MAX_FIELDS}")
    return fields


def _parse_time(value: Raw) -> float:
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return time.replace(tzinfo=time.tzinfo or UTC).timestamp()
    raise OptionError('expected a time such as "2026-11-21T09:00:00Z"')


KEY = Kind("private key", _parse_key, is_late=True)
DOMAIN = Kind("domain", _parse_domain)
SELECTOR = Kind("selector", _parse_selector)
FIELDS = Kind("list of header fields", _parse_fields, is_list=True)
AUTHORS = list_of(Kind("domain pattern", _parse_author))
RETURN_PATHS = list_of(Kind("domain pattern", _parse_return_path))
TIME = Kind("time", _parse_time)


@section(
    "signature.<id>",
    "A DKIM key, and whose mail is signed with it: that of trusted sessions and what relayd writes itself, by the "
    "domain of From. A message gets every signature that fits; two keys for a domain, RSA and Ed25519, are usual.",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureOptions:
    """`signature.<id>.*`.  private_key: see PrivateKey.  published: Unix time."""

    private_key: PrivateKey = option(
        KEY,
        REQUIRED,
        "The key as PEM without a password, or a pointer to a file that holds it. The file may be replaced at any "
        "time. While it cannot be read, the mail that it should sign is deferred.",
        secret=True,
        example="%{file:/etc/relayd/dkim/example.org.pem}%",
    )
    domain: str = option(DOMAIN, REQUIRED, "Who takes responsibility (d=).", example="example.org")
    selector: str = option(
        SELECTOR, REQUIRED, "Where the public key is: SELECTOR._domainkey.DOMAIN (s=).", example="202611r"
    )
    algorithm: str | None = option(
        choice("rsa-sha256", "ed25519-sha256"), None, "What the key is for; by default what it can do."
    )
    canonicalization: str = option(
        choice("relaxed/relaxed"), "relaxed/relaxed", "How header and body are made comparable (c=)."
    )
    headers: tuple[str, ...] = option(
        FIELDS,
        [],
        "Fields to sign beside the usual ones: From, To, Cc, Subject, Date, Message-ID, Reply-To, those of MIME, "
        "List-Unsubscribe and List-Unsubscribe-Post.",
        example=["List-Id"],
    )
    identity: str | None = option(TEXT, None, "Agent or user on whose behalf (i=).", example="@example.org")
    expire: float | None = option(
        DURATION,
        None,
        "How long a signature is good (x=), never less than queue.schedule.expire and a week; for ever when not set.",
        example="14d",
    )
    report: bool = option(BOOLEAN, False, "Ask for reports of signatures that fail (r=y, RFC 6651).")
    authors: tuple[str, ...] = option(
        AUTHORS,
        [],
        'Domains of From that are signed: "example.org", "*.example.org" for all below it, "*"; empty: domain itself.',
        example=["example.org", "*.example.org"],
    )
    return_paths: tuple[str, ...] = option(
        RETURN_PATHS,
        [],
        'Only mail with a return path in one of these domains; "<>" is the empty one. Empty: any.',
        example=["example.org", "<>"],
    )
    accounts: tuple[str, ...] = option(TEXTS, [], "Only mail of these accounts; empty: of anybody who is trusted.")
    replaces: str | None = option(
        TEXT,
        None,
        'The id of the signature that this one takes the place of, as "relayd dkim rotate" writes it: until the DNS '
        "shows this key, that one signs.",
        example="rsa-example.org",
    )
    published: float | None = option(
        TIME,
        None,
        "When the DNS first showed the key of one that replaces another; relayd writes it.",
        example="2026-11-21T09:00:00Z",
    )

    def __post_init__(self) -> None:
        if self.identity is not None:
            domain = self.identity.rpartition("@")[2].lower()
            if "@" not in self.identity or not f".{domain}".endswith(f".{self.domain}"):
                raise OptionError(f"identity: expected an address in {self.domain} or below it (RFC 6376 section 3.5)")
