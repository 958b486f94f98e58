"""5xx answers: the sender gets a report about just the recipients that failed, and never for a null return path."""

from __future__ import annotations

import email
from email.message import Message

from tests.journeys.conftest import StartRelay, message, send
from tests.rig.sink import Delivery, Sink


def refuse_nobody(verb: str, argument: str, delivery: Delivery) -> str | None:
    """550 for every recipient whose local part begins with "nobody"."""
    return "550 5.1.1 no such user here" if verb == "RCPT" and "<nobody" in argument else None


def report_of(delivery: Delivery) -> tuple[Message, str]:
    """A DSN parsed, and its machine-readable part as text."""
    parsed = email.message_from_bytes(delivery.content)
    assert parsed.get_content_type() == "multipart/report"
    parts = parsed.get_payload()
    assert isinstance(parts, list)
    status = parts[1]
    assert isinstance(status, Message)
    return parsed, status.as_string()


def test_a_5xx_bounces_to_the_sender(relay: StartRelay) -> None:
    with Sink(answer=refuse_nobody) as sink:
        daemon = relay(sink.port)
        send(daemon, to="nobody@receiver.test", mail_options=("ENVID=QQ314159", "RET=HDRS"))
        (bounce,) = sink.wait_for(1)
        assert bounce.return_path == ""
        assert bounce.recipients == ["a@sender.test"]
        parsed, status = report_of(bounce)
        assert parsed["From"]
        assert "MAILER-DAEMON@relay.test" in parsed["From"]
        assert parsed["Auto-Submitted"].startswith("auto-replied")
        assert "Final-Recipient: rfc822;" in status.replace("; ", ";")
        assert "nobody@receiver.test" in status
        assert "Status: 5.1.1" in status
        assert "Action: failed" in status
        assert "X-Relayd-Class: bad-mailbox; rule=mailbox-unknown" in status
        assert "Original-Envelope-Id: QQ314159" in status
        daemon.wait_empty()
        assert daemon.audit()["difference"] == 0
        _, metrics = daemon.request("GET", "/metrics")
        counted = [line for line in metrics.splitlines() if line.startswith("relayd_refusals_total{")]
        assert len(counted) == 1
        assert 'class="bad-mailbox"' in counted[0]
        assert 'outcome="bounced"' in counted[0]


def test_of_mixed_recipients_only_the_refused_are_reported(relay: StartRelay) -> None:
    with Sink(answer=refuse_nobody) as sink:
        daemon = relay(sink.port)
        send(daemon, to=["b@receiver.test", "nobody@receiver.test", "c@receiver.test"])
        deliveries = sink.wait_for(2)
        (mail,) = [each for each in deliveries if each.return_path]
        (bounce,) = [each for each in deliveries if not each.return_path]
        assert mail.recipients == ["b@receiver.test", "c@receiver.test"]
        _, status = report_of(bounce)
        assert "nobody@receiver.test" in status
        assert "c@receiver.test" not in status
        daemon.wait_empty()


def test_a_null_return_path_is_never_bounced_to(relay: StartRelay) -> None:
    with Sink(answer=refuse_nobody) as sink:
        daemon = relay(sink.port, {"server.postmaster": "ops@receiver.test"})
        send(daemon, message("a bounce of somebody"), sender="", to="nobody@receiver.test")
        daemon.wait_empty()
        assert all(each.recipients != [""] for each in sink.deliveries)
        audit = daemon.audit()
        assert audit["difference"] == 0
        assert audit["bounced"] == 1
