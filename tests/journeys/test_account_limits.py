"""What an account sends is counted over a kill, and one that sends to nobody is held until an operator resumes it."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

from tests.journeys.conftest import StartRelay, message, wait_logged, wait_until
from tests.rig.daemon import Daemon
from tests.rig.peer import Script, running_in_thread
from tests.rig.postfix import free_port


@contextmanager
def signed_in(port: int) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=60) as client:
        client.login("jane", "pass word")
        yield client


def settings(port: int) -> dict[str, object]:
    return {
        "server.listener.submission.bind": [f"127.0.0.1:{port}"],
        "server.listener.submission.role": "submission",
        "account.jane.secret": "pass word",
        "account.jane.emails": ["jane@sender.test"],
    }


def offer(client: smtplib.SMTP, to: list[str], author: str = "jane@sender.test") -> int:
    """The code of the first command that is refused, else that of the end of data."""
    code, _ = client.mail("jane@sender.test")
    for each in to if code == 250 else ():
        code, _ = client.rcpt(each)
        if code != 250:
            client.rset()
            return code
    if code == 250:
        code, _ = client.data(message(From=author))
    return code


def has_ended(client: smtplib.SMTP) -> bool:
    try:
        return client.noop()[0] == 421
    except smtplib.SMTPServerDisconnected:
        return True


def test_what_was_sent_counts_after_a_kill(relay: StartRelay) -> None:
    port = free_port()
    daemon: Daemon = relay(1, settings(port) | {"session.submission.allowances": ["recipients:3/day"]})
    with signed_in(port) as client:
        assert offer(client, ["a@far.test", "b@far.test"]) == 250
        assert offer(client, ["a@far.test", "b@far.test"]) == 450
        assert offer(client, ["a@far.test"], author="boss@sender.test") == 550
    daemon.kill()
    daemon.start()
    with signed_in(port) as client:
        assert offer(client, ["c@far.test"]) == 250
        assert offer(client, ["d@far.test"]) == 450
    (limit,) = daemon.data_of("GET", "/api/quota/jane")["limits"]
    assert (limit["used"], limit["most"]) == (3, 3)


def test_an_account_whose_recipients_do_not_exist_is_held(relay: StartRelay) -> None:
    port = free_port()
    with running_in_thread(
        Script(rcpt=lambda line: "250 2.1.5 Ok" if "<ops@" in line else "550 5.1.1 No such user")
    ) as peer:
        daemon: Daemon = relay(
            peer.port,
            settings(port)
            | {
                "session.submission.bounce-recipients": 5,
                "server.postmaster": "ops@far.test",
                "telemetry.alerts.every": "1s",
                "queue.breaker.attempts": 0,
            },
        )
        with signed_in(port) as client:
            assert offer(client, [f"{each}@far.test" for each in "abcde"]) == 250
            wait_logged(daemon, "security.account-held", "jane", "5 of 5")
            wait_until(lambda: has_ended(client), "the session ends")
        (held,) = daemon.data_of("GET", "/api/queue/suspensions")
        assert (held["destination"], held["until"]) == ("account:jane", None)
        with signed_in(port) as client:
            assert offer(client, ["f@far.test"]) == 250
        assert len(daemon.queued("f@far.test")) == 1
        said = b"mail of account jane is held by account-guard: 5 of 5"
        wait_until(lambda: any(said in each.content for each in peer.taken), "the postmaster is told")
        peer.script.rcpt = "250 2.1.5 Ok"
        daemon.data_of("DELETE", "/api/queue/suspensions/account:jane")
        wait_until(lambda: not daemon.queued("f@far.test"), "its mail goes on")
