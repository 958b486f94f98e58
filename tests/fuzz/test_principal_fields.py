"""Whatever is written into a principal: it is refused, or it is kept in a form that is read back as it is."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relayd.cli.failure import Failure
from relayd.cli.principal import parsed_change
from relayd.directory.entry import FIELDS, NAME, SECRETS, Type
from relayd.directory.fields import change, draft, normal
from relayd.directory.refusals import DirectoryRefusal
from relayd.directory.rows import attributes_of
from relayd.directory.secrets import Secrets, changed_secrets

_TEXT = st.text(max_size=40) | st.sampled_from(
    ["a@b.example", "@b.example", "*", "user", "$app$x$y", "otpauth://totp/x", "bytes:1/day", "\x00", "Ü@ü.example"]
)
_VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | st.lists(_TEXT | st.integers(), max_size=4)
)
_TYPES = st.sampled_from(list(Type))
_FIELDS = st.sampled_from(sorted(set().union(*FIELDS.values())))


@given(_TYPES, st.dictionaries(_FIELDS, _VALUES, max_size=6))
def test_drafts(type: Type, values: dict[str, Any]) -> None:
    with contextlib.suppress(DirectoryRefusal):
        made = draft(type, values)
        assert made[NAME]
        assert set(made) <= FIELDS[type]
        attributes_of(made)
        for field, value in made.items():
            if field != SECRETS:
                again = list(value) if isinstance(value, tuple) else value
                assert normal(type, field, again) == value, field


@given(_TYPES, st.sampled_from(["set", "addItem", "removeItem"]), _TEXT | _FIELDS, _VALUES)
def test_changes(type: Type, action: Any, field: str, value: Any) -> None:
    with contextlib.suppress(DirectoryRefusal):
        made = change(type, action, field, value)
        assert made.field in FIELDS[type]
        if made.field == SECRETS and action == "removeItem":
            left = changed_secrets(Secrets(("$argon2id$x", "$app$x$y")), [made], {})
            assert set(left.stored) <= {"$argon2id$x", "$app$x$y"}


@given(_TEXT | st.from_regex(r"[a-zA-Z-]{0,9}[+-]?=.{0,9}", fullmatch=True))
def test_changes_of_the_command_line(text: str) -> None:
    with contextlib.suppress(Failure):
        found = parsed_change(text)
        assert found["field"] not in ("", SECRETS)
        assert found["action"] == "set" or isinstance(found["value"], str | int | list)
