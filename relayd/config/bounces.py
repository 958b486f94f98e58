"""The rules by which refusals are classified, as a configuration has them: the shipped and the operator's.

The shipped file lies in the package (`relayd/conf`) where it was installed from a wheel, else beside it (`conf`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from relayd.config.configuration import Config
from relayd.options import OptionError
from relayd.routing.bounce_rules import RuleForm, Rules, RulesError, build_rules, parse_rules
from relayd.routing.options import BounceRuleOptions

KEY = "queue.bounces.rules"
_PACKAGE = Path(__file__).resolve().parents[1]
_MOST = 1 << 20
"""Octets of an operator's file."""


class MayNotRead(OptionError):
    """The operator's file is there, but not for this user."""


def shipped_file(name: str = "bounces.toml") -> Path:
    """Where a file of conf/ is."""
    installed = _PACKAGE / "conf" / name
    return installed if installed.is_file() else _PACKAGE.parent / "conf" / name


@lru_cache(maxsize=1)
def shipped_rules() -> tuple[RuleForm, ...]:
    """The rules that relayd comes with; they are read once.  OSError, RulesError when the installation is broken."""
    return tuple(parse_rules(shipped_file().read_text("utf-8"), "bounces.toml"))


def bounce_rules(config: Config) -> Rules:
    """The rules that a configuration puts in force.  Reads the operator's file.  OptionError when that is no good."""
    path = config.section(BounceRuleOptions).rules
    if path is None:
        return build_rules(shipped_rules())
    try:
        return build_rules(shipped_rules(), parse_rules(read_own(Path(path), KEY), path), origin=path)
    except RulesError as error:
        raise OptionError(f"{KEY}: {error}") from None


def read_own(path: Path, key: str) -> str:
    """The text of a file of rules that the setting `key` names.  Raises OptionError, MayNotRead."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MOST + 1)
        if len(octets) > _MOST:
            raise OptionError(f"{key}: {path} has more than {_MOST} octets")
        return octets.decode("utf-8")
    except PermissionError:
        raise MayNotRead(f"{key}: {path} may not be read") from None
    except OSError as error:
        raise OptionError(f"{key}: expected a file that can be read: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise OptionError(f"{key}: {error}") from None
