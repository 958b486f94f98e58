"""From tags to a score, to what is done, to what would have changed it."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from relayd.spam.explain import flipping_tags
from relayd.spam.heading import result_fields
from relayd.spam.score import Action, Score, Thresholds
from relayd.spam.tag import Tag
from relayd.spam.verdict import Verdict, judge, mildest, weigh

DEFAULT = Thresholds()
SEED: dict[str, Score] = {
    "FROM_NO_DN": 0.0, "MISSING_DATE": 1.0, "FROMHOST_NORES_A_OR_MX": 1.5, "MISSING_MIME_VERSION": 2.0,
    "FORGED_SENDER": 0.3, "SPF_NA": 0.0, "X_HDR_TO": 0.0, "HELO_IPREV_MISMATCH": 1.0, "AUTH_NA": 1.0,
    "FORGED_RECIPIENTS": 2.0, "RCVD_COUNT_ZERO": 0.1, "MISSING_MID": 2.5, "HELO_NORES_A_OR_MX": 0.3, "DMARC_NA": 1.0,
}  # fmt: skip


def verdict(scores: dict[str, Score], thresholds: Thresholds = DEFAULT) -> Verdict:
    return judge(weigh([Tag(name) for name in scores], scores), thresholds)


def test_the_example_of_the_api_adds_up() -> None:
    found = verdict(SEED)
    assert found.score == 12.7
    assert found.is_spam
    fields = result_fields(found)
    assert fields.startswith("X-Spam-Result: FROM_NO_DN (0.00),\r\n\tSPF_NA (0.00),\r\n\tRCVD_COUNT_ZERO (0.10),\r\n\t")
    assert fields.endswith("MISSING_MID (2.50)\r\nX-Spam-Status: Yes, score=12.70\r\n")
    assert "X_HDR" not in fields


def test_actions_by_threshold_and_by_tag() -> None:
    steps = Thresholds(spam=5, hold=6, reject=10, discard=20)
    assert [verdict({"A": float(score)}, steps).action for score in (5, 6, 10, 20)] == [*Action]
    assert verdict({"A": Action.REJECT}).action is Action.REJECT
    assert verdict({"A": Action.HOLD, "B": 12.0}, steps).action is Action.REJECT
    assert verdict({"A": 1000.0}).action is Action.TAG


def test_the_mildest_of_several() -> None:
    stern, mild = verdict({"A": 20.0}, Thresholds(reject=10)), verdict({"A": 20.0})
    assert mildest([stern, mild]) is mild


def test_the_smallest_set_that_flips() -> None:
    assert flipping_tags(verdict({"A": 4.0, "B": 2.0, "C": 1.5}), DEFAULT) == ("A",)
    assert flipping_tags(verdict({"A": 3.0, "B": 3.0, "C": -2.0}), DEFAULT) == ("C",)
    assert flipping_tags(verdict({"A": 1.0}), DEFAULT) == ()
    assert flipping_tags(verdict({"A": Action.REJECT, "B": 1.0}), DEFAULT) == ("A",)
    reject = Thresholds(reject=10)
    assert flipping_tags(verdict({"A": Action.REJECT, "B": 11.0}, reject), reject) == ("A", "B")


AMOUNTS = st.sampled_from([-3.0, -1.0, 0.0, 0.5, 1.0, 2.5, 4.0])


@given(
    st.dictionaries(st.sampled_from("ABCDEFG"), st.one_of(AMOUNTS, st.sampled_from([Action.HOLD, Action.REJECT]))),
    st.sampled_from([0.0, 4.0, 7.0]),
)
def test_no_smaller_set_flips(scores: dict[str, Score], limit: float) -> None:
    thresholds = Thresholds(hold=limit)
    found = verdict(scores, thresholds)
    flip = flipping_tags(found, thresholds)

    def differs(without: tuple[str, ...]) -> bool:
        left = verdict({name: score for name, score in scores.items() if name not in without}, thresholds)
        if found.action is not Action.TAG:
            return left.action is not found.action
        return left.action is not found.action or left.is_spam != found.is_spam

    if flip:
        assert differs(flip)
        assert not any(differs(less) for size in range(len(flip)) for less in combinations(scores, size))
    else:
        assert not any(differs(some) for size in range(len(scores) + 1) for some in combinations(scores, size))
