"""What a configuration comes to: listeners, session classes, routes and the retry schedule, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relayd.config.configuration import Config
from relayd.config.places import control_socket, submit_socket
from relayd.config.roads import router_of
from relayd.listener.options import ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.options import format_duration
from relayd.reception.options import KnownOptions, RcptOptions
from relayd.routing.next_hop import NextHop
from relayd.routing.options import DomainOptions, DomainTlsOptions, OutboundOptions, RouteOptions, ScheduleOptions
from relayd.routing.schedule import Schedule
from relayd.routing.smarthost import Smarthost


def effective(config: Config) -> dict[str, Any]:
    """All of it, for `relayd check --json` and for its tables."""
    server = config.section(ServerOptions)
    return {
        "file": None if config.path is None else str(config.path),
        "warnings": [{"key": each.key, "line": each.line, "text": each.text} for each in config.warnings],
        "hostname": server.hostname,
        "data-dir": server.data_dir,
        "listeners": _listeners(config),
        "sessions": _sessions(config),
        "routes": _routes(config),
        "schedule": _schedule(config),
    }


def _listeners(config: Config) -> list[dict[str, Any]]:
    rows = [
        {
            "id": name,
            "protocol": each.protocol,
            "role": each.role if each.protocol != "http" else "",
            "bind": [str(bind) for bind in each.bind],
            "tls": "implicit" if each.tls_implicit else "" if each.protocol == "http" else "STARTTLS",
            "trusted": [str(network) for network in each.relay_networks],
            "proxy-protocol": [str(network) for network in each.proxy_protocol],
        }
        for name, each in config.records(ListenerOptions).items()
    ]
    unlisted = (("(control)", "http", control_socket(config)), ("(submit)", "smtp", submit_socket(config)))
    for name, protocol, path in unlisted:
        rows.append(
            {
                "id": name,
                "protocol": protocol,
                "role": "",
                "bind": [f"unix:{path}"],
                "tls": "",
                "trusted": [],
                "proxy-protocol": [],
            }
        )
    return rows


def _sessions(config: Config) -> dict[str, Any]:
    rcpt = config.section(RcptOptions)
    trusted = [str(network) for network in rcpt.relay_networks]
    for name, listener in config.records(ListenerOptions).items():
        trusted += [f"{network} on listener {name}" for network in listener.relay_networks]
    records = config.records(KnownOptions)
    known = {}
    for domain in rcpt.relay_domains:
        checks = [each.check for each in records.values() if domain in each.domains]
        known[domain] = checks[0] if checks else "probe"
    return {"trusted": trusted, "relay-domains": list(rcpt.relay_domains), "known-recipients": known}


def _routes(config: Config) -> dict[str, Any]:
    outbound = config.section(OutboundOptions)
    domains = {domain: each.next_hop for domain, each in config.records(DomainOptions).items()}
    router = router_of(config)
    hops: Mapping[str, NextHop] = router.routes
    return {
        "rules": [
            {"id": rule.id, "when": rule.conditions(), "next-hop": rule.next_hop, "source": rule.source}
            for rule in router.rules
        ],
        "default": outbound.next_hop,
        "mx-port": outbound.port,
        "allow-private": outbound.allow_private,
        "domains": domains,
        "tls-domains": {
            domain: {"mode": each.mode, "min-version": each.min_version or outbound.tls_minimum}
            for domain, each in config.records(DomainTlsOptions).items()
        },
        "routes": {
            name: {
                "to": _place(hop),
                "protocol": hop.protocol.value,
                "tls": ("implicit, " if hop.implicit_tls else "") + hop.tls.value,
                "auth": hop.username or "",
                "source": config.records(RouteOptions)[name].source,
                "hosts": [_host(each) for each in router.hosts.get(name, ())],
            }
            for name, hop in hops.items()
        },
        "source": outbound.source,
        "sources": {
            id: {"address": each.address, "address-v6": each.address_v6, "ehlo": each.ehlo}
            for id, each in router.sources.sources.items()
        },
        "source-pools": {
            id: {member.id: weight for member, weight in zip(pool.members, pool.weights, strict=True)}
            for id, pool in router.sources.pools.items()
        },
    }


def _place(hop: NextHop) -> str:
    return hop.host if hop.host.startswith("unix:") else f"{hop.host}:{hop.port}"


def _host(host: Smarthost) -> dict[str, Any]:
    """One host of a route with shares or budgets; 0: no limit."""
    allowance = host.allowance
    return {
        "to": _place(host.hop),
        "weight": host.weight,
        "messages-per-hour": allowance.hour,
        "messages-per-day": allowance.day,
        "connections": allowance.connections,
    }


def _schedule(config: Config) -> dict[str, Any]:
    options = config.section(ScheduleOptions)
    return {
        "retry": [format_duration(each) for each in options.retry],
        "notify": [format_duration(each) for each in options.notify],
        "expire": format_duration(options.expire),
        "attempts": [
            {"attempt": row.attempt, "delay": row.delay, "age": row.age, "note": row.note}
            for row in Schedule(options).table()
        ],
    }
