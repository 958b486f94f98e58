"""The test file of the public suffix list, against the list beside it and against the installed one."""

from __future__ import annotations

import re

import pytest

from relayd.mailauth.findings import plain_domain
from relayd.mailauth.orgdomain import SuffixList
from tests.rig.peers import require_suite

_CASE = re.compile(r"^checkPublicSuffix\('([^']*)', (?:'([^']*)'|null)\);", re.M)


@pytest.mark.parametrize("installed", [True, False])
def test_every_case(installed: bool) -> None:
    suite = require_suite("psl")
    suffixes = SuffixList(None if installed else (suite / "public_suffix_list.dat").read_text("utf-8"))
    cases = _CASE.findall((suite / "tests" / "test_psl.txt").read_text("utf-8"))
    assert len(cases) >= 70
    wrong = []
    for domain, registrable in cases:
        expected = plain_domain(registrable) if registrable else None
        found = suffixes.registrable(domain)
        if found != expected:
            wrong.append((domain, found, expected))
    assert wrong == []
