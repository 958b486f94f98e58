"""Loading: typed values, and every error with file, line, key, what was expected and the nearest key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from relayd.config.configuration import Config, ConfigError
from relayd.config.load import load
from relayd.control.options import FallbackAdminOptions
from relayd.delivery.options import BounceOptions
from relayd.directory.options import AccountOptions
from relayd.listener.options import CertificateOptions, ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.reception.options import DataLimits, RcptOptions, RedirectOptions
from relayd.routing.options import DomainOptions, OutboundOptions, RouteOptions, ScheduleOptions

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_text(text: str) -> Path:
        path = tmp_path / "relayd.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [problem.render(Path("F")) for problem in caught.value.problems]


def loaded(path: Path, **environ: str) -> Config:
    return load(path, environ=environ)


def test_values_are_typed(write: Write) -> None:
    config = loaded(
        write(
            """
            queue.schedule.retry = ["1m", "1h30m"]
            session.data.limits.size = "25MB"
            [queue.route.smarthost]
            address = "smtp.example.net"
            tls.implicit = true
            [queue.outbound]
            next-hop = "smarthost"
            [session.rcpt]
            relay-networks = ["192.0.2.1"]
            """
        )
    )
    assert config.section(ScheduleOptions).retry == (60.0, 5400.0)
    assert config.section(DataLimits).size == 25 << 20
    assert config.records(RouteOptions)["smarthost"].tls_implicit
    assert str(config.section(RcptOptions).relay_networks[0]) == "192.0.2.1/32"


def test_sections_that_share_a_prefix_each_get_their_keys(write: Write) -> None:
    config = loaded(write('[queue]\nsoft-bounce = true\nredirect-all = ["a@b.example"]\n'))
    assert config.section(BounceOptions).soft_bounce
    assert config.section(RedirectOptions).redirect_all == ("a@b.example",)


def test_what_is_not_written_has_its_default(write: Write) -> None:
    config = loaded(write(""))
    assert config.section(OutboundOptions) == OutboundOptions()
    assert list(config.records(ListenerOptions)) == ["smtp", "http"]
    assert config.flat() == {}


def test_one_written_listener_replaces_both_default_ones(write: Write) -> None:
    config = loaded(write('[server.listener.mx]\nbind = ["127.0.0.1:2526"]\n'))
    assert list(config.records(ListenerOptions)) == ["mx"]


def test_an_empty_table_of_listeners_is_an_error(write: Write) -> None:
    assert problems(write("[server.listener]\n"))[0].startswith("F:1: server.listener: expected at least one listener")


def test_quoted_ids_hold_dots_and_flat_keys_are_as_written(write: Write) -> None:
    config = loaded(
        write(
            '[account."bob@mx.example.org"]\nsecret = "x"\n'
            '[queue.outbound.domain]\n"example.org" = "mx"\nsub.example.org = "mx"\n'
        )
    )
    assert config.records(AccountOptions)["bob@mx.example.org"].secret == "x"
    assert set(config.records(DomainOptions)) == {"example.org", "sub.example.org"}
    assert config.flat() == {
        "account.bob@mx.example.org.secret": "x",
        "queue.outbound.domain.example.org": "mx",
        "queue.outbound.domain.sub.example.org": "mx",
    }


def test_all_errors_are_reported_with_line_and_nearest_key(write: Write) -> None:
    text = """\
[server]
hostnam = "x"
data-dir = 3
aliases = [
  "a: b",
  5,
]
[sever]
loop = "auto"
[queue.schedule]
expire = "5 minutes"
[server.listener.smtp]
bind = ["127.0.0.1:25"]
protcol = "smtp"
"""
    assert problems(write(text)) == [
        'F:2: server.hostnam: unknown key, did you mean "server.hostname"?',
        "F:3: server.data-dir: expected a text in quotes, not 3",
        "F:6: server.aliases: expected a text in quotes, not 5",
        'F:9: sever.loop: unknown key, did you mean "server.loop"?',
        'F:11: queue.schedule.expire: expected a duration such as "90s", "5m" or "2d", not "5 minutes"',
        'F:14: server.listener.smtp.protcol: unknown key, did you mean "server.listener.smtp.protocol"?',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = \n", "F:1: TOML syntax: Invalid value"),
        ('[server]\nloop = "auto"\nloop = "auto"\n', "F:3: TOML syntax: Cannot overwrite a value"),
        ('hostname = "a.b"\n', 'F:1: hostname: unknown key, did you mean "server.hostname"?'),
        ('server = "x"\n', 'F:1: server: expected a table: write [server] and its keys, such as "server.hostname"'),
        (
            "[server.hostname]\na = 1\n",
            'F:2: server.hostname.a: unknown key: "server.hostname" is a value, not a table',
        ),
        ("[zzz]\n", "F:1: zzz: unknown key"),
        (
            '[certificate.mx.example.org]\ncert = "c"\n',
            "F:2: certificate.mx.example.org.cert: unknown key: the id of a certificate that holds dots must be in"
            " quotes",
        ),
    ],
)
def test_errors(text: str, expected: str, write: Write) -> None:
    assert problems(write(text)) == [expected]


def test_a_syntax_error_at_the_end_names_the_last_line(write: Write) -> None:
    (problem,) = problems(write("[server]\naliases = [\n"))
    assert problem.startswith("F:2: TOML syntax: ")


def test_a_missing_required_key_names_the_record(write: Write) -> None:
    (problem,) = problems(write("# routes\n[queue.route.main]\nport = 25\n"))
    assert problem.startswith("F:2: queue.route.main.address: is missing: ")


def test_a_record_whose_fields_do_not_fit_together(write: Write) -> None:
    (problem,) = problems(write('\n[server.listener.l]\nbind = ["127.0.0.1:25"]\nprotocol = "lmtp"\n'))
    assert problem.startswith("F:2: server.listener.l: bind: LMTP")


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml") == ["F: cannot be read: No such file or directory"]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# one\n# caf\xe9\n")
    assert problems(latin) == ["F:2: is not UTF-8"]


def test_deep_nesting_is_an_error_and_no_crash(write: Write) -> None:
    (problem,) = problems(write("a = " + "[" * 100_000 + "]" * 100_000))
    assert problem == "F: TOML syntax: nested too deeply"


def test_secrets_are_expanded_and_flat_keeps_them_as_written(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n", encoding="utf-8")
    path = write('[account.a]\nsecret = "%{env:APP}%"\n[account.b]\nsecret = "x%{file:secret}%y"\n')
    config = loaded(path, APP="from the environment")
    accounts = config.records(AccountOptions)
    assert (accounts["a"].secret, accounts["b"].secret) == ("from the environment", "xfrom a filey")
    assert config.flat()["account.a.secret"] == "%{env:APP}%"


def test_a_secret_that_cannot_be_had_is_an_error_that_does_not_show_it(write: Write) -> None:
    path = write('[account.a]\nsecret = "hunter2%{env:NOT_SET_HERE}%"\n[account.b]\nsecret = 17\n')
    first, second = problems(path)
    assert first == "F:2: account.a.secret: expected the environment variable NOT_SET_HERE to be set"
    assert "hunter2" not in first
    assert second == "F:4: account.b.secret: expected a text in quotes"


def test_the_data_directory_is_absolute_and_systemd_s_when_not_written(write: Write, tmp_path: Path) -> None:
    assert load(None, environ={}).section(ServerOptions).data_dir == str(Path("relayd-data").absolute())
    assert loaded(write(""), STATE_DIRECTORY="/var/lib/relayd").section(ServerOptions).data_dir == "/var/lib/relayd"
    written = loaded(write('server.data-dir = "/srv/mail"'), STATE_DIRECTORY="/var/lib/relayd")
    assert written.section(ServerOptions).data_dir == "/srv/mail"


def test_a_warning_is_no_error_and_has_its_line(write: Write) -> None:
    config = loaded(write('[session.rcpt]\nrelay-networks = ["0.0.0.0/0"]\n'))
    rendered = [warning.render(Path("F")) for warning in config.warnings]
    assert any(line.startswith("F:2: session.rcpt.relay-networks: 0.0.0.0/0 makes an open relay") for line in rendered)


def test_changed_keys(write: Write) -> None:
    before = loaded(write('server.hostname = "a.b"\nserver.loop = "auto"\n'))
    after = loaded(write('server.hostname = "a.c"\nserver.origin = "b"\nserver.loop = "auto"\n'))
    assert before.changed_keys(after) == ["server.hostname", "server.origin"]


def test_the_development_secret_is_kept_as_a_hash(tmp_path: Path) -> None:
    from relayd.config.development import create_admin

    environ = {"STATE_DIRECTORY": str(tmp_path / "data")}
    assert load(None, environ=environ).section(FallbackAdminOptions).secret is None
    secret = create_admin(tmp_path / "data")
    assert secret is not None
    stored = load(None, environ=environ).section(FallbackAdminOptions)
    assert stored.user == "admin"
    assert stored.secret is not None
    assert stored.secret.startswith("$argon2id$")
    assert secret not in stored.secret
    assert create_admin(tmp_path / "data") is None


def test_records_of_certificates(write: Write, tmp_path: Path) -> None:
    trustme.CA().issue_cert("a.b").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "c.pem"))
    config = loaded(write(f'[certificate."a.b"]\ncert = "{tmp_path}/c.pem"\nprivate-key = "{tmp_path}/c.pem"\n'))
    assert list(config.records(CertificateOptions)) == ["a.b"]
