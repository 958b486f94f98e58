"""The page where a device is let in, in a real browser."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.journeys.conftest import StartRelay, wait_until
from tests.rig.browser import Browser

PRESS = """
const done = arguments[arguments.length - 1];
for (const [name, value] of Object.entries(arguments[0])) document.querySelector(`input[name=${name}]`).value = value;
document.querySelector("button.first").click();
done(true);
"""
TEXT = "arguments[arguments.length - 1](document.body.innerText)"
FIELD = "arguments[arguments.length - 1](document.querySelector('input')?.name ?? '')"


def ask(url: str, form: dict[str, str]) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_who_signs_in_lets_the_device_in(relay: StartRelay) -> None:
    daemon = relay(1)
    ann = {"type": "individual", "name": "ann", "secrets": ["for-tests-only"], "roles": ["user"]}
    daemon.data_of("POST", "/api/principal", ann)
    base = f"http://127.0.0.1:{daemon.http_port}"
    _, device = ask(f"{base}/auth/device", {"client_id": "tv"})
    grant = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "tv",
        "device_code": device["device_code"],
    }
    with Browser() as browser:
        browser.visit(device["verification_uri_complete"])
        wait_until(lambda: browser.run(FIELD) == "user", "the sign-in page")
        browser.run(PRESS, {"user": "ann", "secret": "for-tests-only"})
        wait_until(lambda: browser.run(FIELD) == "code", "the code")
        assert "to act as ann" in browser.run(TEXT)
        assert ask(f"{base}/auth/token", grant) == (400, {"error": "authorization_pending"})
        browser.run(PRESS, {"code": "AAAA-AAAA"})
        wait_until(lambda: "No device waits" in browser.run(TEXT), "another code is refused")
        browser.run(PRESS, {"code": device["user_code"].lower()})
        wait_until(lambda: "The device is let in" in browser.run(TEXT), "it is let in")
    status, tokens = ask(f"{base}/auth/token", grant)
    assert status == 200
    assert tokens["access_token"]
