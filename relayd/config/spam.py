"""The rules of spam scoring in force: delivered, updated or of a file, with the operator's own on top."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import msgspec

from relayd.config.configuration import Config
from relayd.options import OptionError
from relayd.spam.options import RuleOptions, ScoreOptions, SpamOptions, ThresholdOptions
from relayd.spam.patterns import compiled
from relayd.spam.ruleset import PatternRule, Ruleset, RulesetError, check_tag, read_ruleset
from relayd.spam.score import Score, Thresholds

_PACKAGE = Path(__file__).resolve().parents[1]


def delivered_file() -> Path:
    """Where conf/spam.toml is: in the package where it was installed from a wheel, else beside it."""
    installed = _PACKAGE / "conf" / "spam.toml"
    return installed if installed.is_file() else _PACKAGE.parent / "conf" / "spam.toml"


@lru_cache(maxsize=1)
def delivered_rules() -> Ruleset:
    """The rules that relayd comes with, read once.  OSError, RulesetError when the installation is broken."""
    return read_ruleset(delivered_file().read_text("utf-8"))


def rules_of(config: Config, updated: Ruleset | None = None) -> Ruleset:
    """The rules in force.  updated: those that an update brought.  Reads the operator's file.  OptionError."""
    options = config.section(SpamOptions)
    base = _of_file(options.rules) if options.rules is not None else updated or delivered_rules()
    rules = [*base.rules]
    scores: dict[str, Score] = dict(base.scores)
    for id, own in config.records(RuleOptions).items():
        if own.enable:
            rules.append(_rule(id, own))
            scores[rules[-1].tag] = own.score
    for tag, score in config.records(ScoreOptions).items():
        try:
            scores[check_tag(tag, "spam-filter.list.scores")] = score.score
        except RulesetError as error:
            raise OptionError(str(error)) from None
    lists = msgspec.structs.replace(
        base.lists,
        trusted=base.lists.trusted | _lower(options.trusted_domains),
        blocked=base.lists.blocked | _lower(options.blocked_domains),
        traps=base.lists.traps | _lower(options.spam_traps),
    )
    return Ruleset(
        version=base.version,
        scores=scores,
        lists=lists,
        rules=tuple(rules),
        thresholds=_thresholds(config.section(ThresholdOptions), base, updated),
    )


def _thresholds(options: ThresholdOptions, base: Ruleset, updated: Ruleset | None) -> Thresholds:
    """Those in force.  An update's for holding, refusing and dropping do not count: these are for the operator."""
    found = base.thresholds
    if base is updated:
        found = replace(delivered_rules().thresholds, spam=found.spam)
    return found.under(options)


def _of_file(path: str) -> Ruleset:
    try:
        return read_ruleset(Path(path).read_text("utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise OptionError(f"spam-filter.rules: expected a file that can be read: {path}: {reason}") from None
    except (UnicodeDecodeError, RulesetError) as error:
        raise OptionError(f"spam-filter.rules: {path}: {error}") from None


def _rule(id: str, own: RuleOptions) -> PatternRule:
    where = f"spam-filter.rule.{id}"
    if not own.pattern:
        raise OptionError(f"{where}.pattern: is required")
    if (own.scope == "header") != bool(own.header):
        raise OptionError(f"{where}.header: names the field, with the scope header alone")
    try:
        rule = PatternRule(
            tag=check_tag(own.tag or id.upper().replace("-", "_").replace(".", "_"), where),
            pattern=own.pattern,
            scope=own.scope,
            header=own.header.lower(),
            score=own.score,
            reason=own.reason,
        )
        compiled(rule)
    except RulesetError as error:
        raise OptionError(f"{where}: {error}") from None
    return rule


def _lower(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in names)
