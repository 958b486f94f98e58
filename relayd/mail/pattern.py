"""Patterns of tables that operators write: exact values, domains and globs, matched in linear time.

A glob knows one special character, "*", any run of characters; each part between stars is searched once, from left to
right, so no pattern and no hostile value can make a match slow.  Nothing here tells upper case from lower.
"""

from __future__ import annotations

from collections.abc import Iterable

from relayd.mail.address import AddressError, a_label, split_address


class Glob:
    """One pattern with stars."""

    __slots__ = ("_first", "_last", "_middle")

    def __init__(self, text: str) -> None:
        first, *rest = text.lower().split("*")
        self._first = first
        self._last = rest.pop() if rest else None
        self._middle = [part for part in rest if part]

    def matches(self, value: str) -> bool:
        """Whether the whole of `value`, given in lower case, fits."""
        if self._last is None:
            return value == self._first
        end = len(value) - len(self._last)
        place = len(self._first)
        if end < place or not value.startswith(self._first) or not value.endswith(self._last):
            return False
        for part in self._middle:
            found = value.find(part, place, end)
            if found < 0:
                return False
            place = found + len(part)
        return True


class Names:
    """A set of names: exact ones, globs and (for hosts) ".suffix" for everything below a domain."""

    __slots__ = ("_exact", "_globs", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact: set[str] = set()
        suffixes: list[str] = []
        globs: list[Glob] = []
        for pattern in patterns:
            text = pattern.lower()
            if text.startswith("*.") and "*" not in text[1:]:
                text = text[1:]
            if "*" in text:
                globs.append(Glob(text))
            elif text.startswith("."):
                suffixes.append(_comparable(text))
            else:
                exact.add(_comparable(text))
        self._exact = frozenset(exact)
        self._suffixes = tuple(suffixes)
        self._globs = tuple(globs)

    def __bool__(self) -> bool:
        return bool(self._exact or self._suffixes or self._globs)

    def matches(self, name: str) -> bool:
        """Whether one pattern fits the name."""
        name = _comparable(name)
        return (
            name in self._exact
            or (bool(self._suffixes) and name.endswith(self._suffixes))
            or any(glob.matches(name) for glob in self._globs)
        )


class Addresses:
    """A set of addresses: "a@b.c", "b.c" or "@b.c" (the domain), ".b.c" (domains below it), "*@*.c", "<>"."""

    __slots__ = ("_domains", "_exact", "_globs", "_null")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact: set[str] = set()
        domains: list[str] = []
        globs: list[Glob] = []
        self._null = False
        for pattern in patterns:
            text = pattern.strip().lower()
            local, at, domain = text.rpartition("@")
            if text in ("<>", ""):
                self._null = True
            elif not local:
                domains.append(domain)
            elif "*" in text:
                globs.append(Glob(text))
            else:
                exact.add(f"{local}{at}{_comparable(domain)}")
        self._exact = frozenset(exact)
        self._domains = Names(domains)
        self._globs = tuple(globs)

    def __bool__(self) -> bool:
        return self._null or bool(self._exact or self._domains or self._globs)

    def matches(self, address: str) -> bool:
        """Whether one pattern fits the address; "" is the null return path."""
        if not address:
            return self._null
        local, domain = split_address(address.lower())
        domain = _comparable(domain)
        whole = f"{local}@{domain}"
        return (
            whole in self._exact
            or (bool(self._domains) and self._domains.matches(domain))
            or any(glob.matches(whole) for glob in self._globs)
        )


def _comparable(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    try:
        return ("." if domain[0] == "." else "") + a_label(domain.lstrip("."))
    except AddressError:
        return domain.lower()
