"""Mail handed in by real clients, once for each way to sign in, with an account of the database; and what ends it."""

from __future__ import annotations

import contextlib
import json
import smtplib
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme

from relayd.directory.password import matches
from relayd.directory.totp import parse_totp
from tests.journeys.conftest import Proxied, StartRelay, message, wait_until
from tests.rig.client import Client, basic
from tests.rig.daemon import Daemon
from tests.rig.peers import absent, require_program
from tests.rig.postfix import free_port
from tests.rig.sink import Sink

SECRET = "correct horse"
CRYPTED = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
"""Of the secret "password"."""


@dataclass
class House:
    """A relay with a submission listener on loopback (where a secret may cross without TLS)."""

    relay: Daemon
    sink: Sink
    submission: int
    proxied: int
    context: ssl.SSLContext

    @property
    def client(self) -> Client:
        return Client(self.relay.http_port)

    def principal(self, **values: Any) -> None:
        assert isinstance(self.client.ask("POST", "/api/principal", body=json.dumps(values)).data, int)

    def patch(self, name: str, field: str, value: Any, action: str = "set") -> None:
        body = json.dumps([{"action": action, "field": field, "value": value}])
        assert self.client.ask("PATCH", f"/api/principal/{name}", body=body).data is None

    def token(self, login: str, secret: str) -> str:
        asked = {"type": "code", "client_id": "mail", "redirect_uri": "https://a.example/"}
        session = Client(self.relay.http_port, basic(login, secret))
        code = session.ask("POST", "/api/oauth", body=json.dumps(asked)).data["code"]
        form = {"grant_type": "authorization_code", "code": code, **asked}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = Client(self.relay.http_port, "").ask("POST", "/auth/token", body=urlencode(form), headers=headers)
        return str(answer.json["access_token"])

    def smtp(self) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.submission, "client.test", timeout=60)
        client.ehlo()
        return client


@pytest.fixture(scope="module")
def house(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    submission, proxied = free_port(), free_port()
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    certificate = tmp_path_factory.mktemp("tls") / "cert.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with Sink() as sink:
        settings = {
            "server.listener.submission.bind": [f"127.0.0.1:{submission}"],
            "server.listener.submission.role": "submission",
            "server.listener.proxied.bind": [f"127.0.0.1:{proxied}"],
            "server.listener.proxied.role": "submission",
            "server.listener.proxied.proxy-protocol": ["127.0.0.0/8"],
            "server.auto-ban.auth.rate": "2/1h",
            "certificate.main.cert": str(certificate),
            "certificate.main.private-key": str(certificate),
        }
        house = House(module_relay(sink.port, settings), sink, submission, proxied, context)
        house.principal(type="domain", name="sender.test")
        house.principal(type="individual", name="ann", secrets=SECRET, emails="ann@sender.test", roles="user")
        yield house


def by_msmtp(house: House, tmp_path: Path, mechanism: str, secret: str, to: str, user: str = "ann") -> int:
    """Send a message by msmtp; its exit code."""
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {house.submission}\ntls off\nauth {mechanism}\nuser {user}\n"
        f'passwordeval "cat {tmp_path}/secret"\nfrom ann@sender.test\n'
    )
    config.chmod(0o600)
    (tmp_path / "secret").write_text(secret)
    command = [require_program("msmtp"), "-C", str(config), to]
    return subprocess.run(command, input=message(From="ann@sender.test"), capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256", "oauthbearer", "xoauth2"])
def test_msmtp_signs_in_by_each_mechanism(house: House, tmp_path: Path, mechanism: str) -> None:
    known = subprocess.run([require_program("msmtp"), "--version"], capture_output=True, text=True).stdout
    if mechanism not in known.lower():
        absent(f"msmtp knows no {mechanism} here")
    secret = house.token("ann", SECRET) if "oauth" in mechanism else SECRET
    to = f"{mechanism}@receiver.test"
    assert by_msmtp(house, tmp_path, mechanism, secret, to) == 0
    house.sink.wait_for_one(lambda each: to in each.recipients)
    assert by_msmtp(house, tmp_path, mechanism, "x" + secret, "nobody@receiver.test") == 77  # EX_NOPERM
    assert by_msmtp(house, tmp_path, mechanism, secret, "nobody@receiver.test", user="bob") == 77
    assert SECRET not in house.relay.output.read_text()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_and_smtplib_sign_in(house: House, mechanism: str) -> None:
    swaks = [require_program("swaks"), "--server", "127.0.0.1", "--port", str(house.submission)]
    swaks += ["--auth", mechanism, "--auth-user", "ann", "--auth-password", SECRET, "--from", "ann@sender.test"]
    subprocess.run([*swaks, "--to", f"swaks-{mechanism}@receiver.test"], check=True, capture_output=True, timeout=60)
    house.sink.wait_for_one(lambda each: f"swaks-{mechanism}@receiver.test" in each.recipients)
    with house.smtp() as client:
        client.user, client.password = "ann", SECRET
        client.auth(mechanism.lower(), getattr(client, f"auth_{mechanism.lower()}"))
        client.sendmail("ann@sender.test", [f"smtplib-{mechanism}@receiver.test"], message(From="ann@sender.test"))
    house.sink.wait_for_one(lambda each: f"smtplib-{mechanism}@receiver.test" in each.recipients)


def test_what_an_account_is_now_counts_at_the_next_transaction(house: House) -> None:
    house.principal(type="individual", name="bob", secrets=[SECRET, f"$app$phone${SECRET} app"], roles="user")
    with house.smtp() as client, house.smtp() as phone:
        client.login("bob", SECRET)
        phone.login("bob", SECRET + " app")
        assert client.mail("bob@sender.test")[0] >= 500  # not his address
        house.patch("bob", "emails", ["bob@sender.test"])
        assert client.mail("bob@sender.test")[0] == 250
        client.rset()
        house.patch("bob", "disabledPermissions", ["email-send"])
        assert client.mail("bob@sender.test") == (550, b"5.7.1 The account may not send mail any more")
        with house.smtp() as another, pytest.raises(smtplib.SMTPAuthenticationError):
            another.login("bob", SECRET)
        house.patch("bob", "disabledPermissions", [])
        house.patch("bob", "suspended", "spam")
        assert client.mail("bob@sender.test") == (550, b"5.7.1 The account is suspended: spam")
        with house.smtp() as another, pytest.raises(smtplib.SMTPAuthenticationError, match="suspended"):
            another.login("bob", SECRET)
        house.patch("bob", "suspended", "")
        assert client.mail("bob@sender.test")[0] == 250
        client.rset()
        house.patch("bob", "secrets", "", "removeItem")
        assert client.mail("bob@sender.test") == (530, b"5.7.0 The account was changed: sign in again")
        assert phone.mail("bob@sender.test")[0] == 250  # the app password is still there
        phone.rset()
        house.patch("bob", "secrets", "$app$phone", "removeItem")
        assert phone.mail("bob@sender.test")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            phone.login("bob", SECRET + " app")


def test_a_one_time_code_goes_behind_the_password(house: House) -> None:
    otp = "otpauth://totp/Relay:eve?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&period=120"
    house.principal(type="individual", name="eve", secrets=[SECRET, otp], roles="user")
    with house.smtp() as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("eve", SECRET)
        client.login("eve", f"{SECRET}${parse_totp(otp).generate_otp(int(time.time() // 120))}")


def test_an_account_of_the_file_that_hides_one_of_the_database_is_told(house: House) -> None:
    house.principal(type="individual", name="gone", secrets=SECRET, roles="user")
    insert = {"type": "insert", "prefix": None, "values": [["account.gone.secret", "x"]], "assert_empty": False}
    body = json.dumps([insert])
    assert house.client.ask("POST", "/api/settings", body=body).json == {"data": None}
    found = house.client.ask("GET", "/api/reload/").data
    assert "hides the principal of that name" in found["warnings"]["account.gone"]["error"]
    refused = house.client.ask("DELETE", "/api/principal/gone").json
    assert (refused["error"], "configuration file" in refused["details"]) == ("unsupported", True)
    body = json.dumps([{"type": "delete", "keys": ["account.gone.secret"]}])
    assert house.client.ask("POST", "/api/settings", body=body).json == {"data": None}
    house.client.ask("GET", "/api/reload/")
    assert house.client.ask("DELETE", "/api/principal/gone").json == {"data": None}


def test_an_old_hash_becomes_one_of_ours_at_the_next_sign_in_and_tokens_of_it_hold(house: House) -> None:
    house.principal(type="individual", name="carl", secrets=CRYPTED, roles="user", emails="carl@sender.test")
    token = house.token("carl", "password")
    shown = house.client.ask("GET", "/api/principal/carl").data["secrets"]
    assert shown.startswith("$argon2id$")
    assert matches("password", shown)
    assert Client(house.relay.http_port, f"Bearer {token}").ask("GET", "/api/account/auth").status == 200
    with house.smtp() as client:
        client.login("carl", "password")


def test_an_address_that_fails_too_often_is_shut_out_and_stays_so_after_a_crash(house: House) -> None:
    def attempt(address: str, secret: str) -> str:
        header = f"PROXY TCP4 {address} 192.0.2.1 4711 587\r\n".encode()
        try:
            with Proxied(house.proxied, header) as client:
                client.starttls(context=house.context)
                client.login("dora", secret)
                return "235"
        except smtplib.SMTPAuthenticationError as error:
            return f"{error.smtp_code} {error.smtp_error!r}"
        except smtplib.SMTPConnectError as error:
            return f"{error.smtp_code} {error.smtp_error!r}"

    house.principal(type="individual", name="dora", secrets=SECRET, roles="user")
    assert attempt("198.51.100.9", SECRET) == "235"
    found = [attempt("203.0.113.7", "wrong")[:3] for _ in range(3)]
    assert found[0] == "535"
    assert "421" in found or attempt("203.0.113.7", "wrong")[:3] == "421"
    assert attempt("203.0.113.7", SECRET)[:3] == "421"
    assert attempt("198.51.100.9", SECRET) == "235"
    bans = house.client.ask("GET", "/api/bans").data
    assert [each["address"] for each in bans["items"]] == ["203.0.113.7"]
    assert bans["items"][0]["reason"] == "repeated failed sign-ins"
    wait_until(lambda: _is_kept(house.relay.data / "bans.db"), "the ban is on disk")
    house.relay.kill()
    house.relay.start()
    assert house.client.ask("GET", "/api/bans").data == bans
    assert attempt("203.0.113.7", SECRET)[:3] == "421"
    assert house.client.ask("DELETE", "/api/bans/203.0.113.7").data is True
    assert attempt("203.0.113.7", SECRET) == "235"


def _is_kept(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("SELECT count(*) FROM bans").fetchone()[0])
