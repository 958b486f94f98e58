"""What does not fit between sections: errors where the daemon could not work, warnings where it was hardly meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.configuration import ConfigError
from relayd.config.load import load
from relayd.directory.password import hash_secret

TOKENS = """queue.route.a.address = "a"
queue.route.a.auth.username = "u"
queue.route.a.auth.oauth.client-id = "c"
queue.route.a.auth.oauth.client-secret = "s\""""
URL = "queue.route.a.auth.oauth.token-url"
POSTMASTER = 'server.postmaster = "ops@example.org"\n'


def found(text: str, path: Path) -> tuple[list[str], list[str]]:
    """Errors and warnings."""
    path.write_text(POSTMASTER + text, encoding="utf-8")
    try:
        config = load(path, environ={})
    except ConfigError as error:
        return [f"{each.key}: {each.text}" for each in error.problems if each.fatal], []
    return [], [f"{each.key}: {each.text}" for each in config.warnings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('queue.outbound.next-hop = "smart"', 'queue.outbound.next-hop: there is no route "smart"'),
        ('queue.outbound.domain."a.example" = "x"', 'queue.outbound.domain.a.example: there is no route "x"'),
        (
            'queue.outbound.domain."*.example" = "mx"',
            "queue.outbound.domain.*.example: expected the name of one domain",
        ),
        (
            'queue.outbound.tls.domain."a b".mode = "verified"',
            "queue.outbound.tls.domain.a b: expected the name of one domain",
        ),
        ('[queue.route.mx]\naddress = "h"', 'queue.route.mx: "mx" means direct delivery'),
        ('[queue.route.a]\naddress = "h"\nprotocol = "lmtp"\nport = 25', "queue.route.a.port: LMTP must not"),
        ('auth.arc.seal = "x"', 'auth.arc.seal: there is no signature "x"'),
        ('[queue.route.a]\naddress = "h"\nauth.username = "u"', "queue.route.a.auth.secret: is missing"),
        (
            '[queue.route.a]\naddress = "h"\nauth.username = "u"\nauth.secret = "s"\ntls.mode = "opportunistic"',
            'queue.route.a.tls.mode: expected "verified"',
        ),
        ('queue.outbound.tls.ca-files = ["/nowhere/ca.pem"]', "queue.outbound.tls.ca-files: expected a file"),
        ('milter.a = { address = "unix:/m", tls.enable = true }', "milter.a.tls.enable: needs an address of TCP"),
        (
            'filter.a = { type = "spamd", address = "h:783", tls.ca-files = ["/nowhere/ca.pem"] }',
            "filter.a.tls.ca-files: expected a file",
        ),
        ('geo.country-file = "/nowhere/c.mmdb"', "geo.country-file: expected a file that can be read: /nowhere/c.mmdb"),
        ('[certificate.a]\ncert = "/nowhere/c"\nprivate-key = "/nowhere/k"', "certificate.a.cert: expected a file"),
        (
            '[server.listener.a]\nbind = ["127.0.0.1:25"]\n[server.listener.b]\nbind = ["127.0.0.1:25"]',
            "server.listener.b.bind: 127.0.0.1:25 is taken by listener a already",
        ),
        (
            f'[server.listener.a]\nbind = ["unix:/{"x" * 107}"]',
            "server.listener.a.bind: expected a path of at most 107",
        ),
        (f'server.data-dir = "/{"x" * 100}"', "server.data-dir: is too long"),
        ('resolver.custom = ["http://x"]', "resolver.custom: expected"),
        ("queue.schedule.retry = []", "queue.schedule.retry: expected at least one delay"),
        ('queue.schedule.retry = ["0"]', "queue.schedule.retry: expected delays longer than 0"),
        ('[session.rcpt.known.a]\ncheck = "list"', "session.rcpt.known.a.list: expected addresses"),
        ('[session.rcpt.known.a]\ncheck = "file"', "session.rcpt.known.a.file: expected a path"),
        ('[session.rcpt.known.a]\ncheck = "file"\nfile = "/nowhere/f"', "session.rcpt.known.a.file: expected a file"),
        ('[access.a]\naction = "redirect"', "access.a.to: expected addresses"),
        ('[access.a]\naction = "defer"\ncode = 550', "access.a.code: expected 400 to 499"),
        ('authentication.fallback-admin.user = "admin"', "authentication.fallback-admin.secret: is missing"),
        ('server.hostname = "bad host"', "server.hostname: expected a domain name"),
        ('server.origin = "-"', "server.origin: expected a domain name"),
        ('server.aliases = ["root ops"]', 'server.aliases: expected "name: address, address"'),
        ('server.aliases = ["a: b", "b: a"]', "server.aliases: a leads to itself only"),
        ('[access.a]\naction = "redirect"\nto = ["@@"]', "access.a.to: "),
        ('rewrite.a.add = ["No colon"]', 'rewrite.a.add: expected "Name: value"'),
        ('rewrite.a.envelope-from = "nobody@"', "rewrite.a.envelope-from: expected an address"),
        ('rewrite.a.envelope-to = "{user}@a.example"', "rewrite.a.envelope-to: expected an address"),
        ('queue.redirect-all = ["@@"]', "queue.redirect-all: "),
        ('queue.route.a.address = "a host"', "queue.route.a.address: expected a host name"),
        ('queue.route.a.address = "a"\nqueue.route.a.hosts = ["b!c"]', "queue.route.a.hosts: expected a host name"),
        ('queue.route.a.address = "a"\nqueue.route.a.hosts = ["b c=1"]', "queue.route.a.hosts: expected [weight="),
        (
            'queue.route.a.address = "a"\nqueue.route.a.auth.oauth.client-id = "c"',
            "queue.route.a.auth.oauth.token-url: is missing",
        ),
        ('queue.rule.a.sender = ["b.c"]', "queue.rule.a.next-hop: is missing"),
        ('queue.rule.a.next-hop = "b"', 'queue.rule.a.next-hop: there is no route "b"; expected one of "mx"'),
        ('queue.rule.a.source = "b"', 'queue.rule.a.source: no source "b"'),
        ('queue.source.a.address = "::1"', "queue.source.a.address: expected an IPv4 address"),
        ('queue.source-pool.a.sources = ["b"]', 'queue.source-pool.a.sources: no source "b"'),
        (
            f'{TOKENS}\nqueue.route.a.auth.oauth.token-url = "ftp://x"',
            "queue.route.a.auth.oauth.token-url: expected an https URL",
        ),
        (
            f'{TOKENS}\nqueue.route.a.auth.oauth.token-url = "http://x/y"',
            "queue.route.a.auth.oauth.token-url: expected an https URL",
        ),
        (
            f'{TOKENS}\n{URL} = "https://x/y"\nqueue.route.a.auth.mechanisms = ["PLAIN"]',
            "queue.route.a.auth.mechanisms: PLAIN takes a password",
        ),
        (
            'queue.route.a.address = "a"\nqueue.route.a.tls.cert = "/not/there.pem"',
            "queue.route.a.tls.cert: expected a file",
        ),
        ('queue.route.a.address = "a"\nqueue.route.a.tls.private-key = "/x"', "queue.route.a.tls.cert: is missing"),
        (
            '[server.listener.a]\nbind = ["127.0.0.1:25"]\ntrusted-proxies = ["192.0.2.1"]',
            "server.listener.a.trusted-proxies: expected only where the protocol is http",
        ),
        ('server.auto-ban.auth.rate = "many"', "server.auto-ban.auth.rate: expected a rate such as"),
        ('server.http.headers = ["X-Request-Id: 1"]', "server.http.headers: expected another header"),
        ('server.http.headers = ["no colon"]', "server.http.headers: expected a header such as"),
        ('server.http.headers = ["A: b\\r\\nC: d"]', "server.http.headers: expected a header such as"),
        ('server.http.dialects = ["klingon"]', "server.http.dialects: expected one of"),
        ('[account.a]\nsecret = "s"\nemails = ["x"]', "account.a.emails: expected addresses"),
        ('[account.a]\nsecret = "s"\n[account.A]\nsecret = "t"', 'account.A: is the same login as "a"'),
        ('[account.a]\nsecret = "$P$9IQRaTwmfeRo7"', "account.a.secret: looks like a hash of an unknown kind"),
        ('[account.a]\nsecret = "$6$x$y"', "account.a.secret: is no hash of crypt(3) of a known form"),
        ('[account.a]\nsecret = "s"\notp = "JBSWY3DP"', "account.a.otp: expected a URL such as"),
        (
            'authentication.fallback-admin.user = "admin"\nauthentication.fallback-admin.secret = "{SMD5}x"',
            "authentication.fallback-admin.secret: is no digest",
        ),
    ],
)
def test_errors(text: str, expected: str, tmp_path: Path) -> None:
    errors, _ = found(text, tmp_path / "relayd.toml")
    assert [each for each in errors if each.startswith(expected)], errors


def test_a_postmaster_that_is_no_address(tmp_path: Path) -> None:
    path = tmp_path / "relayd.toml"
    path.write_text('server.postmaster = "not an address"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"relayd\.toml:1: server\.postmaster: .* is no address"):
        load(path, environ={})


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = '[access.a]\naction = "redirect"\n[access.b]\ncode = 400\n[rewrite.c]\nremove = ["a b"]'
    errors, _ = found(text, tmp_path / "relayd.toml")
    assert [each.partition(":")[0] for each in errors] == ["access.a.to", "access.b.code", "rewrite.c.remove"]


def test_a_public_suffix_list_that_is_not_there(tmp_path: Path) -> None:
    text = '[auth.dmarc]\npublic-suffix-file = "/nonexistent/list"\n'
    assert found(text, tmp_path / "relayd.toml")[0] == []
    errors, _ = found(f'{text}discovery = "public-suffix-list"', tmp_path / "relayd.toml")
    assert errors == ["auth.dmarc.public-suffix-file: expected a file: /nonexistent/list is not there"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[certificate.a]\ncert = "{0}"\nprivate-key = "{0}"', "certificate.a.cert"),
        ('queue.outbound.tls.ca-files = ["{0}"]', "queue.outbound.tls.ca-files"),
    ],
)
def test_files_that_are_no_certificates(text: str, key: str, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing\n", encoding="utf-8")
    errors, _ = found(text.format(garbage), tmp_path / "relayd.toml")
    assert [each.partition(":")[0] for each in errors] == [key]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[session.rcpt]\nrelay-networks = ["::/0"]', "session.rcpt.relay-networks: ::/0 makes an open relay"),
        (
            '[server.listener.a]\nbind = ["127.0.0.1:25"]\nrelay-networks = ["0.0.0.0/0"]',
            "server.listener.a.relay-networks: 0.0.0.0/0 makes an open relay",
        ),
        (
            'session.rcpt.relay-domains = ["a.example"]\n'
            '[session.rcpt.known.a]\ndomains = ["a.example"]\ncheck = "any"',
            "session.rcpt.known.a.check: every recipient of a.example is taken",
        ),
        (
            '[session.rcpt.known.a]\ndomains = ["a.example"]',
            "session.rcpt.known.a.domains: a.example is no relay domain",
        ),
        ('[access.a]\nlistener = ["x"]', 'access.a.listener: there is no listener "x"'),
        (
            'queue.rule.a.next-hop = "mx"\nqueue.rule.a.listener = ["x", "smtp", "submit", "out*"]',
            'queue.rule.a.listener: there is no listener "x"',
        ),
        ('queue.schedule.notify = ["6d"]', "queue.schedule.notify: a delay notice"),
        ('[server.listener.h]\nbind = ["127.0.0.1:1"]\nprotocol = "http"', "server.listener: no listener takes mail"),
        (
            '[server.listener.s]\nbind = ["0.0.0.0:587"]\nrole = "submission"',
            "server.listener.s.role: no certificate is configured",
        ),
        (
            '[server.listener.s]\nbind = ["0.0.0.0:25"]\nproxy-protocol = ["0.0.0.0/0"]',
            "server.listener.s.proxy-protocol: lets everybody pretend",
        ),
        (
            '[server.listener.h]\nbind = ["0.0.0.0:80"]\nprotocol = "http"',
            "server.listener.h.bind: without tls.implicit or trusted-proxies nobody can sign in",
        ),
        (
            '[server.listener.h]\nbind = ["0.0.0.0:80"]\nprotocol = "http"\nplain-credentials = true',
            "server.listener.h.plain-credentials: takes passwords",
        ),
        (
            '[server.listener.h]\nbind = ["127.0.0.1:80"]\nprotocol = "http"\ntls.implicit = true',
            "server.listener.h.tls.implicit: no certificate is configured",
        ),
        (
            '[server.listener.h]\nbind = ["127.0.0.1:80"]\nprotocol = "http"\ntrusted-proxies = ["::/0"]',
            "server.listener.h.trusted-proxies: lets everybody pretend",
        ),
        ('[account.a]\nsecret = "s"', "account.a.secret: is plain text: store what `relayd account hash`"),
        ('[account.a]\nsecret = ""', "account.a.secret: is empty"),
        (
            '[account.a]\ntype = "apiKey"\nsecret = "s"\notp = "otpauth://totp/a?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"',
            "account.a.otp: means nothing",
        ),
        (
            'authentication.fallback-admin.user = "admin"\nauthentication.fallback-admin.secret = "s"',
            "authentication.fallback-admin.secret: is plain text",
        ),
        (
            'authentication.fallback-admin.user = "A"\nauthentication.fallback-admin.secret = "s"\n'
            '[account.a]\nsecret = "s"',
            "account.a: has the name of the fallback administrator",
        ),
        (
            'auth.dmarc.verify = "strict"\nauth.dkim.verify = "disabled"',
            "auth.dmarc.verify: nothing fails DMARC while auth.dkim.verify is disabled",
        ),
    ],
)
def test_warnings(text: str, expected: str, tmp_path: Path) -> None:
    errors, warnings = found(text, tmp_path / "relayd.toml")
    assert errors == []
    assert [each for each in warnings if each.startswith(expected)], warnings


def test_a_relay_domain_pattern_covers_the_domains_below_it(tmp_path: Path) -> None:
    text = 'session.rcpt.relay-domains = [".example.org"]\n[session.rcpt.known.a]\ndomains = ["x.example.org"]\n'
    assert found(text, tmp_path / "relayd.toml") == ([], [])


def test_a_good_configuration_has_nothing(tmp_path: Path) -> None:
    assert found("", tmp_path / "relayd.toml") == ([], [])
    hashed = f'[account.a]\nemails = ["a@b.example"]\nsecret = "{hash_secret("s")}"\n'
    one_time = 'otp = "otpauth://totp/a?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"'
    assert found(hashed + one_time, tmp_path / "relayd.toml") == ([], [])


def test_a_file_of_networks_that_the_daemon_alone_may_read_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str, stamp: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    file = tmp_path / "asn.mmdb"
    file.write_bytes(b"")
    text = f'geo.asn-file = "{file}"'
    assert found(text, tmp_path / "relayd.toml")[0]
    monkeypatch.setattr("relayd.reception.geo_files._read", refused)
    assert found(text, tmp_path / "relayd.toml") == ([], [])
