"""Sources: the addresses of this machine that mail leaves from, each with its EHLO name, and pools of them.

A route, a rule or the whole outbound side names a source or a pool.  Which one of a pool an attempt takes is decided
anew for each, by weight, among those that are not suspended.  Pure: chance comes in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relayd.mail.address import AddressError, check_domain
from relayd.options import OptionError
from relayd.routing.source_options import SourceOptions, SourcePoolOptions
from relayd.routing.weighted import parse_member, pick

PREFIX = "source:"
"""In front of a source's id where it stands beside destinations: in suspensions."""


class UnknownSource(OptionError):
    """A key names a source that is not declared; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where connections leave from.  address, address_v6: of this machine, None: none of that family.

    ehlo: the name given there, None for the usual one.
    """

    id: str
    address: str | None = None
    address_v6: str | None = None
    ehlo: str | None = None

    @property
    def key(self) -> str:
        """Its name in suspensions."""
        return PREFIX + self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePool:
    """Sources that share mail by weight; those of weight 0 take none.  A source alone is a pool of one."""

    id: str
    members: tuple[Source, ...]
    weights: tuple[int, ...]

    def choose(self, chance: Callable[[], float], is_suspended: Callable[[str], bool]) -> Source | None:
        """The source for one attempt; None when all are suspended.  is_suspended: asked with a source's `key`."""
        left = [
            (source, weight)
            for source, weight in zip(self.members, self.weights, strict=True)
            if weight and not is_suspended(source.key)
        ]
        if not left:
            return None
        return left[pick([weight for _, weight in left], chance)][0]


class Sources:
    """All sources and pools of a configuration.  Raises OptionError, UnknownSource."""

    def __init__(
        self,
        sources: Mapping[str, SourceOptions] | None = None,
        pools: Mapping[str, SourcePoolOptions] | None = None,
    ) -> None:
        self.sources = {id: _source(id, options) for id, options in (sources or {}).items()}
        self.pools = {id: self._pool(id, options) for id, options in (pools or {}).items()}
        both = sorted(self.sources.keys() & self.pools.keys())
        if both:
            raise OptionError(f"queue.source-pool.{both[0]}: a source has the same id, and both are named by it")

    def named(self, word: str | None, key: str) -> SourcePool | None:
        """The pool, or the source as a pool of one, that the option `key` names; None for None.  UnknownSource."""
        if word is None:
            return None
        pool = self.pools.get(word)
        if pool is not None:
            return pool
        return SourcePool(id=word, members=(self._member(word, key),), weights=(1,))

    def _pool(self, id: str, options: SourcePoolOptions) -> SourcePool:
        key = f"queue.source-pool.{id}.sources"
        parsed = [parse_member(text, key) for text in options.sources]
        weights = tuple(attributes.get("weight", 1) for _, attributes in parsed)
        if not any(weights):
            raise OptionError(f"{key}: expected a source of a weight over 0")
        return SourcePool(id=id, members=tuple(self._member(name, key) for name, _ in parsed), weights=weights)

    def _member(self, name: str, key: str) -> Source:
        try:
            return self.sources[name]
        except KeyError:
            known = ", ".join(sorted([*self.sources, *getattr(self, "pools", ())])) or "none is declared"
            raise UnknownSource(f'{key}: no source "{name}" (queue.source.{name}.address); known: {known}') from None


def _source(id: str, options: SourceOptions) -> Source:
    key = f"queue.source.{id}"
    if options.address is None and options.address_v6 is None:
        raise OptionError(f"{key}.address: is missing: a source has an IPv4 or an IPv6 address, or both")
    if options.ehlo is not None:
        try:
            check_domain(options.ehlo, False)
        except AddressError as error:
            raise OptionError(f"{key}.ehlo: expected a host name or address literal: {error.text}") from None
    return Source(
        id=id,
        address=_address(options.address, 4, f"{key}.address"),
        address_v6=_address(options.address_v6, 6, f"{key}.address-v6"),
        ehlo=options.ehlo,
    )


def _address(text: str | None, version: int, key: str) -> str | None:
    if text is None:
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None or found.version != version or found.is_multicast:
        raise OptionError(f'{key}: expected an IPv{version} address, not "{text}"')
    return str(found)
