"""Options of spam scoring: `spam-filter.*`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayd.options import (
    BOOLEAN,
    DURATION,
    SIZE,
    TEXT,
    TEXTS,
    Kind,
    OptionError,
    Raw,
    choice,
    integer,
    list_of,
    option,
    section,
)
from relayd.spam.score import SCOPES, Score, ScoreError, check_score


def _parse_number(value: Raw) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or not -1000 <= number <= 1000:
        raise OptionError("expected a number from -1000 to 1000")
    return number


def _parse_score(value: Raw) -> Score:
    try:
        return check_score(value if value in ("hold", "reject", "discard") else _parse_number(value))
    except (ScoreError, OptionError):
        raise OptionError('expected a number from -1000 to 1000, "hold", "reject" or "discard"') from None


def _parse_share(value: Raw) -> float:
    number = _parse_number(value)
    if not 0 <= number <= 1:
        raise OptionError("expected a number from 0 to 1")
    return number


def _parse_field_name(value: Raw) -> str:
    if not isinstance(value, str) or not _FIELD_NAME.fullmatch(value):
        raise OptionError('expected the name of a header field, such as "X-Spam-Status"')
    return value


def _parse_recipient(value: Raw) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    if not _RECIPIENT.fullmatch(text):
        raise OptionError('expected an address, or a domain as "@example.org"')
    return text


_FIELD_NAME = re.compile(r"[!-9;-~]{0,76}")
_RECIPIENT = re.compile(r"[^\s@]*@[^\s@]+|\"[^\"]*\"@[^\s@]+")
NUMBER = Kind("number", _parse_number)
FIELD_NAME = Kind("name of a header field", _parse_field_name)
RECIPIENTS = list_of(Kind("address or domain", _parse_recipient))
SHARE = Kind("number from 0 to 1", _parse_share)
SCORE = Kind("score", _parse_score)


@section("spam-filter", "Spam scoring of strangers' mail to listeners with the role mx, before its 250.")
@dataclass(frozen=True, slots=True, kw_only=True)
class SpamOptions:
    """`spam-filter.*`"""

    enable: bool = option(BOOLEAN, True, "Score strangers' mail.")
    result_header: str = option(
        FIELD_NAME, "X-Spam-Result", 'Field that lists what was found; "" adds none.', key="header.result"
    )
    status_header: str = option(
        FIELD_NAME, "X-Spam-Status", 'Field that says "Yes" or "No" and the score; "" adds none.', key="header.status"
    )
    ask_hosts: bool = option(
        BOOLEAN,
        True,
        "Ask the DNS whether the EHLO name and the domain of the return path have addresses.",
        key="hosts.enable",
    )
    submitted: bool = option(BOOLEAN, False, "Score what our own people submit too.", key="submitted.enable")
    submitted_hold: float = option(
        NUMBER, 8.0, "Submitted mail of this score or more is held; 0: never.", key="submitted.hold"
    )
    rules: str | None = option(
        TEXT, None, "A file of rules instead of the delivered one (conf/spam.toml).", example="/etc/relayd/spam.toml"
    )
    plugins: tuple[str, ...] = option(
        TEXTS, [], "Rules of your own as Python functions; see conf/spam_plugin_example.py.", example=["site:is_odd"]
    )
    trusted_domains: tuple[str, ...] = option(
        TEXTS, [], "Authors' domains that are trusted when DMARC passes.", key="list.trusted-domains"
    )
    blocked_domains: tuple[str, ...] = option(
        TEXTS, [], "Authors' domains that are not wanted.", key="list.blocked-domains"
    )
    spam_traps: tuple[str, ...] = option(
        RECIPIENTS,
        [],
        'Addresses, or domains as "@example.org", that nobody but spammers write to.',
        key="list.spam-traps",
    )


@section(
    "spam-filter.score",
    "From which score on a message is spam, and what becomes of it, in place of what conf/spam.toml says.",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdOptions:
    """`spam-filter.score.*`; what is not set is as in the rules: 5 for spam, and nothing follows from it."""

    spam: float | None = option(NUMBER, None, 'It is marked "Yes".', example=5)
    hold: float | None = option(NUMBER, None, "It is held for an operator; 0: never.", example=10)
    reject: float | None = option(NUMBER, None, "It is refused (550 5.7.1) at the end of data; 0: never.", example=15)
    discard: float | None = option(NUMBER, None, "It is answered 250 and dropped; 0: never.", example=0)


@section("spam-filter.list.scores.<id>", "Scores that count instead of the delivered ones; the id is the tag.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """`spam-filter.list.scores.<TAG>`"""

    score: Score = option(SCORE, 0.0, 'A number, "hold", "reject" or "discard".', key="", example=1.5)


@section("spam-filter.rule.<id>", "Rules of your own by pattern (RE2 syntax).")
@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """`spam-filter.rule.<id>.*`"""

    enable: bool = option(BOOLEAN, True, "Whether it is in force.")
    pattern: str = option(TEXT, "", "What to look for.", example="(?i)cheap (watches|pills)")
    scope: str = option(choice(*SCOPES), "body", "Where to look.")
    header: str = option(FIELD_NAME, "", "Name of the field, with the scope header.", example="X-Mailer")
    tag: str | None = option(TEXT, None, "The tag that it sets. Default: the id in capitals.", example="CHEAP")
    score: Score = option(SCORE, 1.0, "What the tag counts.")
    reason: str = option(TEXT, "", "What it means, for people.")


@section("spam-filter.recipient.<id>", "Recipients with thresholds of their own. The mildest verdict of all counts.")
@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOptions:
    """`spam-filter.recipient.<id>.*`; what is not set is as in `spam-filter.score`."""

    match: tuple[str, ...] = option(
        RECIPIENTS, [], 'Addresses, or domains as "@example.org".', example=["jane@example.org", "@example.net"]
    )
    spam: float | None = option(NUMBER, None, 'It is marked "Yes".', example=6.5)
    hold: float | None = option(NUMBER, None, "It is held.", example=10)
    reject: float | None = option(NUMBER, None, "It is refused.", example=15)
    discard: float | None = option(NUMBER, None, "It is dropped.", example=30)


@section("spam-filter.scan", "How much a scan may cost.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """`spam-filter.scan.*`"""

    inline: int = option(
        SIZE,
        "16KB",
        "Messages up to this size are scanned by the engine itself, larger ones by a worker process; so is all mail "
        "where there are plug-ins, which may take any time, or more than 100 rules by pattern.",
    )
    workers: int = option(integer(1, 16), 1, "Worker processes.")
    cpu: float = option(DURATION, "2s", "CPU time of a scan; a worker that needs more is killed.")
    memory: int = option(SIZE, "200MB", "Memory of a worker; one that needs more is killed.")
    patience: float = option(DURATION, "20s", "How long a message waits for its scan in all; then 451.")


@section("spam-filter.bayes", "Learning from mail that people called spam or ham.")
@dataclass(frozen=True, slots=True, kw_only=True)
class BayesOptions:
    """`spam-filter.bayes.*`"""

    enable: bool = option(BOOLEAN, True, "Ask the model.")
    spam: float = option(SHARE, 0.7, "Probability over which BAYES_SPAM is set.", key="score.spam")
    ham: float = option(SHARE, 0.5, "Probability under which BAYES_HAM is set.", key="score.ham")
    min_learns: int = option(integer(1), 200, "Messages of each kind that a model must have learnt before it speaks.")
    balance: float = option(
        SHARE,
        0.9,
        "What operators release or delete is not learnt while its kind is over this share of all; 1: always.",
    )
    max_tokens: int = option(
        integer(1000, 50_000_000), 600_000, "Tokens that are kept, over all models; 100,000 take some 10 MB of memory."
    )
    expire: float = option(DURATION, "180d", "Tokens that were not learnt again for so long are forgotten.")


@section(
    "spam-filter.update", "Where new rules come from; `relayd spam update` and GET /api/update/spam-filter ask there."
)
@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """`spam-filter.update.*`"""

    url: str | None = option(
        TEXT,
        None,
        "An https URL, or the path of a file; http with the sha256 or from this machine alone.",
        key="source",
        example="https://example.org/spam.toml",
    )
    sha256: str | None = option(
        TEXT,
        None,
        "What the document must hash to, in hexadecimal; not looked at if unset.",
        example="9f86d081884c7d65...",
    )
    timeout: float = option(DURATION, "30s", "For the whole download.")
