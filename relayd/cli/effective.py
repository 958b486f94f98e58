"""What a configuration comes to: listeners, session classes, routes and the retry schedule, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relayd.config.configuration import Config
from relayd.config.places import control_socket, submit_socket
from relayd.listener.options import ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.options import format_duration
from relayd.reception.options import KnownOptions, RcptOptions
from relayd.routing.next_hop import NextHop
from relayd.routing.options import DomainOptions, OutboundOptions, RouteOptions, ScheduleOptions
from relayd.routing.route import Router
from relayd.routing.schedule import Schedule


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
    router = Router(outbound, config.records(RouteOptions), domains)
    hops: Mapping[str, NextHop] = router.routes
    return {
        "default": outbound.next_hop,
        "mx-port": outbound.port,
        "allow-private": outbound.allow_private,
        "domains": domains,
        "routes": {
            name: {
                "to": hop.host if hop.host.startswith("unix:") else f"{hop.host}:{hop.port}",
                "protocol": hop.protocol.value,
                "tls": ("implicit, " if hop.implicit_tls else "") + hop.tls.value,
                "auth": hop.username or "",
            }
            for name, hop in hops.items()
        },
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
