"""Access and rewriting tables, through the daemon and over a reload."""

from __future__ import annotations

import signal
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message, send, wait_gone, wait_status, wait_until
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port
from tests.rig.sink import Sink

TABLES: dict[str, Any] = {
    "access.spam.sender": ["*@spam.test"],
    "access.spam.text": "Not from there",
    "access.busy.sender": ["@busy.test", "busy.test"],
    "access.busy.action": "defer",
    "access.look.recipient": ["held@receiver.test"],
    "access.look.action": "hold",
    "access.look.text": "look first",
    "access.abuse.recipient": ["abuse@receiver.test"],
    "access.abuse.action": "redirect",
    "access.abuse.to": ["ops@receiver.test"],
    "access.net.client": ["198.51.100.0/24"],
    "access.net.code": 554,
    "rewrite.inside.sender": [".inside.test"],
    "rewrite.inside.envelope-from": "{local}@sender.test",
    "rewrite.inside.from": "{local}@sender.test",
    "rewrite.inside.remove": ["X-Mailer"],
    "rewrite.inside.add": ["X-Route: inside"],
}


@dataclass
class House:
    """A relay with tables, and who gets its mail."""

    relay: Daemon
    sink: Sink
    outside: int

    def reload(self, settings: dict[str, Any]) -> None:
        """Other settings, by SIGHUP."""
        before = self.relay.output.read_text().count("config.reloaded")
        self.relay.settings |= settings
        self.relay.write_config()
        self.relay.signal(signal.SIGHUP)
        wait_until(lambda: self.relay.output.read_text().count("config.reloaded") > before, "it is reloaded")


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    port = free_port()
    outside = {
        "server.listener.outside.bind": [f"127.0.0.1:{port}"],
        "server.listener.outside.proxy-protocol": ["127.0.0.0/8"],
    }
    with Sink() as sink:
        yield House(module_relay(sink.port, outside | TABLES), sink, port)


def refused(house: House, sender: str, to: str = "b@receiver.test") -> str:
    with pytest.raises(AssertionError) as caught:
        send(house.relay, sender=sender, to=to)
    return str(caught.value)


def test_a_refused_sender_reads_the_text_of_the_rule(house: House) -> None:
    assert "5.7.1 Not from there" in refused(house, "a@spam.test")


def test_a_deferred_sender_gets_a_4xx(house: House) -> None:
    assert "4.7.1" in refused(house, "a@busy.test")


def test_a_refused_network_gets_no_service(house: House) -> None:
    with pytest.raises(smtplib.SMTPConnectError) as caught:
        Proxied(house.outside)
    assert caught.value.smtp_code == 554


def test_held_mail_waits_for_its_release(house: House) -> None:
    queue_id = send(house.relay, to="held@receiver.test")
    held = house.relay.data_of("GET", f"/api/queue/messages/{queue_id}")
    assert "look first" in held["hold"]["reason"]
    house.relay.data_of("POST", "/api/queue/release?text=held@receiver.test")
    house.sink.wait_for_one(lambda each: each.recipients == ["held@receiver.test"])
    wait_gone(house.relay, queue_id)


def test_redirected_mail_goes_to_others(house: House) -> None:
    send(house.relay, sender="redirected@sender.test", to="abuse@receiver.test")
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "redirected@sender.test")
    assert delivery.recipients == ["ops@receiver.test"]


def test_addresses_and_fields_are_rewritten(house: House) -> None:
    content = message("rewritten", **{"From": "Jane <jane@host.inside.test>", "X-Mailer": "old"})
    send(house.relay, content, sender="jane@host.inside.test")
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "jane@sender.test")
    assert b"From: Jane <jane@sender.test>\r\n" in delivery.content
    assert b"X-Route: inside\r\n" in delivery.content
    assert b"X-Mailer" not in delivery.content


def test_the_tables_change_at_a_reload_and_redirect_all_catches_everything(house: House) -> None:
    house.reload({"queue.redirect-all": ["staging@receiver.test"], "access.late.sender": ["*@late.test"]})
    try:
        assert "5.7.1" in refused(house, "a@late.test")
        send(house.relay, sender="staged@sender.test", to=["b@receiver.test", "c@elsewhere.test"])
        delivery = house.sink.wait_for_one(lambda each: each.return_path == "staged@sender.test")
        assert delivery.recipients == ["staging@receiver.test"]
        assert b"X-Original-To: " in delivery.content
    finally:
        house.reload({"queue.redirect-all": []})
    send(house.relay, sender="unstaged@sender.test", to="b@receiver.test")
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "unstaged@sender.test")
    assert delivery.recipients == ["b@receiver.test"]


def test_a_reload_changes_the_next_hop_of_mail_that_waits(house: House) -> None:
    port = free_port()
    house.reload({"queue.route.sink.port": port})
    queue_id = send(house.relay, to="moved@receiver.test")
    wait_status(house.relay, queue_id, "temp_fail")
    house.reload({"queue.route.sink.port": house.sink.port})
    house.sink.wait_for_one(lambda each: each.recipients == ["moved@receiver.test"])
