"""What a JSON answer must look like: `check(value, shape)` says where it does not.

A shape is a type (exact: a bool is no int), a compiled pattern that the whole text must match, a list of one shape for
all items, a dict with exactly these keys (`Maybe(shape)`: the key may be missing), `Either(...)`, a function that says
yes or no, or a value that must be equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Maybe:
    """The key may be missing."""

    shape: Any


@dataclass(frozen=True)
class Every:
    """A dict of any keys whose values have the shape."""

    shape: Any


class Either:
    """One of several shapes."""

    def __init__(self, *shapes: Any) -> None:
        self.shapes = shapes


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""RFC 3339, UTC, whole seconds."""

BLOB = re.compile(r"[A-Za-z0-9_-]{43}")
"""BLAKE3 in base64url without padding."""

BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
"""Standard, padded."""


def check(value: Any, shape: Any, at: str = "answer") -> None:
    """AssertionError, with the place, when `value` has not the shape."""
    if isinstance(shape, type):
        assert type(value) is shape, f"{at}: {value!r} is no {shape.__name__}"
    elif isinstance(shape, re.Pattern):
        assert isinstance(value, str), f"{at}: {value!r} is no text"
        assert shape.fullmatch(value), f"{at}: {value!r} is not {shape.pattern}"
    elif isinstance(shape, Either):
        _check_either(value, shape, at)
    elif isinstance(shape, Every):
        assert isinstance(value, dict), f"{at}: {value!r} is no object"
        for name, each in value.items():
            check(each, shape.shape, f"{at}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{at}: {value!r} is no list"
        for number, each in enumerate(value):
            check(each, shape[0], f"{at}[{number}]")
    elif isinstance(shape, dict):
        _check_members(value, shape, at)
    elif isinstance(shape, Callable):  # type: ignore[arg-type]  # a protocol of one method
        assert shape(value), f"{at}: {value!r} is none of {shape.__name__}"
    else:
        assert type(value) is type(shape), f"{at}: {value!r} is not {shape!r}"
        assert value == shape, f"{at}: {value!r} is not {shape!r}"


def _check_either(value: Any, shape: Either, at: str) -> None:
    told = []
    for each in shape.shapes:
        try:
            check(value, each, at)
            return
        except AssertionError as error:
            told.append(str(error))
    raise AssertionError(" and ".join(told))


def _check_members(value: Any, shape: dict[str, Any], at: str) -> None:
    assert isinstance(value, dict), f"{at}: {value!r} is no object"
    needed = {name for name, each in shape.items() if not isinstance(each, Maybe)}
    assert needed <= value.keys(), f"{at}: without {sorted(needed - value.keys())}"
    assert value.keys() <= shape.keys(), f"{at}: with {sorted(value.keys() - shape.keys())} too"
    for name, each in value.items():
        inner = shape[name]
        check(each, inner.shape if isinstance(inner, Maybe) else inner, f"{at}.{name}")
