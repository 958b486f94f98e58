"""Spam scoring as a configuration has it, compiled and checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from relayd.config.configuration import Config
from relayd.config.spam import rules_of
from relayd.config.spam_updates import SpamUpdates
from relayd.mailauth.options import AuthOptions
from relayd.options import OptionError
from relayd.reception.assessing import ScoringSettings
from relayd.scanning.building import build_scanner
from relayd.scanning.frames import Setup
from relayd.spam.options import BayesOptions, RecipientOptions, ScanOptions, SpamOptions
from relayd.spam.patterns import Patterns
from relayd.spam.ruleset import RulesetError
from relayd.spam.scoring import Limits

INLINE_RULES = 100
"""Rules by pattern that the event loop can spare the time for: a few milliseconds, whatever they are."""


class Spam:
    """settings: of the live path.  setup: of worker processes.  problem: why rules that an update brought are not in
    force, "" when they are.  Raises OptionError.
    """

    def __init__(self, config: Config, data: Path) -> None:
        options = config.section(SpamOptions)
        scan = config.section(ScanOptions)
        self.bayes = config.section(BayesOptions)
        self.problem = ""
        try:
            updated = SpamUpdates(data).current()
            if updated is not None:
                Patterns(updated.rules)
        except (OSError, RulesetError) as error:  # somebody spoiled the file: mail goes on by the delivered rules
            updated, self.problem = None, str(error)
        ruleset = rules_of(config, updated)
        suffixes = config.section(AuthOptions).suffix_file
        try:
            scanner = build_scanner(ruleset, options.plugins, suffixes)
        except OSError as error:
            raise OptionError(f"auth.dmarc.public-suffix-file: {error}") from None
        except RulesetError as error:
            raise OptionError(f"spam rules: {error}") from None
        self.setup = Setup(
            ruleset=ruleset,
            plugins=options.plugins,
            suffixes=suffixes,
            places=tuple(os.path.abspath(place) for place in sys.path),
            cpu=scan.cpu,
            memory=scan.memory,
        )
        self.settings = ScoringSettings(
            options=options,
            thresholds=ruleset.thresholds,
            recipients=tuple(config.records(RecipientOptions).values()),
            scanner=scanner,
            scores=ruleset.scores,
            limits=Limits(self.bayes.spam, self.bayes.ham),
            inline=0 if options.plugins or len(ruleset.rules) > INLINE_RULES else scan.inline,
        )
