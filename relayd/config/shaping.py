"""What providers are given, as a configuration has it: the shipped rules, the operator's file, `queue.shaping.*`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from relayd.config.bounces import read_own, shipped_file
from relayd.config.configuration import Config
from relayd.mailauth.orgdomain import SuffixList
from relayd.options import OptionError
from relayd.routing.bounce_rules import RulesError
from relayd.routing.shaping.options import ProviderOptions, ShapingOptions
from relayd.routing.shaping.rules import RuleFile, ShapingRules, read_rules

KEY = "queue.providers.rules"
FILE = "shaping.toml"


@lru_cache(maxsize=1)
def shipped_shaping() -> RuleFile:
    """The rules that relayd comes with; they are read once.  OSError, RulesError when the installation is broken."""
    return read_rules(shipped_file(FILE).read_text("utf-8"), f"conf/{FILE}")


@lru_cache(maxsize=1)
def _suffixes() -> SuffixList:
    return SuffixList()


def shaping_rules(config: Config, records: Mapping[str, ShapingOptions] | None = None) -> ShapingRules:
    """The rules that a configuration puts in force.  Reads the operator's file.  OptionError when that is no good.

    records: in place of the configuration's `queue.shaping.<id>`.
    """
    path = config.section(ProviderOptions).rules
    layers = [shipped_shaping()]
    try:
        if path is not None:
            layers.append(read_rules(read_own(Path(path), KEY), path))
        records = config.records(ShapingOptions) if records is None else records
        return ShapingRules(layers, records, registrable=lambda name: _suffixes().organizational(name))
    except RulesError as error:
        raise OptionError(f"{KEY}: {error}") from None
