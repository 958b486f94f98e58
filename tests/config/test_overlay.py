"""Defaults, file, database: which value counts, where it comes from, and where a wrong one is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from relayd.config.configuration import Config, ConfigError
from relayd.config.load import load, located
from relayd.directory.options import AccountOptions
from relayd.listener.options import ListenerOptions
from relayd.mail.options import ServerOptions
from relayd.mailauth.options import AuthOptions
from relayd.options import OptionError
from relayd.reception.options import DataLimits, EhloOptions, RcptOptions
from relayd.routing.options import DomainOptions, OutboundOptions, RouteOptions, ScheduleOptions

FILE = """
[server]
hostname = "file.example.org"
node = 7
[session.rcpt]
relay-domains = ["example.org", "example.net"]
[queue.route.smart]
address = "smtp.example.net"
port = 587
[access.a]
action = "reject"
sender = ["x@example.org"]
"""


def over(tmp_path: Path, stored: Mapping[str, str], text: str = FILE, **environ: str) -> Config:
    path = tmp_path / "relayd.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ=environ, stored=lambda directory: stored)


def problems(tmp_path: Path, stored: Mapping[str, str], text: str = FILE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        over(tmp_path, stored, text)
    return [problem.render(Path("F")) for problem in caught.value.problems]


def test_every_kind_of_value_is_read_from_its_text(tmp_path: Path) -> None:
    config = over(
        tmp_path,
        {
            "server.node": "9",
            "server.origin": "origin.example.org",
            "session.ehlo.reject-non-fqdn": "true",
            "session.data.limits.size": "25MB",
            "queue.schedule.expire": "3d",
            "queue.schedule.retry.0000": "1m",
            "queue.schedule.retry.0001": "1h30m",
            "session.rcpt.relay-networks": "192.0.2.0/24",
            "queue.outbound.tls.ca-files": "",
            "auth.spf.verify.ehlo": "disabled",
            "queue.outbound.domain.sub.example.com": "smart",
            "account.bob@mx.example.org.secret": "s",
            "server.listener.mx.bind": "127.0.0.1:2526",
            "server.listener.mx.socket-mode": "0660",
        },
    )
    assert config.section(ServerOptions).node == 9
    assert config.section(ServerOptions).hostname == "file.example.org"
    assert config.section(EhloOptions).reject_non_fqdn
    assert config.section(DataLimits).size == 25 << 20
    assert config.section(ScheduleOptions).retry == (60.0, 5400.0)
    assert [str(each) for each in config.section(RcptOptions).relay_networks] == ["192.0.2.0/24"]
    assert config.section(RcptOptions).relay_domains == ("example.org", "example.net")
    assert config.section(OutboundOptions).ca_files == ()
    assert config.section(AuthOptions).spf_ehlo == "disabled"
    assert config.records(DomainOptions)["sub.example.com"].next_hop == "smart"
    assert config.records(AccountOptions)["bob@mx.example.org"].secret == "s"
    assert config.records(ListenerOptions)["mx"].socket_mode == 0o660


def test_a_list_of_the_database_replaces_the_file_s_whole_list(tmp_path: Path) -> None:
    domains = "session.rcpt.relay-domains"
    for stored, expected in (
        ({f"{domains}.0001": "b.example", f"{domains}.0000": "a.example"}, ("a.example", "b.example")),
        ({f"{domains}.0007": "c.example"}, ("c.example",)),  # numbers may have gaps
        ({domains: ""}, ()),
    ):
        config = over(tmp_path, stored)
        assert config.section(RcptOptions).relay_domains == expected
        assert config.flat()[domains] == list(expected)
        assert config.in_file[domains] == ["example.org", "example.net"]
        assert config.stored == stored


def test_a_record_is_put_together_from_file_and_database(tmp_path: Path) -> None:
    config = over(tmp_path, {"queue.route.smart.port": "465", "queue.route.smart.tls.implicit": "true"})
    route = config.records(RouteOptions)["smart"]
    assert (route.address, route.port, route.tls_implicit) == ("smtp.example.net", 465, True)


def test_the_database_adds_to_records_that_are_there_by_default(tmp_path: Path) -> None:
    config = over(tmp_path, {"server.listener.smtp.max-connections": "5", "server.listener.x.bind": "127.0.0.1:26"})
    listeners = config.records(ListenerOptions)
    assert set(listeners) == {"smtp", "http", "x"}
    assert listeners["smtp"].max_connections == 5
    only = over(tmp_path, {"server.listener.x.bind": "127.0.0.1:26"}, '[server.listener.y]\nbind = ["127.0.0.1:27"]\n')
    assert set(only.records(ListenerOptions)) == {"x", "y"}


def test_secrets_of_the_database_are_expanded_and_shown_nowhere(tmp_path: Path) -> None:
    stored = {"account.a.secret": "x%{env:APP}%", "queue.route.smart.auth.secret": "hunter2"}
    config = over(tmp_path, stored | {"queue.route.smart.auth.username": "u"}, APP="y")
    assert config.records(AccountOptions)["a"].secret == "xy"
    assert "hunter2" not in repr((config, config.records(RouteOptions), config.records(AccountOptions)))


def test_a_wrong_value_says_that_it_is_the_database_s(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        {
            "queue.schedule.expire": "soon",
            "queue.schedule.retry.0000": "1m",
            "queue.schedule.retry.0003": "x",
            "server.hostnam": "a.b",
            "server.data-dir": "/tmp",
            "authentication.fallback-admin.user": "me",
            "account.a.secret": "hunter2%{env:NOT_THERE}%",
        },
    ) == [
        'database: server.hostnam: unknown key, did you mean "server.hostname"?',
        "database: account.a.secret: expected the environment variable NOT_THERE to be set",
        "database: authentication.fallback-admin.user: is taken from the file alone",
        'database: queue.schedule.expire: expected a duration such as "90s", "5m" or "2d", not "soon"',
        'database: queue.schedule.retry.0003: expected a duration such as "90s", "5m" or "2d", not "x"',
        "database: server.data-dir: is taken from the file alone",
    ]


@pytest.mark.parametrize(
    ("stored", "text", "expected"),
    [
        ({"queue.outbound.next-hop": "x"}, FILE, "database: queue.outbound.next-hop: there is no route"),
        ({"server.node": "1"}, FILE + '[queue.outbound]\nnext-hop = "x"\n', "F:14: queue.outbound.next-hop: there"),
        ({"queue.route.b.port": "26"}, FILE, "database: queue.route.b.address: is missing"),
        ({"queue.route.b.port": "26"}, FILE + "[queue.route.b]\n", "F:13: queue.route.b.address: is missing"),
        ({"queue.route.smart.auth.secret": "s"}, FILE, "database: queue.route.smart.auth.username: is missing"),
        ({"access.a.action": "redirect"}, FILE, "access.a"),
        ({"server.node": "x"}, "[server]\nnode = 700\n", "F:2: server.node: expected a whole number"),
    ],
)  # fmt: skip
def test_a_problem_between_values_says_where_to_look(
    tmp_path: Path, stored: dict[str, str], text: str, expected: str
) -> None:
    found = problems(tmp_path, stored, text)
    assert any(expected in each for each in found), found


def test_problems_are_told_apart_by_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        over(tmp_path, {"server.node": "x", "account.a.secret": "%{env:NOT_THERE}%"})
    assert {each.key: each.kind for each in caught.value.problems} == {
        "server.node": "parse",
        "account.a.secret": "macro",
    }
    with pytest.raises(ConfigError) as caught:
        over(tmp_path, {"queue.outbound.next-hop": "x"})
    assert [each.kind for each in caught.value.problems] == ["build"]


def test_what_a_part_refuses_is_located_in_the_database(tmp_path: Path) -> None:
    config = over(tmp_path, {"server.origin": "a.example", "session.plugins.0000": "json:JSONDecoder"})
    for error, expected in (
        (OptionError("server.origin: is bad"), "database: server.origin: is bad"),
        (OptionError("session.plugins: is bad"), "database: session.plugins: is bad"),
        (OptionError("server.hostname: is bad"), "F:3: server.hostname: is bad"),
        (OptionError("no key here"), "F: no key here"),
    ):
        (problem,) = located(config, error).problems
        assert problem.render(Path("F")) == expected
        assert problem.kind == "build"


def test_the_database_is_asked_for_the_data_directory_of_the_file(tmp_path: Path) -> None:
    asked: list[Path] = []

    def stored(directory: Path) -> dict[str, str]:
        asked.append(directory)
        return {}

    path = tmp_path / "relayd.toml"
    for text, environ in (
        ('server.data-dir = "/srv/mail"', {}),
        ("", {"STATE_DIRECTORY": "/var/lib/relayd:/x"}),
        ("", {}),
    ):
        path.write_text(text, encoding="utf-8")
        load(path, environ=environ, stored=stored)
    assert asked == [Path("/srv/mail"), Path("/var/lib/relayd"), Path("relayd-data").absolute()]


def test_a_value_that_moves_to_the_database_is_no_change(tmp_path: Path) -> None:
    file = over(tmp_path, {})
    assert file.changed_keys(over(tmp_path, {"server.node": "7"})) == []
    domains = "session.rcpt.relay-domains"
    assert file.changed_keys(over(tmp_path, {"server.node": "8", domains: "example.org"})) == ["server.node", domains]


def test_a_client_takes_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "relayd.toml"
    path.write_text(FILE, encoding="utf-8")
    assert load(path, environ={}, for_client=True).stored == {}
