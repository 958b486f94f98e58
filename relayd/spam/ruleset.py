"""The set of rules in force: scores, lists and patterns, read from TOML (`conf/spam.toml`, an update, the settings).

Reading checks everything: what a broken update would break must be seen before it is put in force.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from relayd.spam.score import SCOPES, Action, Score, ScoreError, Thresholds, check_score

MAX_OCTETS = 16 << 20
MAX_RULES = 2000
MAX_PATTERN = 2000

_TAG = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,39}")
_LISTS = (
    "freemail",
    "disposable",
    "redirectors",
    "known-dmarc",
    "imitated",
    "trusted-domains",
    "blocked-domains",
    "spam-traps",
)


class RulesetError(ValueError):
    """The document is no set of rules; the text says where and why."""


class PatternRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule by pattern (RE2 syntax).

    tag: what it sets.  scope: where it looks; header: in the fields named `header`.  score: of the tag.
    """

    tag: str
    pattern: str
    scope: str = "body"
    header: str = ""
    score: Score = 0.0
    reason: str = ""


class Lists(msgspec.Struct, frozen=True, kw_only=True):
    """Lists of domains and addresses, in lower case.

    freemail, disposable: providers of addresses.  redirectors: hosts that lead on.  known_dmarc: domains whose mail
    always passes DMARC.  imitated: hosts that others like to look like.  trusted, blocked: the operator's.
    traps: addresses that nobody but spammers write to.  extensions: of file names, to what is expected of them.
    """

    freemail: frozenset[str] = frozenset()
    disposable: frozenset[str] = frozenset()
    redirectors: frozenset[str] = frozenset()
    known_dmarc: frozenset[str] = frozenset()
    imitated: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    traps: frozenset[str] = frozenset()
    bad_extensions: frozenset[str] = frozenset()
    archive_extensions: frozenset[str] = frozenset()
    types: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class Ruleset(msgspec.Struct, frozen=True, kw_only=True):
    """version: of the document.  scores: of tags, those of pattern rules included.  thresholds: of everybody's mail."""

    version: str
    scores: Mapping[str, Score]
    lists: Lists
    rules: tuple[PatternRule, ...] = ()
    thresholds: Thresholds = Thresholds()


def read_ruleset(text: str) -> Ruleset:
    """A set of rules from its TOML.  RulesetError."""
    if len(text) > MAX_OCTETS:
        raise RulesetError(f"larger than {MAX_OCTETS >> 20} MB")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RulesetError(f"no TOML: {error}") from None
    version = document.get("version")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise RulesetError('version: expected a text such as "2026.11"')
    unknown = document.keys() - {"version", "thresholds", "scores", "lists", "extensions", "rules"}
    if unknown:
        raise RulesetError(f"{min(unknown)}: unknown; expected version, thresholds, scores, lists, extensions, rules")
    scores: dict[str, Score] = {}
    for group, entries in _table(document, "scores").items():
        if not isinstance(entries, dict):
            raise RulesetError(f"scores.{group}: expected a table of tags")
        for tag, value in entries.items():
            scores[check_tag(tag, f"scores.{group}")] = _score(value, f"scores.{group}.{tag}")
    rules = tuple(_rule(id, each) for id, each in _table(document, "rules").items())
    if len(rules) > MAX_RULES:
        raise RulesetError(f"rules: more than {MAX_RULES}")
    for rule in rules:
        scores.setdefault(rule.tag, rule.score)
    return Ruleset(
        version=version, scores=scores, lists=_lists(document), rules=rules, thresholds=_thresholds(document)
    )


def check_tag(name: str, where: str) -> str:
    """A tag's name; RulesetError."""
    if not _TAG.fullmatch(name):
        raise RulesetError(f"{where}: {name!r} is no tag: expected capitals, digits and _")
    return name


def _score(value: object, where: str) -> Score:
    try:
        return check_score(value)
    except ScoreError as error:
        raise RulesetError(f"{where}: {error}") from None


def _thresholds(document: Mapping[str, Any]) -> Thresholds:
    table = _table(document, "thresholds")
    unknown = table.keys() - set(Thresholds.__struct_fields__)
    if unknown:
        raise RulesetError(f"thresholds.{min(unknown)}: unknown; expected {', '.join(Thresholds.__struct_fields__)}")
    found = {name: _score(value, f"thresholds.{name}") for name, value in table.items()}
    if wrong := [name for name, value in found.items() if isinstance(value, Action)]:
        raise RulesetError(f"thresholds.{wrong[0]}: expected a number")
    return Thresholds(**cast(dict[str, float], found))


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise RulesetError(f"{name}: expected a table")
    return cast(dict[str, Any], value)


def _rule(id: str, value: object) -> PatternRule:
    where = f"rules.{id}"
    if not isinstance(value, dict):
        raise RulesetError(f"{where}: expected a table")
    unknown = value.keys() - {"tag", "pattern", "scope", "header", "score", "reason"}
    if unknown:
        raise RulesetError(f"{where}.{min(unknown)}: unknown")
    texts = {name: value.get(name, "") for name in ("tag", "pattern", "scope", "header", "reason")}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > MAX_PATTERN:
            raise RulesetError(f"{where}.{name}: expected a text of at most {MAX_PATTERN} characters")
    if not texts["pattern"]:
        raise RulesetError(f"{where}.pattern: is required")
    scope = texts["scope"] or ("header" if texts["header"] else "body")
    if scope not in SCOPES:
        raise RulesetError(f"{where}.scope: expected one of {', '.join(SCOPES)}")
    if (scope == "header") != bool(texts["header"]):
        raise RulesetError(f"{where}.header: names the field, with the scope header alone")
    return PatternRule(
        tag=check_tag(texts["tag"] or id.upper().replace("-", "_"), where),
        pattern=texts["pattern"],
        scope=scope,
        header=texts["header"].lower(),
        score=_score(value.get("score", 0.0), f"{where}.score"),
        reason=texts["reason"],
    )


def _lists(document: Mapping[str, Any]) -> Lists:
    lists = _table(document, "lists")
    unknown = lists.keys() - set(_LISTS)
    if unknown:
        raise RulesetError(f"lists.{min(unknown)}: unknown; expected one of {', '.join(_LISTS)}")
    found = {name: _words(lists.get(name, []), f"lists.{name}") for name in _LISTS}
    extensions = _table(document, "extensions")
    types = _table(extensions, "types")
    return Lists(
        freemail=found["freemail"],
        disposable=found["disposable"],
        redirectors=found["redirectors"],
        known_dmarc=found["known-dmarc"],
        imitated=found["imitated"] | found["known-dmarc"],
        trusted=found["trusted-domains"],
        blocked=found["blocked-domains"],
        traps=found["spam-traps"],
        bad_extensions=_words(extensions.get("bad", []), "extensions.bad"),
        archive_extensions=_words(extensions.get("archives", []), "extensions.archives"),
        types={name.lower(): tuple(sorted(_words(value, f"extensions.types.{name}"))) for name, value in types.items()},
    )


def _words(value: object, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RulesetError(f"{where}: expected a list of texts")
    return frozenset(each.strip().lower() for each in value)
