"""Local names: postmaster and the aliases of `server.aliases`, and what a recipient stands for.

They live at the host's own name, at `server.origin`, at address literals of ours, and (postmaster) in every relay
domain.  Whatever the configuration says, mail to postmaster is either sent somewhere or held, never refused
(RFC 5321 §4.5.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from relayd.mail.address import AddressError, parse_address, qualify, split_address
from relayd.options import OptionError

MAX_DEPTH = 10
"""Aliases that stand for aliases are followed so far."""

MAX_TARGETS = 1000
"""Addresses that one alias may stand for in the end."""


class LocalNames:
    """What local names stand for.  hostname, origin: domains, lower case.  aliases: "name: address, address"."""

    def __init__(self, hostname: str, origin: str, postmaster: str | None, aliases: Iterable[str]) -> None:
        self.origin = origin.lower()
        self.domains = frozenset({hostname.lower(), self.origin})
        self._aliases: dict[str, tuple[str, ...]] = {}
        for line in aliases:
            name, targets = _parse_alias(line, self.origin)
            self._aliases[name] = targets
        if postmaster:
            self._aliases["postmaster"] = addresses((postmaster,), self.origin, "server.postmaster")
        elif "postmaster" not in self._aliases and "root" in self._aliases:
            self._aliases["postmaster"] = self._aliases["root"]
        self._targets = {name: self._flatten(name) for name in self._aliases}

    def targets(self, name: str) -> tuple[str, ...] | None:
        """The addresses a local name (unquoted, any case) stands for; None when it is no alias."""
        return self._targets.get(name.lower())

    @property
    def postmaster(self) -> tuple[str, ...]:
        """Where mail to postmaster goes; empty when nobody said."""
        return self._targets.get("postmaster", ())

    def _flatten(self, name: str) -> tuple[str, ...]:
        """Addresses at the end of every alias that `name` leads to; an alias that leads to itself is left there."""
        ends: dict[str, None] = {}
        seen = {name}
        level = list(self._aliases[name])
        for _ in range(MAX_DEPTH):
            deeper: list[str] = []
            for address in level:
                local, domain = split_address(address)
                known = domain in self.domains and local.lower() in self._aliases
                if not known:
                    ends[address] = None
                elif local.lower() not in seen:
                    seen.add(local.lower())
                    deeper.extend(self._aliases[local.lower()])
            if not deeper:
                break
            level = deeper
        else:
            raise OptionError(f"server.aliases: {name} leads through more than {MAX_DEPTH} aliases")
        if not ends:
            raise OptionError(f"server.aliases: {name} leads to itself only")
        if len(ends) > MAX_TARGETS:
            raise OptionError(f"server.aliases: {name} stands for more than {MAX_TARGETS} addresses")
        return tuple(ends)


def _parse_alias(line: str, origin: str) -> tuple[str, tuple[str, ...]]:
    name, colon, rest = line.partition(":")
    name = name.strip().strip('"').lower()
    targets = [each.strip() for each in rest.split(",") if each.strip()]
    if not colon or not name or "@" in name or not targets:
        raise OptionError(f'server.aliases: expected "name: address, address", not "{line}"')
    return name, addresses(targets, origin, f"server.aliases: {name}")


def addresses(values: Iterable[str], origin: str, key: str) -> tuple[str, ...]:
    """Addresses of the configuration, bare names qualified with `origin`; OptionError naming `key`."""
    return tuple(_address(qualify(value.strip(), origin), key) for value in values)


def _address(text: str, key: str) -> str:
    try:
        return parse_address(text, smtputf8=True)
    except AddressError as error:
        raise OptionError(f'{key}: "{text}" is no address: {error.text}') from error
