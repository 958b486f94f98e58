"""Options of spam scoring that would spoil mail, or never match, are refused when they are read."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.options import OptionError, section_of
from relayd.spam.heading import result_fields
from relayd.spam.options import RecipientOptions, RuleOptions, SpamOptions
from relayd.spam.score import Thresholds
from relayd.spam.tag import Tag
from relayd.spam.verdict import judge, weigh


@pytest.mark.parametrize(
    ("section", "given"),
    [
        (SpamOptions, {"header.result": "X-Spam: yes\r\nBcc"}),
        (SpamOptions, {"header.status": "X-Späm"}),
        (SpamOptions, {"header.status": "X Spam"}),
        (SpamOptions, {"list.spam-traps": ["trap"]}),
        (RuleOptions, {"header": "X-Mailer:"}),
        (RecipientOptions, {"match": ["example.org"]}),
        (RecipientOptions, {"match": ["a b@example.org"]}),
    ],
)
def test_what_cannot_be(section: type, given: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        section_of(section).build(given)


def test_what_can() -> None:
    assert section_of(SpamOptions).build({"header.result": ""}).result_header == ""
    found = section_of(RecipientOptions).build({"match": ["@Example.org", '"a b"@c.test', "Jane@c.test"]})
    assert found.match == ("@example.org", '"a b"@c.test', "jane@c.test")


def test_a_plug_ins_tag_cannot_break_the_header() -> None:
    tags = [Tag("A\r\nBcc: x"), Tag("Ä"), Tag("GOOD_ONE")]
    scores = {each.name: 1.0 for each in tags}
    assert result_fields(judge(weigh(tags, scores), Thresholds())).startswith(
        "X-Spam-Result: GOOD_ONE (1.00)\r\nX-Spam"
    )
