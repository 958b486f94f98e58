"""A BrainyCP panel looks at the queue of a live relay and steers it."""

from __future__ import annotations

import json
import smtplib
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.journeys.conftest import StartRelay, message, send, wait_status, wait_until
from tests.rig.daemon import Daemon
from tests.rig.scanners import EICAR, GTUBE, Clamd, ScannerDaemon, Spamd
from tests.rig.sink import Delivery, Sink


def ask(relay: Daemon, operation: str, method: str = "POST", **more: str) -> dict[str, Any]:
    """One request of the panel, in English."""
    credentials = {"username": "admin", "password": "for-tests-only", "mailserver": "mailserver", "language": "en"}
    given = urllib.parse.urlencode({**credentials, operation: operation, **more})
    url = f"http://127.0.0.1:{relay.http_port}/api/api.php"
    request = urllib.request.Request(url, given.encode()) if method == "POST" else f"{url}?{given}"
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
        body: dict[str, Any] = json.loads(answer.read())
        return body


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A host that is busy for deferred.test until it is told otherwise (`open_to`)."""

    def busy(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "450 4.2.1 busy" if verb == "RCPT" and "deferred.test" in argument else None

    with Sink(answer=busy) as sink:
        yield sink


@pytest.fixture
def queued(relay: StartRelay, sink: Sink) -> tuple[Daemon, list[int]]:
    """A relay with three deferred messages, the last of them held."""
    daemon = relay(sink.port, {"queue.schedule.retry": ["1h"]})
    ids = []
    for name in ("one", "two", "three"):
        sent = send(daemon, message(name), sender=f"{name}@sender.test", to=f"{name}@deferred.test")
        wait_status(daemon, sent, "temp_fail")
        ids.append(int(sent))
    daemon.data_of("POST", f"/api/queue/hold?range-start={ids[2]}", {"reason": "looked at"})
    return daemon, ids


def test_the_queue_is_listed_and_counted(queued: tuple[Daemon, list[int]]) -> None:
    daemon, ids = queued
    assert ask(daemon, "count_msg", "GET") == {
        "error": 0,
        "mess": "Number of messages",
        "message": "Number of messages",
        "detail": 3,
    }
    listed = ask(daemon, "list_msg")
    assert (listed["error"], listed["mess"], listed["message"]) == (0, "Mail queue list", "Mail queue list")
    sizes = {each["id"]: each["size"] for each in daemon.queued()}
    for each in listed["detail"]:
        assert 0 <= each.pop("age") < 60
    assert listed["detail"] == [
        {
            "id": id,
            "size": sizes[id],
            "sender": f"{name}@sender.test",
            "recipients": [f"{name}@deferred.test"],
            "frozen": name == "three",
        }
        for id, name in zip(ids, ("one", "two", "three"), strict=True)
    ]


def test_messages_are_deleted(queued: tuple[Daemon, list[int]]) -> None:
    daemon, ids = queued
    done = {"error": 0, "mess": "Request completed", "message": "Request completed"}
    assert ask(daemon, "controll_msg", command="delete", id=str(ids[0])) == {**done, "detail": ["Messages deleted: 1"]}
    assert ask(daemon, "controll_msg", command="delete", id=str(ids[0]))["error"] == 101
    assert ask(daemon, "delete_frozen_msg") == {**done, "detail": ["Messages deleted: 1"]}
    assert [each["id"] for each in ask(daemon, "list_msg")["detail"]] == [ids[1]]
    assert ask(daemon, "delete_all_msg", dellete_forse="1") == {**done, "detail": ["Messages deleted: 1"]}
    assert ask(daemon, "list_msg") == {
        "error": 100,
        "mess": "The mail queue list is empty",
        "message": "The mail queue list is empty",
    }
    assert daemon.audit()["difference"] == 0


def test_messages_are_sent_again_frozen_or_not(queued: tuple[Daemon, list[int]], sink: Sink) -> None:
    daemon, ids = queued
    sink.answer = None
    for id in (ids[0], ids[2]):
        assert ask(daemon, "controll_msg", command="reship", id=str(id))["error"] == 0
    found = {delivery.return_path for delivery in sink.wait_for(2)}
    assert found == {"one@sender.test", "three@sender.test"}
    wait_until(lambda: [each["id"] for each in daemon.queued()] == [ids[1]], "the other one stays")


def test_a_stranger_changes_nothing(queued: tuple[Daemon, list[int]]) -> None:
    daemon, ids = queued
    denied = "Unfortunately, the module is not available to you."
    for wrong in ({"password": "guess"}, {"username": "nobody"}, {"username": ""}):
        answer = ask(daemon, "delete_all_msg", **wrong)
        assert answer == {"error": 400, "mess": denied, "message": denied}
    assert len(daemon.queued()) == len(ids)
    log = daemon.output.read_text() + "".join(each.read_text() for each in (daemon.data / "logs").iterdir())
    assert "for-tests-only" not in log


@pytest.mark.parametrize(("operation", "make"), [("clamav", Clamd), ("spamassassin", Spamd)])
def test_a_scanner_is_switched_live_and_stays_so(
    relay: StartRelay, tmp_path: Path, operation: str, make: type[ScannerDaemon]
) -> None:
    scanner = make(tmp_path / "scanner")
    bad = message("prices", (EICAR if make is Clamd else GTUBE).decode() + "\r\n")
    scanner.start()
    try:
        with Sink() as sink:
            record = {"type": make.__name__.lower(), "address": scanner.address, "action": "reject", "enabled": False}
            daemon = relay(sink.port, {f"filter.it.{key}": value for key, value in record.items()})
            assert ask(daemon, operation, command="status")["detail"] == ["off"]
            send(daemon, bad)
            answer = ask(daemon, operation, command="on")
            assert (answer["error"], answer["mess"], answer["detail"]) == (0, "Command completed", ["on"])
            with pytest.raises(smtplib.SMTPDataError):
                with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
                    client.sendmail("a@sender.test", ["b@receiver.test"], bad)
            assert daemon.stop() == 0
            daemon.start()
            assert ask(daemon, operation, "GET", command="status")["detail"] == ["on"]
            assert ask(daemon, operation, command="off")["detail"] == ["off"]
            send(daemon, bad)
            scanner.kill()
            (state, problem) = ask(daemon, operation, command="on")["detail"]
            assert state == "on"
            assert problem.startswith("it: ")
    finally:
        scanner.kill()


def test_a_scanner_that_nobody_configured_is_made(relay: StartRelay) -> None:
    """It takes mail all the same while the scanner is not there."""
    with Sink() as sink:
        daemon = relay(sink.port)
        assert ask(daemon, "clamav", command="on")["detail"][0] == "on"
        found = daemon.data_of("GET", "/api/settings/list?prefix=filter.clamav")["items"]
        assert found["on-failure"] == "accept"
        send(daemon)
        sink.wait_for(1)


def test_a_switch_that_cannot_be_put_in_force_is_not_set(relay: StartRelay, tmp_path: Path) -> None:
    path = tmp_path / "mx.pem"
    trustme.CA().issue_cert("relay.test").private_key_and_cert_chain_pem.write_to_path(str(path))
    with Sink() as sink:
        daemon = relay(sink.port, {"certificate.mx.cert": str(path), "certificate.mx.private-key": str(path)})
        path.write_text("spoiled")
        assert ask(daemon, "clamav", command="on")["error"] != 0
        assert daemon.data_of("GET", "/api/settings/list?prefix=filter.clamav")["items"] == {}
        assert ask(daemon, "clamav", command="status")["detail"] == ["off"]
