"""From an address to its next hop.

A recipient's domain is looked up in the directory, then in `queue.outbound.domain.<domain>`, else
`queue.outbound.next-hop` counts; each names a route or says "mx".  The answer's `key` is the recipient's domain for
direct delivery and "route:<id>" for a route, so that all mail of one smarthost shares its concurrency; "mx:<domain>" is
the domain's MX for mail that an operator sent there against the configuration.  Pure, and cheap: `destination` runs for
every recipient that is accepted.

Rules (`queue.rule`) come before that: see `routing.rule`.  What an operator says comes before all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from relayd.mail.address import AddressError, a_label
from relayd.options import OptionError
from relayd.routing.next_hop import NextHop, Protocol, TlsMode, TokenGrant
from relayd.routing.options import DomainTlsOptions, OutboundOptions, RouteOptions
from relayd.routing.rule import Rules
from relayd.routing.smarthost import Allowance, Smarthost
from relayd.routing.source import SourcePool, Sources
from relayd.routing.weighted import parse_member

_ROUTE = "route:"
_DIRECT = "mx:"
MX = "mx"
"""In place of a route's id: the domain's MX."""
_REMEMBERED = 4096


class UnknownRoute(ValueError):
    """A key names a route that is not declared; the text says which."""


class Router:
    """Knows every route; immutable, a reload makes another.

    outbound, routes, domains: the configuration (`domains`: recipient domain to "mx" or route id).  rules: looked at
    when a message is taken.  tls: of domains.  Raises UnknownRoute or UnknownSource when a key names what is not
    declared, OptionError.
    """

    def __init__(
        self,
        outbound: OutboundOptions,
        routes: Mapping[str, RouteOptions] | None = None,
        domains: Mapping[str, str] | None = None,
        rules: Rules | None = None,
        sources: Sources | None = None,
        tls: Mapping[str, DomainTlsOptions] | None = None,
    ) -> None:
        self._tls = {_a_label(domain.lower().rstrip(".")): each for domain, each in (tls or {}).items()}
        self._outbound = outbound
        options_of = routes or {}
        self._routes = {id: route_of(id, options) for id, options in options_of.items()}
        self.hosts = _hosts(self._routes, options_of)
        self.rules = Rules() if rules is None else rules
        self.sources = Sources() if sources is None else sources
        self._source = self.sources.named(outbound.source, "queue.outbound.source")
        self._route_sources = {
            id: self.sources.named(options.source, f"queue.route.{id}.source")
            for id, options in options_of.items()
            if options.source is not None
        }
        self._rule_sources = {
            rule.id: self.sources.named(rule.source, f"queue.rule.{rule.id}.source")
            for rule in self.rules
            if rule.source is not None
        }
        for rule in self.rules:
            if rule.next_hop is not None:
                self._named(rule.next_hop)
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

    def destination_by(self, address: str, next_hop: str | None, rules: Sequence[str] = ()) -> str:
        """The `key` for the address of a message that an operator sent by `next_hop`: a route's id, or "mx".

        None, or a route that a reload took away: what the first of `rules` says that is about it, else the domain.
        """
        usual = self.destination(address)
        if rules:
            rule = self.rules.of(rules, address)
            if rule is not None and rule.next_hop is not None:
                usual = self._chosen(address, usual, rule.next_hop)
        return self._chosen(address, usual, next_hop)

    def _chosen(self, address: str, usual: str, next_hop: str | None) -> str:
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

    def reroute(
        self, address: str, destination: str, next_hop: str | None = None, rules: Sequence[str] = ()
    ) -> str | None:
        """The address's destination when it is now another than `destination`, else None.

        next_hop: where an operator sent the message.  rules: those that matched it.
        """
        if next_hop is None and not rules:
            current = self.destination(address)
        else:
            current = self.destination_by(address, next_hop, rules)
        return None if current == destination else current

    def source(self, next_hop: NextHop, rules: Sequence[str], address: str) -> SourcePool | None:
        """Where mail for `address` leaves from on its way to `next_hop`; None: as the system chooses.

        rules: those that matched the message.
        """
        if rules and self._rule_sources:
            rule = self.rules.of(rules, address)
            if rule is not None and rule.source is not None:
                return self._rule_sources[rule.id]
        if self._route_sources and next_hop.route in self._route_sources:
            return self._route_sources[next_hop.route]
        return self._source

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
    """The next hop of a route, at its `address`; `auth` raises its TLS to VERIFIED.  Raises OptionError."""
    mode = TlsMode(options.tls_mode or "opportunistic")
    if options.username is not None:
        mode = TlsMode.VERIFIED  # a password goes to nobody whose certificate was not checked
    if options.tls_implicit and mode in (TlsMode.NONE, TlsMode.OPPORTUNISTIC):
        mode = TlsMode.REQUIRED
    key = f"queue.route.{id}"
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
        mechanisms=tuple(each.upper() for each in options.mechanisms),
        grant=_grant(key, options),
        send_8bit_anyway=options.send_8bit_anyway,
        route=id,
    )


_ATTRIBUTES = ("weight", "hour", "day", "connections")


def _hosts(routes: Mapping[str, NextHop], options_of: Mapping[str, RouteOptions]) -> dict[str, tuple[Smarthost, ...]]:
    """The hosts of the routes that have several, or budgets, by id.  Raises OptionError."""
    found = {}
    for id, options in options_of.items():
        usual = Allowance(hour=options.messages_per_hour, day=options.messages_per_day, connections=options.connections)
        if options.hosts or usual:
            first = Smarthost(hop=routes[id], weight=options.weight, allowance=usual)
            others = (_host(routes[id], text, usual, f"queue.route.{id}.hosts") for text in options.hosts)
            found[id] = (first, *others)
            names = [each.name for each in found[id]]
            if len(set(names)) < len(names):
                raise OptionError(f"queue.route.{id}.hosts: a host is named twice")
    return found


def _host(route: NextHop, text: str, usual: Allowance, key: str) -> Smarthost:
    address, attributes = parse_member(text, key, _ATTRIBUTES)
    host, port = host_and_port(address, route.port, key)
    return Smarthost(
        hop=replace(route, host=host, port=port),
        weight=attributes.get("weight", 1),
        allowance=Allowance(
            hour=attributes.get("hour", usual.hour),
            day=attributes.get("day", usual.day),
            connections=attributes.get("connections", usual.connections),
        ),
    )


def host_and_port(address: str, usual: int, key: str) -> tuple[str, int]:
    """Of "a.example:2525", "192.0.2.1", "[2001:db8::1]:25", "2001:db8::1" or "unix:/path".

    usual: the port of who names none.  key: of the option.  Raises OptionError.
    """
    if address.startswith("unix:"):
        return address, usual
    host, port = address, ""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
    if not port:
        return host, usual
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise OptionError(f'{key}: expected a port from 1 to 65535 behind the host, not "{port}"')
    return host, int(port)


def _grant(key: str, options: RouteOptions) -> TokenGrant | None:
    """How tokens are had, when that is said.  Raises OptionError."""
    if options.token_url is None:
        if options.client_id or options.client_secret or options.refresh_token or options.scopes:
            raise OptionError(f"{key}.auth.oauth.token-url: is missing: that is where tokens are asked for")
        return None
    if options.username is None:
        raise OptionError(f"{key}.auth.username: is missing: a token is given for a user")
    if options.client_id is None:
        raise OptionError(f"{key}.auth.oauth.client-id: is missing: the token's server asks for it")
    if options.client_secret is None and options.refresh_token is None:
        raise OptionError(f"{key}.auth.oauth.client-secret: is missing: tokens need it, or a refresh-token")
    return TokenGrant(
        url=options.token_url,
        client_id=options.client_id,
        client_secret=options.client_secret,
        refresh_token=options.refresh_token,
        scopes=options.scopes,
    )


def default_port(options: RouteOptions) -> int:
    """The port of a route that names none."""
    if options.protocol == "lmtp":
        return 24
    if options.tls_implicit:
        return 465
    return 587 if options.username is not None else 25
