"""Webhooks of a real daemon: outcomes of mail arrive at a web server, signed, over SIGKILLs, and again when asked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.journeys.conftest import StartRelay, send, wait_until
from tests.rig.daemon import Daemon
from tests.rig.receiver import Receiver
from tests.rig.sink import Sink

KEY = "a key that nobody else has"


class Background(Receiver):
    """A receiver in a thread of its own."""

    def __enter__(self) -> Background:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def recipients(self, type: str) -> list[str]:
        return [each["data"]["to"] for each in list(self.taken) if each["type"] == type]


@pytest.fixture
def receiver() -> Iterator[Background]:
    with Background() as one:
        yield one


def settings(receiver: Receiver) -> dict[str, object]:
    return {
        "webhook.hook.url": receiver.url,
        "webhook.hook.events": ["delivery.delivered", "queue.queue-message*"],
        "webhook.hook.signature-key": KEY,
        "webhook.hook.throttle": "10ms",
        "webhook.hook.backoff": "20ms",
    }


def relayd(daemon: Daemon, *arguments: str) -> str:
    """What a command prints; it must succeed."""
    return subprocess.run(
        [sys.executable, "-m", "relayd", *arguments, "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_outcomes_arrive_over_sigkills_and_again_when_asked(relay: StartRelay, receiver: Background) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, settings(receiver))
        first = send(daemon, to="a@receiver.test")
        wait_until(lambda: receiver.recipients("delivery.delivered") == ["a@receiver.test"], "the first outcome")
        assert all(each.is_signed(KEY) for each in receiver.requests)
        (queued, delivered) = receiver.taken
        assert str(queued["data"]["queueId"]) == str(delivered["data"]["queueId"]) == first
        assert delivered["data"]["hostname"] == "127.0.0.1"

        receiver.answer = lambda request: web.Response(status=503)
        for number in range(3):
            send(daemon, to=f"{number}@receiver.test")
        wait_until(lambda: daemon.data_of("GET", "/api/webhooks/hook")["pending"] >= 6, "they are logged")
        daemon.kill()
        receiver.answer = lambda request: None
        daemon.start()
        wait_until(lambda: len(receiver.recipients("delivery.delivered")) >= 4, "the others")
        wait_until(lambda: daemon.data_of("GET", "/api/webhooks/hook")["pending"] == 0, "all were taken")
        ids = list(dict.fromkeys(receiver.ids()))
        assert ids == sorted(ids)

        assert "ok" in relayd(daemon, "webhook", "list")
        assert relayd(daemon, "webhook", "test", "hook").startswith("taken: 200")
        receiver.taken.clear()
        assert "to be sent to hook" in relayd(daemon, "webhook", "replay", "hook", "--offset", str(ids[-2]))
        wait_until(lambda: receiver.ids() == ids[-1:], "the last one again")

        shown = relayd(daemon, "api", "GET", "/settings/list?prefix=webhook")
        assert KEY not in shown
        assert KEY not in daemon.output.read_text(errors="replace")


def test_a_webhook_is_added_by_the_api_and_taken_away(relay: StartRelay, receiver: Background) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        assert not (daemon.data / "webhooks.db").exists()
        values = [
            [key, value[0] if isinstance(value, list) else value]
            for key, value in settings(receiver).items()
            if not key.endswith("key")
        ]
        daemon.data_of("POST", "/api/settings", [{"type": "insert", "values": values, "assert_empty": False}])
        daemon.data_of("GET", "/api/reload")
        send(daemon)
        wait_until(lambda: receiver.recipients("delivery.delivered"), "the outcome")
        assert "X-Signature" not in receiver.requests[0].headers
        daemon.data_of("POST", "/api/settings", [{"type": "clear", "prefix": "webhook."}])
        daemon.data_of("GET", "/api/reload")
        assert daemon.data_of("GET", "/api/webhooks") == {"items": [], "total": 0}
        before = len(receiver.requests)
        send(daemon)
        daemon.wait_empty()
        assert len(receiver.requests) == before


def test_a_wrong_webhook_is_a_configuration_error(relay: StartRelay) -> None:
    daemon = relay()
    for key, value, word in (
        ("url", "ftp://x.example/", "URL"),
        ("url", "https://user:pass@x.example/", "auth.username"),
        ("events", "delivery.deliverd", "delivery.delivered"),
        ("headers", "X-Signature: mine", "header"),
        ("headers", "X-A: b\r\nX-C: d", "header"),
    ):
        values = [["url", "https://x.example/"], ["events", "delivery.*"], [key, value]]
        body = [{"type": "insert", "prefix": "webhook.w", "values": values, "assert_empty": False}]
        status, answer = daemon.request("POST", "/api/settings", body)
        assert "data" not in answer, (status, answer)
        assert word in str(answer)
