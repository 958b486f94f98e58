"""Options of the checks of who sent a message: `auth.*`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayd.options import (
    BOOLEAN,
    DURATION,
    TEXT,
    Kind,
    Network,
    OptionError,
    Raw,
    choice,
    list_of,
    option,
    parse_network,
    section,
)

_CHECKED = choice("strict", "relaxed", "disabled")
_DOMAIN = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


def _parse_domain(value: Raw) -> str:
    if isinstance(value, str):
        domain = value.strip().lower().removesuffix(".")
        if _DOMAIN.fullmatch(domain) and not domain.replace(".", "").isdigit():
            return domain
    raise OptionError('expected a domain such as "example.org" (A-labels)')


def _parse_forwarder(value: Raw) -> str | Network:
    try:
        return parse_network(value)
    except OptionError:
        pass
    try:
        return _parse_domain(value)
    except OptionError:
        raise OptionError('expected a network such as "192.0.2.0/24", or a domain such as "example.org"') from None


DOMAINS = list_of(Kind("domain", _parse_domain))
FORWARDERS = list_of(Kind("network or domain", _parse_forwarder))


@section("auth", "Who sent a message. The checks are made on strangers' mail to listeners with the role mx.")
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthOptions:
    """`auth.*`: "strict" refuses, "relaxed" records, "disabled" does not look."""

    spf_ehlo: str = option(
        _CHECKED, "relaxed", "SPF of the EHLO name; strict: a fail is refused.", key="spf.verify.ehlo"
    )
    spf_mail_from: str = option(
        _CHECKED,
        "relaxed",
        "SPF of the return path; strict: a fail is refused, after DATA.",
        key="spf.verify.mail-from",
    )
    dkim: str = option(
        _CHECKED,
        "relaxed",
        "DKIM signatures; a missing or broken one is no reason to refuse, so strict is as relaxed.",
        key="dkim.verify",
    )
    arc: str = option(_CHECKED, "relaxed", "ARC chains; strict: a broken one is refused.", key="arc.verify")
    trusted_sealers: tuple[str, ...] = option(
        DOMAINS,
        [],
        "Domains whose ARC seals are believed when they say that DMARC passed before them.",
        key="arc.trusted-sealers",
        example=["lists.example.org"],
    )
    arc_seal: str | None = option(
        TEXT,
        None,
        "Id of the signature (`signature.<id>`) whose key seals strangers' mail that is passed on.",
        key="arc.seal",
        example="rsa-example.org",
    )
    dmarc: str = option(
        _CHECKED,
        "relaxed",
        "DMARC policy of the author's domain; strict: it is applied, and mail is deferred while a DNS failure hides "
        "whether it passes a policy of reject.",
        key="dmarc.verify",
    )
    dmarc_reject: str = option(
        choice("never", "unless-indirect", "always"),
        "unless-indirect",
        "Where DMARC is strict, mail that fails it under a policy of reject is refused: never; unless something else "
        "speaks for it (a trusted ARC seal, a mailing list, a listed forwarder); or always. The rest is tagged.",
        key="dmarc.reject",
    )
    dmarc_quarantine: str = option(
        choice("tag", "hold"),
        "tag",
        "Where DMARC is strict, what becomes of mail that fails it under a policy of quarantine.",
        key="dmarc.quarantine",
    )
    dmarc_discovery: str = option(
        choice("tree-walk", "public-suffix-list"),
        "tree-walk",
        "How policies and organisational domains are found: by RFC 9989 or as RFC 7489 did.",
        key="dmarc.discovery",
    )
    forwarders: tuple[str | Network, ...] = option(
        FORWARDERS,
        [],
        "Hosts that forward mail of others unchanged, by network or by a domain that SPF or DKIM proves.",
        key="dmarc.forwarders",
        example=["alumni.example.edu", "192.0.2.0/24"],
    )
    suffix_file: str | None = option(
        TEXT, None, "A public suffix list newer than the installed one.", key="dmarc.public-suffix-file"
    )
    iprev: str = option(
        _CHECKED,
        "relaxed",
        "Reverse DNS of the client; strict: one without a name that leads back to it is refused.",
        key="iprev.verify",
    )
    timeout: float = option(
        DURATION, "10s", "For all checks of a message together; what is not known by then is a temporary error."
    )
    id: str | None = option(
        TEXT,
        None,
        "Name in the Authentication-Results that are added, and which nobody else may use. Default: server.hostname.",
        example="example.org",
    )
    received_spf: bool = option(
        BOOLEAN, False, "Add Received-SPF too, which says the same of the return path alone.", key="spf.received-field"
    )
