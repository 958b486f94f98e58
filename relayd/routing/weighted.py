"""Members of a pool with weights: how they are written, and which of them is next.  Pure: chance comes in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from relayd.options import OptionError

_MOST = 1_000_000


def parse_member(text: str, key: str, attributes: Collection[str] = ("weight",)) -> tuple[str, dict[str, int]]:
    """("a.example", {"weight": 3}) of "a.example weight=3".

    key: of the option, for the error.  attributes: those that may be given.  Raises OptionError.
    """
    name, *words = text.split() or [""]
    expected = " ".join(f"[{each}=NUMBER]" for each in attributes)
    if not name or "=" in name:
        raise OptionError(f'{key}: expected "NAME {expected}", not "{text}"')
    found: dict[str, int] = {}
    for word in words:
        attribute, _, number = word.partition("=")
        if attribute not in attributes or attribute in found:
            raise OptionError(f'{key}: expected {expected} behind "{name}", not "{word}"')
        if not (number.isascii() and number.isdigit()) or len(number) > 7 or int(number) > _MOST:
            raise OptionError(f'{key}: expected a whole number up to {_MOST}, not "{word}"')
        found[attribute] = int(number)
    return name, found


def pick(weights: Sequence[int], chance: Callable[[], float]) -> int:
    """The place of one member, as often as its weight says; where all weights are 0, each equally often."""
    total = sum(weights)
    if len(weights) == 1:
        return 0
    if not total:
        return int(chance() * len(weights))
    left = chance() * total
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return max(place for place, weight in enumerate(weights) if weight)


def in_turn(weights: Sequence[int], chance: Callable[[], float]) -> list[int]:
    """All places in the order to try them: the first by weight, the next by weight among the rest; those of 0 last."""
    rest = list(range(len(weights)))
    order: list[int] = []
    while rest:
        order.append(rest.pop(pick([weights[place] for place in rest], chance)))
    return order
