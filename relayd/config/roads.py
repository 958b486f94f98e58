"""Routes, rules and sources of a configuration as delivery takes them, and what no single option of theirs can know."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from relayd.config.configuration import Config, Problem
from relayd.config.listeners import is_missing
from relayd.listener.options import ListenerOptions
from relayd.mail.address import AddressError, check_domain
from relayd.options import OptionError
from relayd.routing.options import DomainOptions, DomainTlsOptions, OutboundOptions, RouteOptions
from relayd.routing.route import Router, UnknownRoute, route_of
from relayd.routing.rule import Rule, Rules
from relayd.routing.source import Sources
from relayd.routing.source_options import RuleOptions, SourceOptions, SourcePoolOptions

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2")
"""Of AUTH, as a client; the best first among those of a kind."""

_OF_TOKENS = MECHANISMS[3:]


def router_of(config: Config) -> Router:
    """Every route.  Raises OptionError, UnknownRoute."""
    return Router(
        config.section(OutboundOptions),
        config.records(RouteOptions),
        {domain: each.next_hop for domain, each in config.records(DomainOptions).items()},
        Rules(config.records(RuleOptions)),
        Sources(config.records(SourceOptions), config.records(SourcePoolOptions)),
        config.records(DomainTlsOptions),
    )


def check_roads(config: Config) -> Iterator[Problem]:
    """The problems of routes, rules and sources, those of `queue.outbound` apart."""
    found = list(_parts(config))
    yield from found
    if not found:
        try:
            router_of(config)
        except OptionError as error:
            yield _problem(error)
        except UnknownRoute:
            pass  # `checks` names the key
    yield from _check_domains(config)
    yield from _check_rules(config)
    for name, route in config.records(RouteOptions).items():
        yield from _check_auth(f"queue.route.{name}.auth", route)
        yield from _check_certificate(f"queue.route.{name}.tls", route)


def _parts(config: Config) -> Iterator[Problem]:
    """What is wrong with each record for itself, so that all are named at once."""
    routes = config.records(RouteOptions)
    for id, options in routes.items():
        try:
            route_of(id, options)
        except OptionError as error:
            yield _problem(error)
    known = ", ".join(f'"{each}"' for each in ("mx", *routes))
    for id, rule in config.records(RuleOptions).items():
        try:
            Rule(id, rule)
        except OptionError as error:
            yield _problem(error)
        if rule.next_hop not in (None, "mx") and rule.next_hop not in routes:
            key = f"queue.rule.{id}.next-hop"
            yield Problem(key, f'there is no route "{rule.next_hop}"; expected one of {known}')
    try:
        Sources(config.records(SourceOptions), config.records(SourcePoolOptions))
    except OptionError as error:
        yield _problem(error)


def _check_domains(config: Config) -> Iterator[Problem]:
    """What is no domain name would never be looked up: nobody may think that it counts."""
    for section, domains in (
        ("queue.outbound.domain", config.records(DomainOptions)),
        ("queue.outbound.tls.domain", config.records(DomainTlsOptions)),
    ):
        for domain in domains:
            try:
                check_domain(domain.rstrip(".").replace("_", "x"), True)
            except AddressError:
                yield Problem(f"{section}.{domain}", f'expected the name of one domain, not "{domain}"')


def _check_rules(config: Config) -> Iterator[Problem]:
    """Listeners that are not there, of rules that match no mail then."""
    known = config.records(ListenerOptions)
    for id, rule in config.records(RuleOptions).items():
        for name in rule.listener:
            if name not in known and name != "submit" and "*" not in name:
                yield Problem(f"queue.rule.{id}.listener", f'there is no listener "{name}"', fatal=False)


def _problem(error: OptionError) -> Problem:
    key, _, text = str(error).partition(": ")
    return Problem(key, text)


def _check_auth(key: str, route: RouteOptions) -> Iterator[Problem]:
    for name in route.mechanisms:
        if name.upper() not in MECHANISMS:
            yield Problem(f"{key}.mechanisms", f'expected some of {", ".join(MECHANISMS)}, not "{name}"')
        elif (name.upper() in _OF_TOKENS) != (route.token_url is not None):
            kind = "takes a token (auth.oauth.token-url)" if name.upper() in _OF_TOKENS else "takes a password"
            yield Problem(f"{key}.mechanisms", f"{name.upper()} {kind}, which this route does not have")
    url = route.token_url
    if url is not None and not _is_token_url(url):
        yield Problem(f"{key}.oauth.token-url", f'expected an https URL (http on loopback), not "{url}"')
    if url is not None and route.secret is not None:
        yield Problem(f"{key}.secret", "is not used: this route signs in with tokens", fatal=False)


def _is_token_url(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2].rpartition(":")[0] or rest.partition("/")[0]
    return bool(rest) and (scheme == "https" or (scheme == "http" and host in ("127.0.0.1", "localhost", "[::1]")))


def _check_certificate(key: str, route: RouteOptions) -> Iterator[Problem]:
    if route.tls_cert is None:
        if route.tls_private_key is not None:
            yield Problem(f"{key}.cert", "is missing: a private key is shown with its certificate")
        return
    missing = False
    for name, path in (("cert", route.tls_cert), ("private-key", route.tls_private_key)):
        if path is not None and is_missing(path):
            missing = True
            yield Problem(f"{key}.{name}", f"expected a file: {path} is not there")
    if missing:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(route.tls_cert, route.tls_private_key, "")
    except ssl.SSLError as error:
        yield Problem(f"{key}.cert", f"expected a certificate and its key: {error.reason or error}")
    except OSError:
        return  # the daemon's user may read what the one who asks may not
