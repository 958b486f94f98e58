"""What reception would refuse to work with: names, addresses and rules that only its own parts can judge.

Each part is built as the daemon would build it and thrown away, record by record, so that all that is wrong is told at
once and with its key.  Nothing here touches the disk or the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relayd.config.configuration import Config, Problem
from relayd.directory.options import AccountOptions
from relayd.mail.address import AddressError, check_domain, parse_address
from relayd.mail.options import ServerOptions
from relayd.mailauth.signature_options import SignatureOptions
from relayd.options import OptionError
from relayd.reception.options import AccessOptions, RedirectOptions, RewriteOptions
from relayd.routing.options import RouteOptions, ScheduleOptions
from relayd.routing.route import host_and_port

_STAND_IN = "host.example"
"""For the names that are wrong or not set, so that what hangs on them can be judged for itself."""


def check_decisions(config: Config) -> Iterator[Problem]:
    """Everything in the order of the documentation: names, aliases, access, rewriting, redirection, accounts."""
    from relayd.reception.access import AccessTable  # as much as the daemon needs: not for every command
    from relayd.reception.local_names import LocalNames, addresses
    from relayd.reception.rewriting import RewriteTable

    server = config.section(ServerOptions)
    yield from _check_names(config)
    origin = _name_or_stand_in(server.origin or server.hostname)
    hostname = _name_or_stand_in(server.hostname)
    yield from _tried(lambda: LocalNames(hostname, origin, server.postmaster, ()))
    yield from _tried(lambda: LocalNames(hostname, origin, None, server.aliases))
    for id, access in config.records(AccessOptions).items():
        yield from _tried(lambda id=id, access=access: AccessTable({id: access}, origin))  # type: ignore[misc]
    for id, rewrite in config.records(RewriteOptions).items():
        yield from _tried(lambda id=id, rewrite=rewrite: RewriteTable({id: rewrite}))  # type: ignore[misc]
    everything = config.section(RedirectOptions).redirect_all
    yield from _tried(lambda: addresses(everything, origin, "queue.redirect-all"))
    yield from _check_signatures(config)


def _check_signatures(config: Config) -> Iterator[Problem]:
    """A key that is wrong is an error; a file that is not there now is not: the mail that it signs waits for it."""
    from relayd.reception.keyring import Keyring

    expire = config.section(ScheduleOptions).expire
    records = config.records(SignatureOptions)
    for id, options in records.items():
        try:
            problems = Keyring({id: options}, expire, lambda: 0.0).problems
        except OptionError as error:
            yield Problem(f"signature.{id}.private-key", str(error).partition(": ")[2])
            continue
        for problem in problems.values():
            text = f"mail that it should sign is deferred: {problem}"
            yield Problem(f"signature.{id}.private-key", text, fatal=False)
        if options.replaces is not None and options.replaces not in records and options.published is None:
            text = f'there is no signature "{options.replaces}": this one signs at once'
            yield Problem(f"signature.{id}.replaces", text, fatal=False)


def _tried(build: Callable[[], object]) -> Iterator[Problem]:
    try:
        build()
    except OptionError as error:
        key, _, text = str(error).partition(": ")
        yield Problem(key, text)


def _check_names(config: Config) -> Iterator[Problem]:
    server = config.section(ServerOptions)
    for key, name in (("hostname", server.hostname), ("origin", server.origin)):
        if name is not None and not _is_name(name):
            yield Problem(f"server.{key}", f'expected a domain name such as "mx.example.org", not "{name}"')
    for id, route in config.records(RouteOptions).items():
        address = route.address
        if not (address.startswith("unix:/") or _is_name(address) or _is_name(_literal(address))):
            text = f'expected a host name, an IP address or "unix:/path", not "{address}"'
            yield Problem(f"queue.route.{id}.address", text)
        for text in route.hosts:
            yield from _check_host(text, f"queue.route.{id}.hosts")
    for id, account in config.records(AccountOptions).items():
        for email in account.emails:
            try:
                parse_address("x" + email if email.startswith("@") else email, smtputf8=True)
            except AddressError:
                text = f'expected addresses such as "a@example.org" or "@example.org", not "{email}"'
                yield Problem(f"account.{id}.emails", text)


def _check_host(text: str, key: str) -> Iterator[Problem]:
    try:
        host, _ = host_and_port(text.split(" ")[0], 25, key)
    except OptionError:
        return  # told by who reads it
    if not (host.startswith("unix:/") or _is_name(host) or _is_name(_literal(host))):
        yield Problem(key, f'expected a host name, an IP address or "unix:/path", not "{host}"')


def _literal(address: str) -> str:
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _is_name(name: str) -> bool:
    """A domain name or an address literal; "_" is let pass, so many machines have it in their names."""
    try:
        check_domain(name.replace("_", "x") if name[:1] != "[" else name, False)
    except AddressError:
        return False
    return True


def _name_or_stand_in(name: str | None) -> str:
    return name if name is not None and _is_name(name) else _STAND_IN
