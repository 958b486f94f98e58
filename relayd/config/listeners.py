"""Questions about the configured listeners, asked by the checks and by the commands that look for the daemon."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from relayd.config.configuration import Config, Problem
from relayd.config.places import control_socket, submit_socket
from relayd.listener.options import Bind, CertificateOptions, ListenerOptions

_LONGEST_UNIX_PATH = 107


def loopback_smtp(config: Config) -> list[str]:
    """The addresses ("host:port") where plain SMTP can be spoken from this machine, in the order of the file."""
    found = []
    for listener in config.records(ListenerOptions).values():
        if listener.protocol == "smtp" and not listener.tls_implicit and not listener.proxy_protocol:
            found += [near for bind in listener.bind if (near := _from_here(bind))]
    return found


def _from_here(bind: Bind) -> str:
    if bind.path or not bind.port:
        return ""
    address = ipaddress.ip_address(bind.host)
    if address.is_unspecified:
        return f"127.0.0.1:{bind.port}" if address.version == 4 else f"[::1]:{bind.port}"
    return str(bind) if address.is_loopback else ""


def check_listeners(config: Config) -> Iterator[Problem]:
    """What is wrong between the listeners, their certificates and their places."""
    listeners = config.records(ListenerOptions)
    if not listeners:
        yield Problem("server.listener", "expected at least one listener: an empty table replaces the default ones")
    elif not any(each.protocol in ("smtp", "lmtp") for each in listeners.values()):
        yield Problem("server.listener", "no listener takes mail in", fatal=False)
    taken: dict[str, str] = {}
    for name, listener in listeners.items():
        key = f"server.listener.{name}.bind"
        for bind in listener.bind:
            if bind.port or bind.path:
                if str(bind) in taken:
                    yield Problem(key, f"{bind} is taken by listener {taken[str(bind)]} already")
                taken[str(bind)] = name
            if len(os.fsencode(bind.path)) > _LONGEST_UNIX_PATH:
                yield Problem(key, f"expected a path of at most {_LONGEST_UNIX_PATH} octets for a Unix socket")
        if listener.proxy_protocol and any(network.prefixlen == 0 for network in listener.proxy_protocol):
            text = "lets everybody pretend to be any client; name the addresses of the proxies"
            yield Problem(f"server.listener.{name}.proxy-protocol", text, fatal=False)
        if any(network.prefixlen == 0 for network in listener.xclient):
            text = "lets everybody pretend to be any client; name the addresses of the filters"
            yield Problem(f"server.listener.{name}.xclient", text, fatal=False)
        if listener.protocol == "http":
            yield from _check_http(f"server.listener.{name}", listener, bool(config.records(CertificateOptions)))
    yield from check_certificates(config)
    for path in (control_socket(config), submit_socket(config)):
        if len(os.fsencode(path)) > _LONGEST_UNIX_PATH:
            text = f"is too long: the socket {path} has more than {_LONGEST_UNIX_PATH} octets"
            yield Problem("server.data-dir", text)


def _check_http(key: str, listener: ListenerOptions, has_certificates: bool) -> Iterator[Problem]:
    """What is unwise about a listener of the control socket."""
    if any(network.prefixlen == 0 for network in listener.trusted_proxies):
        text = "lets everybody pretend to be any client; name the addresses of the proxies"
        yield Problem(f"{key}.trusted-proxies", text, fatal=False)
    if listener.tls_implicit and not has_certificates:
        yield Problem(f"{key}.tls.implicit", "no certificate is configured, so nobody can connect", fatal=False)
    if listener.tls_implicit or all(bind.is_loopback for bind in listener.bind):
        return
    if listener.plain_credentials:
        text = "takes passwords and tokens that others can read on their way"
        yield Problem(f"{key}.plain-credentials", text, fatal=False)
    elif not listener.trusted_proxies:
        text = "without tls.implicit or trusted-proxies nobody can sign in from other machines"
        yield Problem(f"{key}.bind", text, fatal=False)


def is_missing(path: str) -> bool:
    """Whether there is surely no such file; the daemon's user may see what the one who asks may not."""
    try:
        return not Path(path).exists()
    except OSError:
        return False


def _unusable(certificate: CertificateOptions) -> str:
    """Why the files are no certificate with its key; "" when they are, or cannot be read by who asks."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate.cert, certificate.private_key, "")
    except ssl.SSLError as error:
        return f"{certificate.cert} with {certificate.private_key}: {error.reason or error}"
    except OSError:
        return ""
    return ""


def check_certificates(config: Config) -> Iterator[Problem]:
    """What is wrong with the certificates: files that are not there or do not belong together."""
    certificates = config.records(CertificateOptions)
    for name, certificate in certificates.items():
        for option, path in (("cert", certificate.cert), ("private-key", certificate.private_key)):
            if is_missing(path):
                yield Problem(f"certificate.{name}.{option}", f"expected a file: {path} is not there")
                break
        else:
            reason = _unusable(certificate)
            if reason:
                yield Problem(f"certificate.{name}.cert", f"expected a certificate and its private key: {reason}")
    defaults = [name for name, certificate in certificates.items() if certificate.default]
    if len(defaults) > 1:
        text = f"only one certificate can be the default, {defaults[0]} is already"
        yield Problem(f"certificate.{defaults[1]}.default", text)
    for name, listener in config.records(ListenerOptions).items():
        outside = [bind for bind in listener.bind if not bind.is_loopback]
        if listener.role == "submission" and outside and not certificates:
            text = "no certificate is configured, so nobody can sign in from outside this machine"
            yield Problem(f"server.listener.{name}.role", text, fatal=False)
