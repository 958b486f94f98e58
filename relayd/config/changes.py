"""What a change asked for through the API makes of the stored settings, before it is known whether that is valid.

The operations are applied in order to a draft of what the database holds.  Each value that is written must name a known
key and be what its option takes; whether the whole fits together is asked afterwards (`settings`).  Pure.

Of lists: a bare name writes a list of one, with an empty value the empty list; numbered keys write their element and
leave the others that are stored; deleting the bare name deletes all elements.  Of secrets: the mask keeps what is
stored, even when the same change cleared it before (clients save a record by clearing and writing it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from relayd.config.keys import Key, KeyTable, is_file_alone
from relayd.config.load import FILE_ALONE_TEXT, misfit
from relayd.config.store import MAX_KEY, MAX_KEYS, MAX_TOTAL, MAX_VALUE
from relayd.control.api.settings import AssertFailed, Clear, Delete, Insert, Operation, SettingsRefused
from relayd.options import OptionError

MASK = "********"
"""What a secret reads as."""

MAX_OPERATIONS = 1000
"""Of one change: each may have to look at everything that is stored."""

MAX_REASONS = 20
"""Reasons given for one refusal."""


def carry_out(
    operations: Sequence[Operation], stored: Mapping[str, str], in_file: Mapping[str, str], table: KeyTable
) -> dict[str, str]:
    """What the database holds after the operations.

    stored, in_file: what database and file say now, by settings key.  Raises AssertFailed, SettingsRefused.
    """
    if len(operations) > MAX_OPERATIONS:
        raise SettingsRefused(f"expected at most {MAX_OPERATIONS} operations")
    draft = _Draft(stored, in_file, table)
    for operation in operations:
        match operation:
            case Insert():
                draft.insert(operation)
            case Delete():
                for name in operation.keys:
                    draft.delete(name)
            case Clear():
                draft.clear(operation.prefix, (operation.filter or "").lower())
            case _:
                assert_never(operation)
    draft.check()
    return draft.values


class _Draft:
    """The settings as the operations so far leave them."""

    def __init__(self, stored: Mapping[str, str], in_file: Mapping[str, str], table: KeyTable) -> None:
        self._before = stored
        self._in_file = in_file
        self._table = table
        self._reasons: list[str] = []
        self.values: dict[str, str] = {}
        self._elements: dict[str, set[str]] = {}
        for text, value in stored.items():
            key = table.find(text)
            self._put(text, value, key)

    def insert(self, operation: Insert) -> None:
        prefix = "" if not operation.prefix else operation.prefix.removesuffix(".") + "."
        if operation.assert_empty:
            first = prefix or (operation.values[0][0] if operation.values else "")
            if first and self._is_set(first):
                raise AssertFailed
        for name, value in operation.values:
            self._write(prefix + name, value)
            if len(self._reasons) > MAX_REASONS:
                self._refuse()

    def _is_set(self, text: str) -> bool:
        """Whether a key, an element of it, or with a final dot anything below it, is set in file or database."""
        for each in (*self.values, *self._in_file):
            if each == text or (text.endswith(".") and each.startswith(text)):
                return True
            if each.startswith(text + ".") and len(each) == len(text) + 5:
                key = self._table.find(each)
                if key is not None and key.name == text:
                    return True
        return False

    def _write(self, text: str, value: str) -> None:
        if len(text) > MAX_KEY:
            self._reasons.append(f"{text[:40]}...: expected a key of at most {MAX_KEY} characters")
            return
        reason = _unfit_text(text, value)
        if reason:
            self._reasons.append(f"{text!r}: {reason}")
            return
        key = self._table.find(text)
        if is_file_alone(text):
            self._reasons.append(f"{text}: {FILE_ALONE_TEXT}")
        elif key is None:
            self._reasons.append(f"{text}: {self._table.explain(text)}")
        elif key.option.secret and value == MASK:
            self._keep(text, key)
        elif self._fits(text, key, value):
            self._store(text, key, value)

    def _fits(self, text: str, key: Key, value: str) -> bool:
        if key.is_list and key.number is None and not value:
            return True
        if key.option.secret and "%{" in value:
            return True  # what it points at is looked at when the whole is
        try:
            key.option.kind.parse([value] if key.is_list else value)
        except OptionError as error:
            self._reasons.append(f"{text}: {misfit(key.option, value, error)[1]}")
            return False
        return True

    def _store(self, text: str, key: Key, value: str) -> None:
        if not key.is_list:
            self._put(text, value, key)
            return
        if key.number is None:
            self.delete(key.name)
            self._put(key.element(0) if value else key.name, value, key)
            return
        self._drop(key.name)
        self._put(text, value, key)

    def _keep(self, text: str, key: Key) -> None:
        """The mask was written: what is stored, here or in the file, stays."""
        if text in self.values:
            return
        if text in self._before:
            self._put(text, self._before[text], key)
        elif text not in self._in_file:
            self._reasons.append(f"{text}: expected a secret: there is none that the mask could keep")
        elif key.is_list:
            self._put(text, self._in_file[text], key)

    def delete(self, text: str) -> None:
        for each in tuple(self._elements.get(text, ())):
            self._drop(each)
        self._drop(text)

    def clear(self, prefix: str, needle: str) -> None:
        for text in [each for each in self.values if each.startswith(prefix)]:
            if not needle or needle in text.lower() or needle in self._shown(text).lower():
                self._drop(text)

    def _shown(self, text: str) -> str:
        key = self._table.find(text)
        return MASK if key is not None and key.option.secret else self.values[text]

    def _put(self, text: str, value: str, key: Key | None) -> None:
        self.values[text] = value
        if key is not None and key.is_list and text != key.name:
            self._elements.setdefault(key.name, set()).add(text)

    def _drop(self, text: str) -> None:
        if self.values.pop(text, None) is None:
            return
        head, _, _ = text.rpartition(".")
        self._elements.get(head, set()).discard(text)

    def check(self) -> None:
        """Raises SettingsRefused for what was found on the way, or when there is too much."""
        if len(self.values) > MAX_KEYS:
            self._reasons.append(f"expected at most {MAX_KEYS} settings in the database, not {len(self.values)}")
        elif sum(len(value.encode()) for value in self.values.values()) > MAX_TOTAL:
            self._reasons.append(f"expected at most {MAX_TOTAL} octets of settings in the database")
        if self._reasons:
            self._refuse()

    def _refuse(self) -> None:
        raise SettingsRefused(joined(self._reasons))


def joined(reasons: Iterable[str]) -> str:
    """Reasons of a refusal, a line each, not more than are worth reading."""
    lines = list(reasons)
    more = len(lines) - MAX_REASONS
    return "\n".join(lines[:MAX_REASONS] + ([f"and {more} more"] if more > 0 else []))


def _unfit_text(text: str, value: str) -> str:
    """Why a pair cannot be stored whatever it means; "" when it can."""
    if not text.isprintable():
        return "expected a key without control characters"
    if len(value) > MAX_VALUE or len(value.encode()) > MAX_VALUE:
        return f"expected a value of at most {MAX_VALUE} octets"
    if any(char < " " and char not in "\t\r\n" for char in value) or "\x7f" in value:
        return "expected a value without control characters"
    return ""
