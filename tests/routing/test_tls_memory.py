"""What is remembered of hosts' TLS: bounded, expiring, and never in the way of a policy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.routing.mta_sts import Mode, Policy
from relayd.routing.next_hop import MessageTls, TlsMode
from relayd.routing.tls_memory import ALARM_AGAIN, TlsMemory, may_be_left_out
from relayd.routing.tls_policy import Circumstances, decide

NOW = 1_800_000_000.0
HOUR = 3600.0


def test_a_failed_handshake_is_remembered_for_a_time() -> None:
    memory = TlsMemory()
    memory.failed("mx.example", "handshake failed", NOW, HOUR)
    known = memory.get("mx.example")
    assert known is not None
    assert (known.is_broken(NOW), known.is_broken(NOW + HOUR)) == (True, False)
    memory.failed("mx.example", "again", NOW + HOUR, HOUR)
    known = memory.get("mx.example")
    assert known is not None
    assert (known.failures, known.broken_since, known.reason) == (2, NOW, "again")
    memory.secured("mx.example", "TLSv1.3", NOW + 2 * HOUR)
    known = memory.get("mx.example")
    assert known is not None
    assert (known.failures, known.is_broken(NOW + 2 * HOUR), known.version) == (0, False, "TLSv1.3")


def test_nothing_is_remembered_for_no_time() -> None:
    memory = TlsMemory()
    memory.failed("mx.example", "handshake failed", NOW, 0.0)
    assert len(memory) == 0


def test_a_host_that_had_tls_and_has_none_is_an_alarm_once_a_day() -> None:
    memory = TlsMemory()
    assert memory.without("mx.example", NOW) is None  # never met
    memory.secured("mx.example", "TLSv1.3", NOW)
    alarm = memory.without("mx.example", NOW + HOUR)
    assert alarm is not None
    assert (alarm.secured, alarm.version) == (NOW, "TLSv1.3")
    assert memory.without("mx.example", NOW + 2 * HOUR) is None
    assert memory.without("mx.example", NOW + HOUR + ALARM_AGAIN) is not None
    memory.secured("mx.example", "TLSv1.3", NOW + 30 * HOUR)
    assert memory.without("mx.example", NOW + 30 * HOUR) is not None  # it came back, and went again
    memory.failed("other.example", "handshake failed", NOW, HOUR)
    assert memory.without("other.example", NOW) is None  # it never had it


def test_the_usual_is_not_written_again_and_again() -> None:
    memory = TlsMemory()
    memory.secured("mx.example", "TLSv1.3", NOW)
    assert list(memory.take_changes()) == ["mx.example"]
    memory.secured("mx.example", "TLSv1.3", NOW + HOUR)
    assert memory.take_changes() == {}
    memory.secured("mx.example", "TLSv1.3", NOW + 25 * HOUR)
    assert list(memory.take_changes()) == ["mx.example"]


def test_it_can_be_forgotten_and_forgiven() -> None:
    memory = TlsMemory()
    memory.secured("mx.example", "TLSv1.3", NOW)
    memory.failed("mx.example", "handshake failed", NOW, HOUR)
    assert memory.forgive() == 1
    assert memory.forgive() == 0
    known = memory.get("mx.example")
    assert known is not None
    assert (known.is_broken(NOW), known.secured) == (False, NOW)
    assert memory.forget("mx.example")
    assert not memory.forget("mx.example")
    changes = memory.take_changes()
    assert changes == {"mx.example": None}
    memory.secured("mx.example", "TLSv1.3", NOW)
    memory.put_back(changes)
    assert memory.take_changes()["mx.example"] is not None  # what is newer stays


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(("failed", "secured", "without"))), max_size=60))
def test_it_holds_no_more_than_its_limit_and_says_what_it_dropped(steps: list[tuple[str, str]]) -> None:
    memory = TlsMemory(limit=3)
    stored: dict[str, object] = {}
    for number, (host, what) in enumerate(steps):
        now = NOW + number * HOUR
        if what == "failed":
            memory.failed(host, "x", now, HOUR)
        elif what == "secured":
            memory.secured(host, "TLSv1.3", now)
        else:
            memory.without(host, now)
        assert len(memory) <= 3
        if number % 7 == 0:
            stored.update(memory.take_changes())
    stored.update(memory.take_changes())
    assert {host: each for host, each in stored.items() if each is not None} == {each.host: each for each in memory}


def test_only_where_nobody_demands_or_watches_is_tls_left_out() -> None:
    testing = Policy(mode=Mode.TESTING, mx=("mx.example",), max_age=1000)
    for circumstances, left_out in (
        (Circumstances(host="mx.example"), True),
        (Circumstances(host="mx.example", message=MessageTls.OPTIONAL), True),
        (Circumstances(host="mx.example", sts=testing), False),
        (Circumstances(host="mx.example", mode=TlsMode.REQUIRED), False),
        (Circumstances(host="mx.example", mode=TlsMode.VERIFIED), False),
        (Circumstances(host="mx.example", message=MessageTls.REQUIRED), False),
    ):
        assert may_be_left_out(decide(circumstances)) is left_out
