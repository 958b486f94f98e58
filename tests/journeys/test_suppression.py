"""A dead mailbox is sent to once: the next mail is refused at RCPT, mail under way is bounced, until it is undone."""

from __future__ import annotations

import smtplib

from tests.journeys.conftest import StartRelay, send, wait_until
from tests.journeys.test_refused_mail_bounces import refuse_nobody, report_of
from tests.rig.daemon import Daemon
from tests.rig.sink import Sink

ON = {"queue.suppression.enable": True}


def listed(daemon: Daemon) -> list[dict[str, object]]:
    items: list[dict[str, object]] = daemon.data_of("GET", "/api/suppression")["items"]
    return items


def refusal(daemon: Daemon, address: str, sender: str = "a@sender.test") -> tuple[int, str]:
    """The answer to RCPT."""
    with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
        client.ehlo()
        client.mail(sender)
        code, text = client.rcpt(address)
    return code, text.decode()


def test_a_dead_mailbox_is_sent_to_once(relay: StartRelay) -> None:
    with Sink(answer=refuse_nobody) as sink:
        daemon = relay(sink.port, ON)
        id = send(daemon, to=["nobody@receiver.test", "b@receiver.test"])
        sink.wait_for(2)
        (entry,) = wait_until(lambda: listed(daemon), "the recipient is suppressed")
        assert entry["cause"] == "bad-mailbox"
        assert entry["scope"] == "domain:sender.test"
        evidence = entry["evidence"]
        assert isinstance(evidence, dict)
        assert (evidence["queue_id"], evidence["code"], evidence["enhanced"]) == (int(id), 550, "5.1.1")

        code, text = refusal(daemon, "Nobody@receiver.test")
        day = str(entry["since"])[:10]
        assert code == 550
        assert text == f"5.7.1 The recipient is suppressed since {day}: bad-mailbox (550 5.1.1 no such user here)"
        assert refusal(daemon, "nobody@receiver.test", sender="a@another.test")[0] == 250
        assert refusal(daemon, "nobody@receiver.test", sender="")[0] == 250

        daemon.kill()
        daemon.start()
        assert refusal(daemon, "nobody@receiver.test")[0] == 550, "it lasts over SIGKILL"
        assert daemon.data_of("DELETE", "/api/suppression?cause=bad-mailbox")["matched"] == 1
        assert refusal(daemon, "nobody@receiver.test")[0] == 250
        daemon.wait_empty()


def test_who_was_suppressed_after_acceptance_is_bounced_with_cause_and_date(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, ON)
        daemon.data_of("PATCH", "/api/queue/status/stop")
        send(daemon, to=["gone@receiver.test", "b@receiver.test"])
        body = {"address": "gone@receiver.test", "cause": "complaint", "note": "asked us to stop"}
        daemon.data_of("POST", "/api/suppression", body)
        daemon.data_of("PATCH", "/api/queue/status/start")
        deliveries = sink.wait_for(2)
        (mail,) = [each for each in deliveries if each.return_path]
        (bounce,) = [each for each in deliveries if not each.return_path]
        assert mail.recipients == ["b@receiver.test"]
        _, status = report_of(bounce)
        assert "gone@receiver.test" in status
        assert "Status: 5.7.1" in status
        assert "complaint (asked us to stop)" in " ".join(status.split())
        daemon.wait_empty()
        assert daemon.audit()["difference"] == 0
        assert 'class="suppressed"' in daemon.request("GET", "/metrics")[1]


def test_off_by_default(relay: StartRelay) -> None:
    with Sink(answer=refuse_nobody) as sink:
        daemon = relay(sink.port)
        send(daemon, to="nobody@receiver.test")
        sink.wait_for(1)
        daemon.wait_empty()
        found = daemon.data_of("GET", "/api/suppression")
        assert found == {"items": [], "total": 0, "enabled": False}
        assert refusal(daemon, "nobody@receiver.test")[0] == 250
        assert not (daemon.data / "suppression.db").exists()
