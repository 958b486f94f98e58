"""Any sequence of valid operations: what is stored comes to the same values as what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.config.changes import carry_out
from relayd.config.configuration import Config
from relayd.config.keys import KeyTable, flattened, gather
from relayd.config.load import load
from relayd.config.sections import ALL_SECTIONS, declared
from relayd.control.api.settings import AssertFailed, Clear, Delete, Insert, Operation, SettingsRefused

TABLE = KeyTable(declared(ALL_SECTIONS))

VALUES: dict[str, st.SearchStrategy[str]] = {
    "server.node": st.integers(0, 511).map(str),
    "session.ehlo.reject-non-fqdn": st.sampled_from(["true", "false"]),
    "session.data.limits.size": st.sampled_from(["25MB", "26214400", "0", "1.5 GB"]),
    "queue.schedule.expire": st.sampled_from(["5d", "1h30m", "90s"]),
    "queue.outbound.domain.example.org": st.just("mx"),
    "queue.outbound.domain.0000": st.just("mx"),
    "access.a.b.text": st.text(st.characters(exclude_categories=["C"]), max_size=20),
    "access.a.text": st.just("no.0000"),
    "server.listener.smtp.max-connections": st.integers(1, 10**6).map(str),
}
LISTS: dict[str, st.SearchStrategy[str]] = {
    "queue.schedule.retry": st.sampled_from(["2m", "1h"]),
    "session.rcpt.relay-networks": st.sampled_from(["192.0.2.0/24", "2001:db8::1"]),
    "access.a.b.sender": st.sampled_from(["a@example.org", "example.net"]),
}
NAMES = st.sampled_from([*VALUES, *LISTS, *(f"{name}.{number:04d}" for name in LISTS for number in range(3))])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    name = draw(NAMES)
    strategy = VALUES[name] if name in VALUES else LISTS[name if name in LISTS else name[:-5]]
    return name, draw(strategy)


@st.composite
def inserts(draw: st.DrawFn) -> Insert:
    values = draw(st.lists(pairs(), min_size=1, max_size=5))
    prefix = draw(st.sampled_from([None, "", "queue", "access.a.", "server"]))
    if prefix:
        start = prefix.removesuffix(".") + "."
        values = [(name.removeprefix(start), value) for name, value in values if name.startswith(start)]
    return Insert(values=values, assert_empty=False, prefix=prefix)


OPERATIONS = st.lists(
    st.one_of(
        inserts(),
        st.lists(NAMES, max_size=3).map(lambda keys: Delete(keys=keys)),
        st.builds(
            Clear,
            prefix=st.sampled_from(["queue.", "access.a.", "access.", "server.no", "session.rcpt.relay-n"]),
            filter=st.sampled_from([None, "", "MX", "retry", "2"]),
        ),
    ),
    max_size=8,
)


def expected(operations: Sequence[Operation]) -> dict[str, Any]:
    """A slow, obvious model: whole values by name, a list as a dict of its elements."""
    now: dict[str, Any] = {}
    for each in operations:
        if isinstance(each, Insert):
            for name, value in each.values:
                whole = (each.prefix.removesuffix(".") + "." if each.prefix else "") + name
                if whole in LISTS:
                    now[whole] = {0: value}
                elif whole in VALUES:
                    now[whole] = value
                else:
                    now.setdefault(whole[:-5], {})[int(whole[-4:])] = value
            continue
        for name, value in list(now.items()):
            if not isinstance(value, dict):
                if _goes(each, name, value):
                    del now[name]
                continue
            if isinstance(each, Delete) and name in each.keys:
                del now[name]
                continue
            now[name] = {at: item for at, item in value.items() if not _goes(each, f"{name}.{at:04d}", item)}
            if not now[name]:
                del now[name]
    return {
        name: [item for _, item in sorted(value.items())] if isinstance(value, dict) else value
        for name, value in now.items()
    }


def _goes(operation: Operation, key: str, value: str) -> bool:
    if isinstance(operation, Delete):
        return key in operation.keys
    assert isinstance(operation, Clear)
    needle = (operation.filter or "").lower()
    return key.startswith(operation.prefix) and (needle in key.lower() or needle in value.lower())


def whole(stored: Mapping[str, str]) -> Config:
    """The configuration that comes of it; the access rule lacks what it needs beside what is asked about."""
    completed = {**stored, "access.a.b.action": "reject", "access.a.action": "reject"}
    config = load(None, environ={"STATE_DIRECTORY": "/nowhere"}, stored=lambda directory: completed)
    assert config.stored == completed
    return load(None, environ={}, for_client=True, stored=lambda directory: stored)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_valid_operations_come_back_as_they_were_asked_for(operations: list[Operation]) -> None:
    stored = carry_out(operations, {}, {}, TABLE)
    leaves, unknown = gather(stored, TABLE)
    assert not unknown
    assert {leaf.key.name: leaf.raw for leaf in leaves} == expected(operations)
    again = {text: value for leaf in leaves for text, value in flattened(leaf.key, leaf.raw)}
    assert {leaf.key.name: leaf.raw for leaf in gather(again, TABLE)[0]} == expected(operations)
    assert whole(stored).flat() == expected(operations)
    # one operation at a time comes to the same as all in one
    step: dict[str, str] = {}
    for each in operations:
        step = carry_out([each], step, {}, TABLE)
    assert step == stored


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                Insert,
                values=st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=300)), st.text(max_size=100)), max_size=4),
                assert_empty=st.booleans(),
                prefix=st.none() | st.sampled_from(["server", "queue.route.x", "."]) | st.text(max_size=20),
            ),
            st.builds(Delete, keys=st.lists(st.text(max_size=20), max_size=3)),
            st.builds(Clear, prefix=st.text(max_size=3), filter=st.none() | st.text(max_size=3)),
        ),
        max_size=4,
    )
)
def test_anything_is_taken_whole_or_refused(operations: list[Operation]) -> None:
    before = {"server.node": "5", "queue.schedule.retry.0000": "2m"}
    try:
        after = carry_out(operations, before, {"server.hostname": "a.example"}, TABLE)
    except (SettingsRefused, AssertFailed):
        return
    leaves, unknown = gather(after, TABLE)
    assert not unknown
    for leaf in leaves:
        leaf.key.option.kind.parse(leaf.raw)


@pytest.mark.parametrize("section", declared(ALL_SECTIONS), ids=lambda section: section.prefix)
def test_every_declared_option_has_its_key(section: Any) -> None:
    for id in ("x", "a.b", "0000", "mx.example.org"):
        for option in section.options:
            name = f"{section.prefix.replace('<id>', id)}.{option.key}".removesuffix(".")
            found = TABLE.find(name)
            assert found is not None
            assert (found.name, found.option) == (name, option)
            assert found.record == (id if section.is_record else None)
            element = TABLE.find(f"{name}.0003")
            if option.kind.is_list:
                assert element is not None
                assert (element.name, element.number) == (name, 3)
            elif option.key:
                assert element is None
            if not section.is_record:
                break


def test_the_file_s_element_of_a_list_counts_as_set() -> None:
    in_file = {"session.rcpt.relay-domains.0000": "a.example"}
    for key in ("session.rcpt.relay-domains", "session.rcpt.relay-domains.0000"):
        with pytest.raises(AssertFailed):
            carry_out([Insert(values=[(key, "b.example")], assert_empty=True)], {}, in_file, TABLE)
