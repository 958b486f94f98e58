"""The rules for refusals as the configuration puts them in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.bounces import bounce_rules
from relayd.config.configuration import ConfigError
from relayd.config.load import load


def configured(tmp_path: Path, rules: str | bytes | None) -> Path:
    """A configuration whose rules' file has this content; None: the file is not there."""
    path = tmp_path / "relayd.toml"
    file = tmp_path / "rules.toml"
    if rules is not None:
        file.write_bytes(rules if isinstance(rules, bytes) else rules.encode())
    path.write_text(f'queue.bounces.rules = "{file}"\n')
    return path


def test_own_rules_lie_over_the_shipped_ones(tmp_path: Path) -> None:
    own = '[[rule]]\nid = "mine"\nclass = "rate"\ntext = ["mailbox full"]\n[[rule]]\nid = "spam"\nclass = "content"\n'
    rules = bounce_rules(load(configured(tmp_path, own)))
    found = rules.by_text("mailbox full")
    assert found is not None
    assert found.id == "mine"
    assert "spam" not in [rule.id for rule in rules.rules]
    assert "mailbox-full" in [rule.id for rule in rules.rules]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (None, "expected a file that can be read"),
        (b"\xff", "utf-8"),
        ('[[rule]]\nid = "x"\nclass = "nice"\ncodes = [550]', "'nice' is none of"),
        (" " * ((1 << 20) + 1), "octets"),
    ],
)
def test_a_file_that_is_no_good_is_an_error_of_its_key(tmp_path: Path, rules: str | bytes | None, says: str) -> None:
    with pytest.raises(ConfigError, match=f"1: queue.bounces.rules: .*{says}"):
        load(configured(tmp_path, rules))
