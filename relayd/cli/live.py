"""`relayd check --live`: whether the machine and its surroundings are ready for mail.

Each look has a time limit of seconds and ends in findings: ok, warn (mail works, but worse than it could) or fail.
Everything that is not on this machine comes in through `Outside`, which tests replace.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from relayd.cli.listing import size
from relayd.config.configuration import Config
from relayd.config.places import data_directory
from relayd.config.roads import router_of
from relayd.mail.options import ServerOptions
from relayd.options import format_size
from relayd.queue.options import SpaceOptions
from relayd.resolver.exchange import parse_server
from relayd.resolver.options import ResolverOptions
from relayd.routing.next_hop import NextHop
from relayd.routing.options import OutboundOptions
from relayd.routing.source_options import SourceOptions

_TIMEOUT = 5.0
_SLOW_SYNC = 0.05
_TARGET = "gmail.com"
"""A domain whose MX hosts everybody may connect to."""


@dataclass(frozen=True)
class Finding:
    """What one look found.  state: "ok", "warn" or "fail".  hint: what to do about it, "" when nothing."""

    state: str
    subject: str
    text: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


class NoAnswer(Exception):
    """A look-up or connection failed; the text says how."""


class Outside:
    """What is not on this machine: DNS and other hosts.  custom: `resolver.custom`, the system's when empty."""

    def __init__(self, custom: tuple[str, ...] = ()) -> None:
        self._servers = [parse_server(text) for text in custom]

    def resolve(self, name: str, kind: str) -> list[str]:
        """The records of a name; [] when it has none.  Raises NoAnswer."""
        import dns.exception
        import dns.nameserver
        import dns.resolver

        try:
            resolver = dns.resolver.Resolver(configure=not self._servers)
            if self._servers:
                resolver.nameservers = [
                    dns.nameserver.Do53Nameserver(each.address, each.port) for each in self._servers
                ]
            answer = resolver.resolve(name, kind, lifetime=_TIMEOUT)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        return [record.to_text() for record in answer]

    def greeting(self, host: str, port: int) -> str:
        """The first line that a host says.  Raises NoAnswer."""
        try:
            with socket.create_connection((host, port), timeout=_TIMEOUT) as connection:
                line = connection.recv(512).split(b"\n", 1)[0]
        except OSError as error:
            raise NoAnswer(error.strerror or str(error)) from None
        return line.decode("ascii", "replace").strip()

    def own_addresses(self) -> list[str]:
        """The addresses that our connections to the Internet come from, before any NAT.  Sends nothing."""
        found = []
        for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
            try:
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    probe.connect((far, 25))
                    found.append(str(probe.getsockname()[0]))
            except OSError:
                continue
        return found


def look(config: Config, target: str | None = None, outside: Outside | None = None) -> list[Finding]:
    """All findings, in a fixed order.  target: "HOST" or "HOST:PORT" for the test of port 25."""
    from relayd.cli.live_certificates import look_at_certificates

    beyond = outside or Outside(config.section(ResolverOptions).custom)
    looks: list[Callable[[], Iterator[Finding]]] = [
        lambda: look_at_names(config, beyond),
        lambda: look_at_port(config, beyond, target),
        lambda: look_at_sources(config, beyond),
        lambda: look_at_resolver(beyond),
        lambda: look_at_certificates(config, time.time()),
        lambda: look_at_clock(data_directory(config), time.time()),
        lambda: look_at_disk(data_directory(config), config.section(SpaceOptions).min_free),
    ]
    with ThreadPoolExecutor(len(looks)) as pool:
        return [finding for findings in pool.map(lambda each: list(each()), looks) for finding in findings]


def look_at_names(config: Config, outside: Outside) -> Iterator[Finding]:
    """Whether the reverse name of each of our addresses, and its address, agree with the name we say in EHLO."""
    hostname = (config.section(ServerOptions).hostname or socket.getfqdn()).lower()
    if "." not in hostname:
        yield Finding(
            "warn", "EHLO name", f'"{hostname}" has no domain', "set server.hostname to this host's full name"
        )
    for address in outside.own_addresses():
        parsed = ipaddress.ip_address(address)
        if not parsed.is_global:
            text = f"{address} is a private address: what others see, and its reverse name, cannot be told from here"
            yield Finding("warn", "PTR", text, f"look up the public address; its PTR should be {hostname}")
            continue
        try:
            names = [name.rstrip(".").lower() for name in outside.resolve(parsed.reverse_pointer, "PTR")]
            kind = "A" if parsed.version == 4 else "AAAA"
            forward = {str(ipaddress.ip_address(each)) for name in names for each in outside.resolve(name, kind)}
        except NoAnswer as error:
            yield Finding("fail", "PTR", f"{address}: {error}", "the resolver does not answer")
            continue
        said = ", ".join(names)
        if not names:
            hint = "ask whoever gave you the address to set one: many hosts refuse mail without it"
            yield Finding("fail", "PTR", f"{address} has no reverse name", hint)
        elif address not in forward:
            yield Finding("fail", "PTR", f"{address} is {said}, which does not point back", "add its address record")
        elif hostname not in names:
            hint = f"set server.hostname to {names[0]}, or the PTR to {hostname}"
            yield Finding("warn", "PTR", f"{address} is {said}, but EHLO says {hostname}", hint)
        else:
            yield Finding("ok", "PTR", f"{address} is {hostname}, both ways")


def look_at_sources(config: Config, outside: Outside) -> Iterator[Finding]:
    """Whether the addresses that mail leaves from are this machine's, and their reverse names those given in EHLO."""
    hostname = (config.section(ServerOptions).hostname or socket.getfqdn()).lower()
    for id, source in config.records(SourceOptions).items():
        subject, expected = f"source {id}", (source.ehlo or hostname).lower()
        for address in filter(None, (source.address, source.address_v6)):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.bind((address, 0))
            except OSError as error:
                hint = "give the address to an interface, or name another"
                yield Finding("fail", subject, f"{address} cannot be used: {error.strerror}", hint)
                continue
            parsed = ipaddress.ip_address(address)
            if not parsed.is_global:
                yield Finding("warn", subject, f"{address} is this machine's, and private: its PTR is not looked at")
                continue
            try:
                names = [name.rstrip(".").lower() for name in outside.resolve(parsed.reverse_pointer, "PTR")]
            except NoAnswer as error:
                yield Finding("fail", subject, f"{address}: {error}", "see resolver")
                continue
            if expected in names:
                yield Finding("ok", subject, f"{address} is {expected}")
            else:
                text = f"{address} is {', '.join(names) or 'without a reverse name'}, but EHLO says {expected}"
                yield Finding("warn", subject, text, "set its PTR, or queue.source.<id>.ehlo")


def look_at_port(config: Config, outside: Outside, target: str | None) -> Iterator[Finding]:
    """Whether the next hops can be reached: routes as configured, and port 25 for direct delivery."""
    router = router_of(config)
    if target is None:
        for name, route in router.routes.items():
            for hop in [each.hop for each in router.hosts.get(name, ())] or [route]:
                yield from _reach_route(name, hop, outside)
    if target is None and router.default is not None and None not in router.domains.values():
        return
    host, port = _split(target or _TARGET, config.section(OutboundOptions).port)
    try:
        if target is None:
            records = sorted(outside.resolve(host, "MX"), key=lambda each: int(each.split()[0]))
            if not records:
                yield Finding("fail", f"port {port} out", f"not tried: no MX for {host}", "see resolver")
                return
            host = records[0].split()[1].rstrip(".")
        said = outside.greeting(host, port)
    except NoAnswer as error:
        hint = "providers often block port 25: ask for it to be opened, or send through a smarthost (queue.route)"
        yield Finding("fail", f"port {port} out", f"{host}:{port}: {error}", hint)
        return
    if said.startswith("220"):
        yield Finding("ok", f"port {port} out", f"{host}:{port} greets us")
    else:
        yield Finding("warn", f"port {port} out", f"{host}:{port} says: {said[:100]!r}", "it refuses this address")


def _reach_route(name: str, hop: NextHop, outside: Outside) -> Iterator[Finding]:
    if hop.host.startswith("unix:"):
        there = Path(hop.host.removeprefix("unix:")).is_socket()
        yield Finding("ok" if there else "fail", f"route {name}", f"{hop.host} is {'' if there else 'not '}there")
        return
    try:
        said = "" if hop.implicit_tls else outside.greeting(hop.host, hop.port)
        good = hop.implicit_tls or said.startswith("220")
        text = f"{hop.host}:{hop.port}" + (f" says: {said[:100]!r}" if said else " (implicit TLS, not asked)")
        yield Finding("ok" if good else "warn", f"route {name}", text)
    except NoAnswer as error:
        yield Finding("fail", f"route {name}", f"{hop.host}:{hop.port}: {error}", "check address, port and firewall")


def look_at_resolver(outside: Outside) -> Iterator[Finding]:
    """Whether DNS answers, soon, and truly says of a name that cannot exist that it does not."""
    started = time.monotonic()
    try:
        found = outside.resolve(_TARGET, "MX")
        elapsed = time.monotonic() - started
        invented = outside.resolve(f"relayd-{os.getpid()}.invalid", "A")
    except NoAnswer as error:
        yield Finding("fail", "resolver", str(error), "check /etc/resolv.conf; a resolver on this host is best")
        return
    if invented:
        text = f"it invents addresses for names that do not exist ({invented[0]})"
        yield Finding("fail", "resolver", text, "use another resolver: bad domains would look good")
    elif not found:
        yield Finding("fail", "resolver", f"no MX for {_TARGET}", "it does not reach the Internet's DNS")
    elif elapsed > 1.0:
        yield Finding("warn", "resolver", f"answered in {elapsed:.1f} s", "a resolver on this host would be faster")
    else:
        yield Finding("ok", "resolver", f"answered in {elapsed * 1000:.0f} ms")


def look_at_clock(directory: Path, now: float) -> Iterator[Finding]:
    """Whether the clock is not behind files that were written before; systemd's own word where it has one."""
    newest = 0.0
    for path in (Path(__file__), *(directory.glob("*") if os.access(directory, os.R_OK) else ())):
        newest = max(newest, path.stat().st_mtime)
    if newest > now + 60:
        text = f"the clock is {newest - now:.0f} s behind the newest file of {directory} or of relayd"
        yield Finding("fail", "clock", text, "set the clock: retries and expiry go by it")
    elif Path("/run/systemd/timesync").is_dir() and not Path("/run/systemd/timesync/synchronized").exists():
        yield Finding("warn", "clock", "systemd-timesyncd has not reached a time server", "check timedatectl")
    else:
        yield Finding(
            "ok", "clock", "not behind any file of the data directory or of relayd (no time server was asked)"
        )


def look_at_disk(directory: Path, min_free: int) -> Iterator[Finding]:
    """Whether there is room, and how long a write takes until it is safe: every 250 waits for one."""
    place = directory
    while not place.exists():
        place = place.parent
    space = os.statvfs(place)
    free = space.f_bavail * space.f_frsize
    room = f"{size(free)} free in {place}"
    if free < min_free:
        hint = f"below queue.min-free ({format_size(min_free)}) no mail is taken"
        yield Finding("fail", "disk", room, hint)
    elif space.f_files and space.f_favail < 10_000:
        yield Finding("warn", "disk", f"{room}, but only {space.f_favail} files", "each large message is a file")
    else:
        yield Finding("ok", "disk", room)
    try:
        took = sync_time(place)
    except OSError as error:
        hint = "run this as relayd's user, or correct the owner of the directory"
        yield Finding("warn", "disk", f"cannot write in {place}: {error.strerror}", hint)
        return
    text = f"a synced write takes {took * 1000:.1f} ms"
    if took > _SLOW_SYNC:
        yield Finding("warn", "disk", text, "slow: every message waits for one, though many share it")
    else:
        yield Finding("ok", "disk", text)


def sync_time(directory: Path, rounds: int = 7) -> float:
    """Median seconds of a 4 KB write with fsync in `directory`.  Raises OSError."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(rounds):
            started = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def _split(target: str, port: int) -> tuple[str, int]:
    host, colon, given = target.rpartition(":")
    return (host.strip("[]"), int(given)) if colon and given.isdigit() else (target, port)
