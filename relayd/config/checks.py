"""What no single option can know: whether the options of several sections fit together and the machine has what they
name.  Called after every value has been found good for itself."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from relayd.config.configuration import Config, Problem
from relayd.config.decisions import check_decisions
from relayd.config.listeners import check_listeners, is_missing
from relayd.config.roads import check_roads
from relayd.control.options import FallbackAdminOptions
from relayd.directory.account import API_KEY
from relayd.directory.options import AccountOptions
from relayd.filters.options import FilterOptions, MilterOptions
from relayd.listener.options import ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.signature_options import SignatureOptions
from relayd.options import OptionError
from relayd.reception.options import AccessOptions, KnownOptions, RcptOptions, RedirectOptions
from relayd.resolver.options import ResolverOptions
from relayd.routing.options import BounceRuleOptions, DomainOptions, OutboundOptions, RouteOptions, ScheduleOptions
from relayd.routing.shaping.options import ProviderOptions, ShapingOptions
from relayd.spam.geo_options import GeoOptions


def check(config: Config) -> list[Problem]:
    """All problems between the sections; the fatal ones are errors, the others warnings."""
    return [
        *_check_server(config),
        *check_listeners(config),
        *_check_accounts(config),
        *_check_relaying(config),
        *_check_known_recipients(config),
        *_check_access(config),
        *_check_redirect(config),
        *_check_authentication(config),
        *check_decisions(config),
        *_check_routes(config),
        *check_roads(config),
        *_check_bounces(config),
        *_check_shaping(config),
        *_check_geo(config),
        *_check_filters(config),
        *_check_resolver(config),
        *_check_schedule(config),
    ]


def _check_server(config: Config) -> Iterator[Problem]:
    server = config.section(ServerOptions)
    if server.postmaster is None:
        text = "is not set: mail to postmaster is held, double bounces and alerts have no place to go"
        yield Problem("server.postmaster", text, fatal=False)
    if server.loop == "uvloop" and find_spec("uvloop") is None:
        yield Problem("server.loop", 'uvloop is not installed (extra "speed"); expected "auto" or "asyncio"')


def _check_accounts(config: Config) -> Iterator[Problem]:
    admin = config.section(FallbackAdminOptions)
    if (admin.user is None) != (admin.secret is None):
        missing = "secret" if admin.secret is None else "user"
        text = "is missing: the fallback administrator has both user and secret"
        yield Problem(f"authentication.fallback-admin.{missing}", text)
    if admin.secret:
        yield from _check_secret("authentication.fallback-admin.secret", admin.secret)
    seen: dict[str, str] = {}
    for name, account in config.records(AccountOptions).items():
        same = seen.setdefault(name.strip().lower(), name)
        if same != name:
            yield Problem(f"account.{name}", f'is the same login as "{same}": case does not count')
        if admin.user is not None and name.strip().lower() == admin.user.strip().lower():
            text = "has the name of the fallback administrator, who signs in to the control socket instead"
            yield Problem(f"account.{name}", text, fatal=False)
        if not account.emails and account.type_ == "individual":
            text = "is not set: the account can send with an empty return path only"
            yield Problem(f"account.{name}.emails", text, fatal=False)
        if not account.secret:
            yield Problem(f"account.{name}.secret", "is empty: nobody can sign in with it", fatal=False)
        else:
            yield from _check_secret(f"account.{name}.secret", account.secret)
        if account.otp is not None:
            from relayd.directory.totp import BadTotp, parse_totp  # brings pyotp: only where it is asked for

            try:
                parse_totp(account.otp)
            except BadTotp as error:
                yield Problem(f"account.{name}.otp", str(error))
            if account.type_ == API_KEY:
                yield Problem(f"account.{name}.otp", "means nothing: an API key is asked for no codes", fatal=False)


def _check_secret(key: str, stored: str) -> Iterator[Problem]:
    from relayd.directory.password import is_hash, problem_of  # brings argon2: not for every command

    problem = problem_of(stored)
    if problem is not None:
        yield Problem(key, problem)
    elif not is_hash(stored):
        yield Problem(key, "is plain text: store what `relayd account hash` makes of it", fatal=False)


def _check_relaying(config: Config) -> Iterator[Problem]:
    rcpt = config.section(RcptOptions)
    text = "makes an open relay: everybody in this network may send to any domain"
    for network in rcpt.relay_networks:
        if network.prefixlen == 0:
            yield Problem("session.rcpt.relay-networks", f"{network} {text}", fatal=False)
    for name, listener in config.records(ListenerOptions).items():
        for network in listener.relay_networks:
            if network.prefixlen == 0:
                yield Problem(f"server.listener.{name}.relay-networks", f"{network} {text}", fatal=False)


def _check_known_recipients(config: Config) -> Iterator[Problem]:
    relay_domains = config.section(RcptOptions).relay_domains
    for name, known in config.records(KnownOptions).items():
        key = f"session.rcpt.known.{name}"
        if known.check == "any":
            domains = ", ".join(known.domains)
            text = f"every recipient of {domains} is taken: what does not exist bounces to forged senders"
            yield Problem(f"{key}.check", text, fatal=False)
        if known.check == "list" and not known.list_:
            yield Problem(f"{key}.list", 'expected addresses: check = "list" and none is listed')
        if known.check == "file":
            if known.file is None:
                yield Problem(f"{key}.file", 'expected a path: check = "file" and none is given')
            elif is_missing(known.file):
                yield Problem(f"{key}.file", f"expected a file: {known.file} is not there")
        for domain in known.domains:
            if not any(_covers(pattern, domain) for pattern in relay_domains):
                text = f"{domain} is no relay domain (session.rcpt.relay-domains): this says nothing"
                yield Problem(f"{key}.domains", text, fatal=False)


def _covers(pattern: str, domain: str) -> bool:
    """Whether a pattern of relay-domains includes a domain or every domain of another pattern."""
    pattern, domain = pattern.removeprefix("*"), domain.removeprefix("*")
    return domain == pattern or (pattern.startswith(".") and domain.endswith(pattern))


def _check_authentication(config: Config) -> Iterator[Problem]:
    auth = config.section(AuthOptions)
    unseen = [
        key
        for key, mode in (("spf.verify.mail-from", auth.spf_mail_from), ("dkim.verify", auth.dkim))
        if mode == "disabled"
    ]
    if auth.dmarc == "strict" and unseen:
        text = f"nothing fails DMARC while auth.{unseen[0]} is disabled: what is not looked at may speak for a message"
        yield Problem("auth.dmarc.verify", text, fatal=False)
    if auth.arc_seal is not None and auth.arc_seal not in config.records(SignatureOptions):
        yield Problem("auth.arc.seal", f'there is no signature "{auth.arc_seal}"')
    elif auth.arc_seal is not None and auth.arc == "disabled":
        text = "nothing is sealed while auth.arc.verify is disabled: a seal says whether the chain before it holds"
        yield Problem("auth.arc.seal", text, fatal=False)
    file = auth.suffix_file
    if auth.dmarc_discovery == "public-suffix-list" and file is not None and is_missing(file):
        yield Problem("auth.dmarc.public-suffix-file", f"expected a file: {file} is not there")


def _check_geo(config: Config) -> Iterator[Problem]:
    options = config.section(GeoOptions)
    if options.asn_file is None and options.country_file is None:
        return  # as for bounces
    from relayd.reception.geo_files import named, open_file

    for key, path in named(options):
        try:
            open_file(key, path)
        except OptionError as error:
            if not isinstance(error.__context__, PermissionError):  # the daemon's user may read it
                yield Problem(key, str(error).partition(": ")[2])


def _check_redirect(config: Config) -> Iterator[Problem]:
    targets = config.section(RedirectOptions).redirect_all
    if targets:
        yield Problem("queue.redirect-all", f"is set: all mail goes to {', '.join(targets)}", fatal=False)


def _check_access(config: Config) -> Iterator[Problem]:
    listeners = config.records(ListenerOptions)
    for name, rule in config.records(AccessOptions).items():
        key = f"access.{name}"
        for listener in rule.listener:
            if listener not in listeners and listener != "submit" and "*" not in listener:
                yield Problem(f"{key}.listener", f'there is no listener "{listener}"', fatal=False)


def _check_bounces(config: Config) -> Iterator[Problem]:
    # only where it is asked for: commands that look for the daemon load the configuration too, and start fast
    if config.section(BounceRuleOptions).rules is None:
        return
    from relayd.config.bounces import KEY as BOUNCE_RULES
    from relayd.config.bounces import MayNotRead, bounce_rules

    try:
        bounce_rules(config)
    except MayNotRead:
        return  # the daemon's user may read what the one who asks may not
    except OptionError as error:
        yield Problem(BOUNCE_RULES, str(error).removeprefix(f"{BOUNCE_RULES}: "))


def _check_shaping(config: Config) -> Iterator[Problem]:
    records = config.records(ShapingOptions)
    if not records and config.section(ProviderOptions).rules is None:
        return  # as for bounces: what nobody changed need not be read
    from relayd.config.bounces import MayNotRead
    from relayd.config.shaping import KEY as SHAPING_RULES
    from relayd.config.shaping import shaping_rules, shipped_shaping

    known = set(shipped_shaping().providers)
    try:
        known |= shaping_rules(config, records={}).named
    except MayNotRead:
        pass  # the daemon's user may read what the one who asks may not
    except OptionError as error:
        yield Problem(SHAPING_RULES, str(error).removeprefix(f"{SHAPING_RULES}: "))
    routes = config.records(RouteOptions)
    for id, options in records.items():
        for route in options.routes:
            if route not in routes:
                yield Problem(f"queue.shaping.{id}.routes", f'there is no route "{route}"', fatal=False)
        if id not in known and not (options.domains or options.mx or options.routes):
            text = "names no destination: expected domains, mx or routes, or one of the ids of conf/shaping.toml"
            yield Problem(f"queue.shaping.{id}", text, fatal=False)


def _check_routes(config: Config) -> Iterator[Problem]:
    routes = config.records(RouteOptions)
    known = ", ".join(f'"{each}"' for each in ("mx", *routes))
    outbound = config.section(OutboundOptions)
    named = {"queue.outbound.next-hop": outbound.next_hop}
    for domain, options in config.records(DomainOptions).items():
        named[f"queue.outbound.domain.{domain}"] = options.next_hop
    for key, route in named.items():
        if route != "mx" and route not in routes:
            yield Problem(key, f'there is no route "{route}"; expected one of {known}')
    files = {"queue.outbound.tls.ca-files": outbound.ca_files}
    for name, options_ in routes.items():
        files[f"queue.route.{name}.tls.ca-files"] = options_.tls_ca_files
        yield from _check_route(name, options_)
    for key, paths in files.items():
        yield from _check_authorities(key, paths)


def _check_filters(config: Config) -> Iterator[Problem]:
    filters: dict[str, FilterOptions | MilterOptions] = {}
    filters |= {f"filter.{id}": each for id, each in config.records(FilterOptions).items()}
    filters |= {f"milter.{id}": each for id, each in config.records(MilterOptions).items()}
    for key, each in filters.items():
        if each.tls_enable and each.address.path:
            yield Problem(f"{key}.tls.enable", f"needs an address of TCP, and {each.address} is a Unix socket")
        yield from _check_authorities(f"{key}.tls.ca-files", each.tls_ca_files)


def _check_authorities(key: str, paths: Iterable[str]) -> Iterator[Problem]:
    for path in paths:
        if is_missing(path):
            yield Problem(key, f"expected a file: {path} is not there")
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except ssl.SSLError as error:
            yield Problem(key, f"expected certificates: {path}: {error.reason or error}")
        except OSError:
            continue  # the daemon's user may read what the one who asks may not


def _check_route(name: str, route: RouteOptions) -> Iterator[Problem]:
    key = f"queue.route.{name}"
    if name == "mx":
        yield Problem(key, '"mx" means direct delivery; give the route another id')
    if route.protocol == "lmtp" and route.port == 25:
        yield Problem(f"{key}.port", "LMTP must not be spoken on port 25 (RFC 2033 section 5)")
    if (route.username is None) != (route.secret is None) and route.token_url is None:
        missing = "auth.secret" if route.secret is None else "auth.username"
        yield Problem(f"{key}.{missing}", "is missing: auth takes both auth.username and auth.secret")
    if route.username is not None and route.tls_mode not in (None, "verified"):
        yield Problem(f"{key}.tls.mode", 'expected "verified": a password is only sent to a host that proved its name')


def _check_resolver(config: Config) -> Iterator[Problem]:
    for server in config.section(ResolverOptions).custom:
        from relayd.resolver.exchange import BadServer, parse_server  # brings dnspython: not for every command

        try:
            parse_server(server)
        except BadServer as error:
            yield Problem("resolver.custom", str(error))


def _check_schedule(config: Config) -> Iterator[Problem]:
    schedule = config.section(ScheduleOptions)
    if not schedule.retry:
        yield Problem("queue.schedule.retry", "expected at least one delay")
    if any(each <= 0 for each in schedule.retry):
        yield Problem("queue.schedule.retry", "expected delays longer than 0")
    if any(each >= schedule.expire for each in schedule.notify):
        text = "a delay notice that is due when the message has expired is never sent"
        yield Problem("queue.schedule.notify", text, fatal=False)
