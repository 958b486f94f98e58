"""Where tests find what is not part of the project: public test suites and other people's programs.

Absent, a test is skipped with the reason; with RELAYD_REQUIRE_PEERS=1 or CI=true it fails instead.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def absent(reason: str) -> NoReturn:
    """Skip the test for what is missing here, or fail it where nothing may be missing."""
    if os.environ.get("RELAYD_REQUIRE_PEERS") == "1" or os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_suite(name: str) -> Path:
    """The folder of one public suite ("smtp"): below RELAYD_SUITES, else below ../shared/suites of the repository."""
    given = os.environ.get("RELAYD_SUITES")
    suites = Path(given) if given else _ROOT.parent / "shared" / "suites"
    if not (suites / name).is_dir():
        absent(f"the suite {name} is not at {suites}; set RELAYD_SUITES")
    return suites / name


def require_program(name: str) -> str:
    """The path of a program of the system ("postfix"), looked for in the sbin directories too."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_DIRECTORIES))
    found = shutil.which(name, path=path)
    if found is None:
        absent(f"the program {name} is not installed")
    return found
