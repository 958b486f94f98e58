"""Postfix and smtp-sink as next hops, Postfix, smtp-source, swaks and msmtp as senders."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import trustme

from tests.journeys.conftest import StartPostfix, StartRelay, message, send, wait_logged
from tests.rig.peers import require_program
from tests.rig.postfix import free_port, wait_for_port
from tests.rig.sink import Sink


def test_postfix_as_sender_and_as_next_hop(relay: StartRelay, postfix: StartPostfix, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    directory = Path(tempfile.mkdtemp(prefix="relayd-cert-"))
    directory.chmod(0o755)
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "cert.pem")
    with Sink() as sink:
        receiver = postfix(
            {
                "relayhost": f"[127.0.0.1]:{sink.port}",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": str(directory / "cert.pem"),
            }
        )
        daemon = relay(receiver.port)
        sender = postfix({"relayhost": f"[127.0.0.1]:{daemon.smtp_port}"})
        sender.sendmail(message("through three hosts"), "a@sender.test", ["b@receiver.test", "c@receiver.test"])
        (delivery,) = sink.wait_for(1)
        assert sorted(delivery.recipients) == ["b@receiver.test", "c@receiver.test"]
        assert delivery.content.count(b"\r\nReceived: ") + delivery.content.startswith(b"Received: ") >= 3
        daemon.wait_empty()
        wait_logged(daemon, "delivery.start-tls")


def test_a_required_and_verified_route_takes_a_good_certificate_and_refuses_a_bad_one(
    relay: StartRelay, postfix: StartPostfix
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    directory = Path(tempfile.mkdtemp(prefix="relayd-cert-"))
    directory.chmod(0o755)
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "cert.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    stranger.cert_pem.write_to_path(directory / "other.pem")
    with Sink() as sink:
        receiver = postfix(
            {
                "relayhost": f"[127.0.0.1]:{sink.port}",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": str(directory / "cert.pem"),
            }
        )
        route = {
            "queue.route.sink.address": "localhost",
            "queue.route.sink.tls.mode": "verified",
            "resolver.custom": [],
        }
        good = relay(receiver.port, route | {"queue.route.sink.tls.ca-files": [str(directory / "ca.pem")]})
        send(good)
        sink.wait_for(1)
        bad = relay(receiver.port, route | {"queue.route.sink.tls.ca-files": [str(directory / "other.pem")]})
        send(bad)
        (queued,) = bad.queued()
        while queued["domains"][0]["status"] == "scheduled":
            (queued,) = bad.queued()
        assert "TLS error" in queued["domains"][0]["status"]["temp_fail"]
        assert len(sink.deliveries) == 1


def test_smtp_source_through_relayd_to_smtp_sink(relay: StartRelay) -> None:
    sink_program, source = require_program("smtp-sink"), require_program("smtp-source")
    port = free_port()
    receiver = subprocess.Popen([sink_program, "-u", "nobody", f"127.0.0.1:{port}", "100"])
    try:
        wait_for_port(port)
        daemon = relay(port)
        subprocess.run(
            [source, "-s", "10", "-m", "200", "-l", "4096", "-f", "a@b.test", "-t", "c@d.test",
             f"127.0.0.1:{daemon.smtp_port}"],
            check=True, timeout=60,
        )  # fmt: skip
        daemon.wait_empty()
        assert daemon.audit()["delivered"] == 200
    finally:
        receiver.kill()
        receiver.wait()


def test_msmtp_submits(relay: StartRelay, tmp_path: Path) -> None:
    msmtp = require_program("msmtp")
    with Sink() as sink:
        daemon = relay(sink.port)
        subprocess.run(
            [msmtp, "--host=127.0.0.1", f"--port={daemon.smtp_port}", "--from=a@sender.test", "b@receiver.test"],
            input=message("by msmtp"), check=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        (delivery,) = sink.wait_for(1)
        assert b"Subject: by msmtp" in delivery.content
