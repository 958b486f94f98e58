"""Submission with a sign-in over TLS, listeners of other kinds, and the certificate's change while running."""

from __future__ import annotations

import signal
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.journeys.conftest import StartRelay, message, wait_until
from tests.rig.daemon import Daemon
from tests.rig.peers import absent, require_program
from tests.rig.postfix import free_port
from tests.rig.sink import Sink


@dataclass
class House:
    """A relay with submission (STARTTLS), submissions (implicit TLS), LMTP and IPv6 listeners."""

    relay: Daemon
    sink: Sink
    authority: trustme.CA
    certificate: Path
    submission: int
    submissions: int
    lmtp: str
    six: int

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


def issue(authority: trustme.CA, path: Path) -> bytes:
    """Write a new certificate and key; the certificate in DER."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    fresh = path.with_suffix(".new")
    issued.private_key_and_cert_chain_pem.write_to_path(str(fresh))
    fresh.replace(path)
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


@pytest.fixture(scope="module")
def house(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issue(authority, directory / "cert.pem")
    submission, submissions, six = free_port(), free_port(), free_port("::1")
    lmtp = str(directory / "lmtp.sock")
    with Sink() as sink:
        settings = {
            "server.listener.submission.bind": [f"127.0.0.1:{submission}"],
            "server.listener.submission.role": "submission",
            "server.listener.submissions.bind": [f"127.0.0.1:{submissions}"],
            "server.listener.submissions.role": "submission",
            "server.listener.submissions.tls.implicit": True,
            "server.listener.lmtp.bind": [f"unix:{lmtp}"],
            "server.listener.lmtp.protocol": "lmtp",
            "server.listener.six.bind": [f"[::1]:{six}"],
            "certificate.main.cert": str(directory / "cert.pem"),
            "certificate.main.private-key": str(directory / "cert.pem"),
            "certificate.main.default": True,
            "account.jane.secret": "%{env:JANE}%",
            "account.jane.emails": ["jane@sender.test"],
            "session.rcpt.relay-domains": ["box.test"],
            "session.rcpt.known.a.domains": ["box.test"],
            "session.rcpt.known.a.check": "list",
            "session.rcpt.known.a.list": ["jane"],
            "received.hide-client": True,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JANE", "correct horse")
            daemon = module_relay(sink.port, settings)
        yield House(daemon, sink, authority, directory / "cert.pem", submission, submissions, lmtp, six)


def test_smtplib_signs_in_over_starttls(house: House) -> None:
    with smtplib.SMTP("localhost", house.submission, "client.test", timeout=60) as client:
        client.starttls(context=house.context())
        client.login("jane", "correct horse")
        client.sendmail("jane@sender.test", ["starttls@receiver.test"], message(From="jane@sender.test"))
    header = house.sink.wait_for_one(lambda each: "starttls@receiver.test" in each.recipients).content
    assert b"with ESMTPSA" in header
    assert b"127.0.0.1" not in header.partition(b"\r\nFrom: ")[0]  # received.hide-client


def test_smtplib_signs_in_over_implicit_tls(house: House) -> None:
    with smtplib.SMTP_SSL("localhost", house.submissions, "client.test", timeout=60, context=house.context()) as client:
        client.login("jane", "correct horse")
        client.sendmail("jane@sender.test", ["implicit@receiver.test"], message(From="jane@sender.test"))
    house.sink.wait_for_one(lambda each: "implicit@receiver.test" in each.recipients)


def test_swaks_signs_in_over_starttls_and_a_wrong_password_is_refused(house: House) -> None:
    swaks = require_program("swaks")
    if subprocess.run(["perl", "-MNet::SSLeay", "-e", "1"], capture_output=True, check=False).returncode != 0:
        absent("swaks has no TLS: Net::SSLeay is not installed")
    command = [swaks, "--server", f"127.0.0.1:{house.submission}", "-tls", "--auth", "PLAIN", "--auth-user", "jane"]
    command += ["--from", "jane@sender.test", "--to", "swaks@receiver.test"]
    refused = subprocess.run([*command, "--auth-password", "wrong"], capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0
    assert "535 5.7.8" in refused.stdout + refused.stderr
    subprocess.run([*command, "--auth-password", "correct horse"], check=True, capture_output=True, timeout=60)
    house.sink.wait_for_one(lambda each: "swaks@receiver.test" in each.recipients)
    assert "correct horse" not in house.relay.output.read_text()


def test_an_account_sends_only_from_its_own_addresses(house: House) -> None:
    with smtplib.SMTP("localhost", house.submission, "client.test", timeout=60) as client:
        client.starttls(context=house.context())
        client.login("jane", "correct horse")
        code, _ = client.mail("john@sender.test")
        assert 500 <= code < 600


def test_submission_takes_nothing_without_a_sign_in(house: House) -> None:
    with smtplib.SMTP("localhost", house.submission, "client.test", timeout=60) as client:
        client.ehlo()
        code, text = client.mail("jane@sender.test")
        assert (code, text[:5]) == (530, b"5.7.0")


def test_a_renewed_certificate_is_used_without_a_restart(house: House) -> None:
    renewed = issue(house.authority, house.certificate)
    house.relay.signal(signal.SIGHUP)  # at once; without it within a minute

    def shown() -> bool:
        with socket.create_connection(("127.0.0.1", house.submissions), timeout=10) as plain:
            with house.context().wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.getpeercert(binary_form=True) == renewed

    wait_until(shown, "the new certificate is shown")


def test_lmtp_answers_for_each_recipient(house: House) -> None:
    with smtplib.LMTP(house.lmtp, local_hostname="client.test") as client:
        client.ehlo()
        client.mail("a@sender.test")
        assert client.rcpt("one@lmtp.test")[0] == 250
        assert client.rcpt("two@lmtp.test")[0] == 250
        assert client.data(message())[0] == 250
        assert client.getreply()[0] == 250
        assert client.noop()[0] == 250
    house.sink.wait_for_one(lambda each: sorted(each.recipients) == ["one@lmtp.test", "two@lmtp.test"])


def test_a_listener_on_ipv6_takes_mail(house: House) -> None:
    with smtplib.SMTP("::1", house.six, "client.test", timeout=60) as client:
        client.sendmail("six@sender.test", ["b@receiver.test"], message())
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "six@sender.test")
    assert b"[IPv6:::1]" in delivery.content
