"""What an operator takes back: deletion, cancellation, and where mail goes; over crashes, and until the window ends."""

from __future__ import annotations

import pytest

from tests.journeys.conftest import StartRelay, send, wait_gone, wait_status, wait_until
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port
from tests.rig.sink import Sink

LATER = {"queue.schedule.retry": ["10m"]}


def _deleted(daemon: Daemon) -> list[int]:
    ids: list[int] = daemon.data_of("GET", "/api/queue/messages?state=deleted")["items"]
    return ids


def _balanced(daemon: Daemon) -> None:
    assert daemon.audit()["difference"] == 0


@pytest.mark.parametrize("crash", [False, True])
def test_deleted_mail_is_restored_and_delivered_once(relay: StartRelay, crash: bool) -> None:
    port = free_port()
    daemon = relay(port, LATER)
    large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 8000
    ids = [send(daemon), send(daemon, large)]
    for queue_id in ids:
        wait_status(daemon, queue_id, "temp_fail")
    assert daemon.data_of("DELETE", "/api/queue/messages") is True
    assert daemon.queued() == []
    if crash:
        daemon.kill()
        daemon.start()
    with Sink(port=port) as sink:
        assert _deleted(daemon) == [int(each) for each in ids]
        assert daemon.data_of("PATCH", "/api/queue/messages") is False
        assert daemon.data_of("POST", "/api/queue/undo") == {"matched": 2}
        if crash:
            daemon.kill()
            daemon.start()
            daemon.data_of("PATCH", "/api/queue/messages")
        assert large.rstrip() in max((each.content for each in sink.wait_for(2)), key=len)
        daemon.wait_empty()
        assert len(sink.deliveries) == 2
        assert _deleted(daemon) == []
        _balanced(daemon)


def test_a_cancelled_recipient_is_restored(relay: StartRelay) -> None:
    port = free_port()
    daemon = relay(port, LATER)
    queue_id = send(daemon, to=["b@receiver.test", "c@receiver.test"])
    wait_status(daemon, queue_id, "temp_fail")
    assert daemon.data_of("DELETE", f"/api/queue/messages/{queue_id}?filter=c@") is True
    with Sink(port=port) as sink:
        daemon.data_of("PATCH", f"/api/queue/messages/{queue_id}")
        wait_gone(daemon, queue_id)
        assert [each.recipients for each in sink.deliveries] == [["b@receiver.test"]]
        assert _deleted(daemon) == [int(queue_id)]  # kept for who was cancelled
        assert daemon.data_of("POST", "/api/queue/undo") == {"matched": 1}
        sink.wait_for(2)
        daemon.wait_empty()
        assert [each.recipients for each in sink.deliveries] == [["b@receiver.test"], ["c@receiver.test"]]
        _balanced(daemon)


def test_the_window_ends_and_a_purge_does_not_wait_for_it(relay: StartRelay) -> None:
    daemon = relay(free_port(), {**LATER, "queue.deleted.keep": "1s"})
    large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 8000
    send(daemon, large)
    bodies = daemon.data / "spool"

    def files() -> list[str]:
        return [each.name for each in bodies.glob("??/*")]

    assert files()
    daemon.data_of("DELETE", "/api/queue/messages")
    wait_until(lambda: not _deleted(daemon) and not files(), "the window has ended")
    assert daemon.data_of("POST", "/api/queue/undo") == {"matched": 0}
    send(daemon, large)
    daemon.data_of("DELETE", "/api/queue/messages?purge=1")
    assert _deleted(daemon) == []
    assert files() == []
    _balanced(daemon)


def test_mail_stuck_at_a_dead_smarthost_is_sent_by_another_route(relay: StartRelay) -> None:
    with Sink() as sink:
        routes = {"queue.route.other.address": "127.0.0.1", "queue.route.other.port": sink.port}
        daemon = relay(free_port(), {**LATER, **routes})
        queue_id = send(daemon)
        wait_status(daemon, queue_id, "temp_fail")
        daemon.data_of("PATCH", "/api/queue/status/stop")
        assert daemon.data_of("POST", "/api/queue/reroute", {"next_hop": "other"}) == {"matched": 1}
        daemon.kill()
        daemon.start()
        (shown,) = daemon.queued()
        assert shown["next_hop"] == "other"
        daemon.data_of("PATCH", "/api/queue/status/start")
        (delivery,) = sink.wait_for(1)
        assert delivery.recipients == ["b@receiver.test"]
        daemon.wait_empty()
        _balanced(daemon)
