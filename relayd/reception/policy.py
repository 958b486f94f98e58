"""The options of reception, compiled once at (re)load into what the hot path asks.

A policy never changes; a reload makes a new one, and a transaction keeps the one it began with.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relayd.mail.address import AddressError, a_label
from relayd.mail.pattern import Names
from relayd.mailauth.examine import Examiner
from relayd.mailauth.options import AuthOptions
from relayd.options import Network, OptionError
from relayd.reception.access import AccessTable
from relayd.reception.client import Address, Client
from relayd.reception.known import KnownTable
from relayd.reception.local_names import LocalNames, addresses
from relayd.reception.options import ReceptionOptions
from relayd.reception.rewriting import RewriteTable

_PLACES = 4096
"""Domains whose place is remembered; dropped all at once when there are more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose a domain is.  relay: anyone may send to it.  local: our hostname or origin, where local names live.
    key: the domain as A-labels.  directory: it is a domain of the directory, which knows its recipients.
    """

    key: str
    relay: bool
    local: bool
    directory: bool = False

    @property
    def ours(self) -> bool:
        """Whether addresses there are taken for what they say, so that tricks in the local part matter."""
        return self.relay or self.local


class Policy:
    """Everything that is decided by configuration alone; OptionError when the options contradict themselves."""

    def __init__(self, options: ReceptionOptions) -> None:
        server = options.server
        self.options = options
        self.hostname = options.hostname
        self.limits = options.limits
        self.local_names = LocalNames(
            options.hostname, server.origin or options.hostname, server.postmaster, server.aliases
        )
        self.origin = self.local_names.origin
        self.known = KnownTable(options.known)
        self.access = AccessTable(options.access, self.origin)
        self.rewrite = RewriteTable(options.rewrite)
        self.examiner = Examiner(options.auth, _suffix_text(options.auth))
        self.authserv_id = options.auth.id or options.hostname
        self.authserv_ids = frozenset({self.authserv_id, options.hostname})
        self.redirect_all = addresses(options.redirect.redirect_all, self.origin, "queue.redirect-all")
        self._relay = Names(options.rcpt.relay_domains)
        self._places: dict[str, Place] = {}
        self._own_uids = frozenset({0, os.geteuid()})

    def place(self, domain: str) -> Place:
        """Whose `domain` (lower case) is."""
        found = self._places.get(domain)
        if found is None:
            found = self._find_place(domain)
            if len(self._places) >= _PLACES:
                self._places.clear()
            self._places[domain] = found
        return found

    def _find_place(self, domain: str) -> Place:
        try:
            key = a_label(domain)
        except AddressError:
            key = domain
        literal = key.startswith("[")
        return Place(key, not literal and self._relay.matches(key), key in self.local_names.domains)

    def trusts(self, client: Client) -> bool:
        """Whether a session may relay, by where it comes from or by who signed in.

        On a Unix socket there is no address: the submit socket is trusted; on any other one root and the daemon's own
        user are (they could write the queue itself), everyone else is a stranger.
        """
        if client.account is not None or client.role == "submit":
            return True
        if client.address is None:
            return not client.from_proxy and client.uid in self._own_uids
        return contains(self.options.rcpt.relay_networks, client.address) or contains(
            self.options.listener_networks.get(client.listener, ()), client.address
        )

    def normalises(self, client: Client) -> bool:
        """Whether bare newlines of this client are mended instead of refused."""
        data = self.options.data
        return data.bare_newlines == "normalise" or (
            client.address is not None and contains(data.bare_newlines_networks, client.address)
        )


def _suffix_text(auth: AuthOptions) -> str | None:
    """The public suffix list of a file, where one is used.  OptionError."""
    if auth.dmarc_discovery != "public-suffix-list" or auth.suffix_file is None:
        return None
    try:
        return Path(auth.suffix_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"auth.dmarc.public-suffix-file: {auth.suffix_file} cannot be read: {error}") from None


def contains(networks: Iterable[Network], address: Address) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


def unmapped(address: Address | None) -> Address | None:
    """An IPv4-mapped IPv6 address as the IPv4 address it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
