"""From an address to its next hop.

A recipient's domain is looked up in the directory, then in `queue.outbound.domain.<domain>`, else
`queue.outbound.next-hop` counts; each names a route or says "mx".  The answer's `key` is the recipient's domain for
direct delivery and "route:<id>" for a route, so that all mail of one smarthost shares its concurrency; "mx:<domain>" is
the domain's MX for mail that an operator sent there against the configuration.  Pure, and cheap: `destination` runs for
every recipient that is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from relayd.mail.address import AddressError, a_label
from relayd.routing.next_hop import NextHop, Protocol, TlsMode
from relayd.routing.options import DomainTlsOptions, OutboundOptions, RouteOptions

_ROUTE = "route:"
_DIRECT = "mx:"
MX = "mx"
"""In place of a route's id: the domain's MX."""
_REMEMBERED = 4096


class UnknownRoute(ValueError):
    """A key names a route that is not declared; the text says which."""


class Router:
    """Knows every route; immutable, a reload makes another.

    outbound, routes, domains: the configuration (`domains`: recipient domain to "mx" or route id).  tls: of domains.
    Raises UnknownRoute when a key names no route.
    """

    def __init__(
        self,
        outbound: OutboundOptions,
        routes: Mapping[str, RouteOptions] | None = None,
        domains: Mapping[str, str] | None = None,
        tls: Mapping[str, DomainTlsOptions] | None = None,
    ) -> None:
        self._tls = {_a_label(domain.lower().rstrip(".")): each for domain, each in (tls or {}).items()}
        self._outbound = outbound
        self._routes = {id: route_of(id, options) for id, options in (routes or {}).items()}
        self._domains = {
            _a_label(domain.lower().rstrip(".")): self._named(word) for domain, word in (domains or {}).items()
        }
        self._default = self._named(outbound.next_hop)
        self.of_directory: Mapping[str, str] = {}
        """Domains of the directory that name their next hop: "mx" or a route's id; an unknown route counts nothing."""
        self._direct: dict[str, NextHop] = {}

    def destination(self, address: str) -> str:
        """The `key` of the address's next hop."""
        domain = address.rpartition("@")[2].lower()
        if not domain.isascii():
            domain = _a_label(domain)
        named = self._of_domain(domain)
        return domain if named is None else named.key

    def _of_domain(self, domain: str) -> NextHop | None:
        """The route of a domain, None: its MX."""
        if self.of_directory and domain in self.of_directory:
            word = self.of_directory[domain]
            if word == MX or word in self._routes:
                return self._routes.get(word)
        return self._domains.get(domain, self._default) if self._domains else self._default

    def destination_by(self, address: str, next_hop: str | None) -> str:
        """The `key` for the address of a message that an operator sent by `next_hop`: a route's id, or "mx".

        None, or a route that a reload took away: what the configuration says.
        """
        usual = self.destination(address)
        if next_hop == MX:
            if not usual.startswith(_ROUTE):
                return usual
            domain = address.rpartition("@")[2].lower()
            return _DIRECT + (domain if domain.isascii() else _a_label(domain))
        route = self._routes.get(next_hop) if next_hop is not None else None
        return usual if route is None else route.key

    def under(self, next_hop: str | None) -> Callable[[str], str]:
        """`destination_by` for one next hop.  Raises UnknownRoute."""
        if next_hop is not None:
            self._named(next_hop)
        return lambda address: self.destination_by(address, next_hop)

    def next_hop(self, destination: str) -> NextHop:
        """The next hop for a destination as `destination` gave it, or for a recipient's domain.

        A route that a reload took away falls back to what the configuration now says for everything else, so that
        queued mail is not stuck.
        """
        if destination.startswith(_ROUTE):
            route = self._routes.get(destination[len(_ROUTE) :], self._default)
            if route is not None:
                return route
        if destination.startswith(_DIRECT):
            return self._mx(destination)
        named = self._of_domain(destination)
        return self._mx(destination) if named is None else named

    def reroute(self, address: str, destination: str, next_hop: str | None = None) -> str | None:
        """The address's destination when it is now another than `destination`, else None.

        next_hop: where an operator sent the message.
        """
        current = self.destination(address) if next_hop is None else self.destination_by(address, next_hop)
        return None if current == destination else current

    def is_known(self, destination: str) -> bool:
        """Whether a destination still names something: any domain, or a declared route."""
        return not destination.startswith(_ROUTE) or destination[len(_ROUTE) :] in self._routes

    @property
    def routes(self) -> Mapping[str, NextHop]:
        """The declared routes by id."""
        return self._routes

    @property
    def domains(self) -> Mapping[str, NextHop | None]:
        """The domains with a next hop of their own; None stands for their MX."""
        return self._domains

    @property
    def default(self) -> NextHop | None:
        """The next hop of every other domain; None stands for its MX."""
        return self._default

    def _named(self, word: str) -> NextHop | None:
        if word == "mx":
            return None
        try:
            return self._routes[word]
        except KeyError:
            known = ", ".join(sorted(self._routes)) or "none is declared"
            raise UnknownRoute(f'no route "{word}" (queue.route.{word}.address); known: {known}') from None

    def _mx(self, key: str) -> NextHop:
        found = self._direct.get(key)
        if found is None:
            if len(self._direct) >= _REMEMBERED:
                self._direct.clear()
            domain = key.removeprefix(_DIRECT)
            literal = domain.startswith("[")
            found = NextHop(key=key, host=domain, port=self._outbound.port, use_mx=not literal)
            tls = self._tls.get(domain)
            if tls is not None:
                found = replace(found, tls=TlsMode(tls.mode), tls_minimum=tls.min_version or "")
            self._direct[key] = found
        return found


def _a_label(domain: str) -> str:
    """The name that the DNS knows; what is no name stays as it is, and no host will be found for it."""
    try:
        return a_label(domain)
    except AddressError:
        return domain


def route_of(id: str, options: RouteOptions) -> NextHop:
    """The next hop that a route's options describe; `auth` raises its TLS to VERIFIED."""
    mode = TlsMode(options.tls_mode or "opportunistic")
    if options.username is not None:
        mode = TlsMode.VERIFIED  # a password goes to nobody whose certificate was not checked
    if options.tls_implicit and mode in (TlsMode.NONE, TlsMode.OPPORTUNISTIC):
        mode = TlsMode.REQUIRED
    return NextHop(
        key=_ROUTE + id,
        host=options.address,
        port=options.port or default_port(options),
        protocol=Protocol(options.protocol),
        use_mx=options.use_mx,
        tls=mode,
        implicit_tls=options.tls_implicit,
        tls_minimum=options.tls_minimum or "",
        username=options.username,
        password=options.secret,
        send_8bit_anyway=options.send_8bit_anyway,
        route=id,
    )


def default_port(options: RouteOptions) -> int:
    """The port of a route that names none."""
    if options.protocol == "lmtp":
        return 24
    if options.tls_implicit:
        return 465
    return 587 if options.username is not None else 25
