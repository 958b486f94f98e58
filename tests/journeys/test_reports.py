"""Reports to senders and to the operator: late mail, lost reports, and days when nothing may bounce."""

from __future__ import annotations

from tests.journeys.conftest import StartRelay, send, wait_gone, wait_logged, wait_status
from tests.rig.sink import Delivery, Sink


def test_a_trusted_sender_is_told_that_mail_is_late(relay: StartRelay) -> None:
    def busy(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "450 4.2.1 busy" if verb == "RCPT" and "late@" in argument else None

    with Sink(answer=busy) as sink:
        daemon = relay(sink.port, {"queue.schedule.notify": ["300ms"]})
        queue_id = send(daemon, to="late@receiver.test")
        report = sink.wait_for_one(lambda each: each.recipients == ["a@sender.test"])
        assert b"Action: delayed" in report.content
        assert b"Will-Retry-Until: " in report.content
        assert daemon.request("GET", f"/api/queue/messages/{queue_id}")[0] == 200


def test_a_report_that_cannot_be_delivered_goes_to_postmaster(relay: StartRelay) -> None:
    def knows_ops(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "550 5.1.1 no such user" if verb == "RCPT" and "ops@" not in argument else None

    with Sink(answer=knows_ops) as sink:
        daemon = relay(sink.port, {"server.postmaster": "ops@sender.test"})
        send(daemon)
        (double,) = sink.wait_for(1)
        assert double.recipients == ["ops@sender.test"]
        assert double.return_path == ""
        daemon.wait_empty()
        wait_logged(daemon, "delivery.double-bounce")
        assert len(sink.deliveries) == 1
        assert daemon.audit()["difference"] == 0


def test_soft_bounce_defers_what_would_bounce(relay: StartRelay) -> None:
    def refuse(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "550 5.7.1 we do not know you yet" if verb == "RCPT" else None

    with Sink(answer=refuse) as sink:
        daemon = relay(sink.port, {"queue.soft-bounce": True, "queue.schedule.retry": ["10m"]})
        queue_id = send(daemon)
        assert "we do not know you yet" in wait_status(daemon, queue_id, "temp_fail")


def test_a_route_whose_first_attempts_bounce_is_suspended(relay: StartRelay) -> None:
    refusing = True

    def refuse(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "550 5.7.1 blocked" if verb == "RCPT" and refusing else None

    with Sink(answer=refuse) as sink:
        daemon = relay(sink.port, {"queue.breaker.attempts": 5, "queue.breaker.suspend": "2s"})
        for number in range(5):
            send(daemon, to=f"r{number}@receiver.test", sender="")
        wait_logged(daemon, "delivery.suspended", "sink")
        refusing = False
        queue_id = send(daemon, to="spared@receiver.test")
        assert daemon.request("GET", f"/api/queue/messages/{queue_id}")[0] == 200
        sink.wait_for_one(lambda each: each.recipients == ["spared@receiver.test"])
        resumed, spared = (wait_logged(daemon, *words) for words in (["delivery.resumed"], ["delivered", "spared@"]))
        assert resumed[:20] <= spared[:20]
        wait_gone(daemon, queue_id)
