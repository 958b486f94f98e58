"""What credentials live through: a crash, another secret; and one-time codes."""

from __future__ import annotations

import json
import signal
import stat
import time
from typing import Any
from urllib.parse import urlencode

from relayd.directory.password import hash_secret
from relayd.directory.totp import parse_totp
from tests.journeys.conftest import StartRelay, wait_until
from tests.rig.client import Answer, Client, basic
from tests.rig.daemon import Daemon

OTP = "otpauth://totp/Relay:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&period=120"
WHERE = {"client_id": "webadmin", "redirect_uri": "stalwart://auth"}


def code(daemon: Daemon, login: str, secret: str) -> Answer:
    client = Client(daemon.http_port, basic(login, secret))
    return client.ask("POST", "/api/oauth", body=json.dumps({"type": "code", **WHERE}))


def exchange(daemon: Daemon, **form: str) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Client(daemon.http_port, "").ask("POST", "/auth/token", body=urlencode(form), headers=headers)


def status(daemon: Daemon, token: str) -> int:
    return Client(daemon.http_port, f"Bearer {token}").ask("GET", "/api/queue/status").status


def test_tokens_outlive_a_crash_and_end_with_the_secret(relay: StartRelay) -> None:
    account = {"account.ann.secret": hash_secret("one"), "account.ann.roles": ["admin"]}
    daemon = relay(settings=account)
    assert stat.S_IMODE((daemon.data / "token.key").stat().st_mode) == 0o600
    given = code(daemon, "Ann", "one").data["code"]
    tokens: dict[str, Any] = exchange(daemon, grant_type="authorization_code", code=given, **WHERE).json
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    assert status(daemon, access) == 200
    daemon.kill()
    daemon.start()
    assert status(daemon, access) == 200
    assert exchange(daemon, grant_type="refresh_token", refresh_token=refresh).status == 200
    daemon.settings["account.ann.secret"] = hash_secret("two")
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: status(daemon, access) == 401, "the token of the old secret is void")
    refused = exchange(daemon, grant_type="refresh_token", refresh_token=refresh)
    assert (refused.status, refused.json) == (400, {"error": "invalid_grant"})
    assert code(daemon, "ann", "one").status == 401
    assert code(daemon, "ann", "two").status == 200


def test_an_account_with_one_time_codes(relay: StartRelay) -> None:
    daemon = relay(settings={"account.ann.secret": hash_secret("one"), "account.ann.otp": OTP})
    missing = code(daemon, "ann", "one")
    assert (missing.status, missing.json["title"]) == (402, "TOTP code required")
    assert code(daemon, "ann", "two").status == 401
    now = parse_totp(OTP).generate_otp(int(time.time() // 120))
    assert code(daemon, "ann", f"two${now}").status == 401
    assert code(daemon, "ann", f"one${now}").status == 200
    assert code(daemon, "ann", f"one${now}").status == 401  # each code once
