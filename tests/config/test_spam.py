"""The rules of spam scoring in force: whose thresholds count."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.load import load
from relayd.config.spam import delivered_rules, rules_of
from relayd.spam.ruleset import read_ruleset
from relayd.spam.score import Thresholds

RULES = 'version = "1"\n[thresholds]\nspam = 6\nhold = 8\nreject = 9\n'


@pytest.mark.parametrize(
    ("settings", "is_update", "expected"),
    [
        ("", False, Thresholds(spam=6, hold=8, reject=9)),
        ("spam-filter.score.spam = 4.5\nspam-filter.score.reject = 0\n", False, Thresholds(spam=4.5, hold=8)),
        ("", True, Thresholds(spam=6)),
        ("spam-filter.score.hold = 7\n", True, Thresholds(spam=6, hold=7)),
    ],
)
def test_thresholds(settings: str, is_update: bool, expected: Thresholds, tmp_path: Path) -> None:
    path, file = tmp_path / "relayd.toml", tmp_path / "rules.toml"
    file.write_text(RULES)
    path.write_text(settings if is_update else f'spam-filter.rules = "{file}"\n{settings}')
    config = load(path, environ={})
    assert rules_of(config, read_ruleset(RULES) if is_update else None).thresholds == expected


def test_the_delivered_rules_do_no_more_than_mark() -> None:
    assert delivered_rules().thresholds == Thresholds(spam=5)
