"""Strangers at a whole relay: greylisted, let in, remembered across a crash; banned for trying names, then freed."""

from __future__ import annotations

import re
import smtplib
from typing import Any

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message, wait_logged, wait_until
from tests.rig.daemon import Daemon, free_port
from tests.rig.dns import serving_in_thread
from tests.rig.sink import Sink


def settings(port: int, **given: Any) -> dict[str, Any]:
    """A listener where everybody is a stranger; b@receiver.test exists."""
    return {
        "server.listener.outside.bind": [f"127.0.0.1:{port}"],
        "server.listener.outside.proxy-protocol": ["127.0.0.1"],
        "session.rcpt.relay-domains": ["receiver.test"],
        "session.rcpt.known.all.domains": ["receiver.test"],
        "session.rcpt.known.all.check": "list",
        "session.rcpt.known.all.list": ["b"],
        **given,
    }


def rcpt(port: int, sender: str = "a@sender.test", to: str = "b@receiver.test") -> tuple[int, str]:
    with Proxied(port) as client:
        client.ehlo()
        client.mail(sender)
        code, text = client.rcpt(to)
        return code, text.decode()


def deliver(port: int) -> None:
    with Proxied(port) as client:
        client.ehlo()
        client.sendmail("a@sender.test", ["b@receiver.test"], message())


def test_greylisted_then_let_in_and_remembered(relay: StartRelay) -> None:
    port = free_port()
    with Sink() as sink:
        daemon = relay(sink.port, settings(port, **{"greylist.enabled": True, "greylist.delay": "300ms"}))
        code, text = rcpt(port)
        assert (code, text) == (451, "4.7.1 Greylisted, please try again in 1 seconds")
        wait_until(lambda: rcpt(port)[0] == 250, "it is let in")
        assert "smtp.rcpt-to-greylisted" in wait_logged(daemon, "smtp.rcpt-to-greylisted", "b@receiver.test")
        deliver(port)
        assert rcpt(port, sender="other@sender.test")[0] == 250
        known = daemon.data_of("GET", "/api/greylist?filter=198.51.100.0/24")["items"]
        assert known[0]["until"] is not None
        wait_until(lambda: written(daemon), "it is on disk")
        daemon.kill()
        daemon.start()
        assert rcpt(port, sender="third@sender.test")[0] == 250
        assert daemon.data_of("DELETE", "/api/greylist") >= 1
        assert rcpt(port, sender="third@sender.test")[0] == 451


def written(daemon: Daemon) -> bool:
    import sqlite3

    with sqlite3.connect(f"file:{daemon.data}/reputation.db?mode=ro", uri=True) as connection:
        found = connection.execute("SELECT count(*) FROM remembered WHERE kind = 'greylist-known'").fetchone()
    connection.close()
    return bool(found[0])


def test_who_tries_names_out_is_shut_out(relay: StartRelay) -> None:
    port = free_port()
    given = {"server.auto-ban.abuse.rate": "4/1d", "session.tarpit.recipients": 3}
    daemon = relay(None, settings(port, **given))
    with Proxied(port) as client:
        client.ehlo()
        client.mail("a@sender.test")
        assert [client.rcpt(f"name{number}@receiver.test")[0] for number in range(3)] == [550, 550, 421]
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()
    assert rcpt(port, to="name4@receiver.test")[0] == 421
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        Proxied(port)
    assert refused.value.smtp_code == 421
    (ban,) = daemon.data_of("GET", "/api/bans")["items"]
    assert ban["address"] == "198.51.100.7"
    assert ban["reason"] == "recipients that do not exist"
    assert re.search("name4@receiver.test", ban["evidence"])
    assert "security.abuse-ban" in wait_logged(daemon, "security.abuse-ban", "198.51.100.7")
    assert daemon.data_of("DELETE", "/api/bans/198.51.100.7") is True
    assert rcpt(port)[0] == 250


def test_whom_a_list_knows_for_good_mail_is_not_shut_out_before_his_first(relay: StartRelay) -> None:
    port = free_port()
    with serving_in_thread({"7.100.51.198.list.dnswl.org": {"A": ["127.0.5.2"]}}) as dns:
        given = {
            "server.auto-ban.abuse.rate": "1/1d",
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "dnsbl.dnswl.enabled": True,
        }
        daemon = relay(None, settings(port, **given))
        rcpt(port, to="name@receiver.test")
        wait_until(lambda: not daemon.data_of("GET", "/api/bans")["items"], "it is let in again")
        assert rcpt(port, to="other@receiver.test")[0] == 550
        assert rcpt(port)[0] == 250
        assert not daemon.data_of("GET", "/api/bans")["items"]
