"""The console in a real browser, over a whole relay: what an operator does with it, on a desk and on a phone."""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pyotp
import pytest

from tests.journeys.conftest import StartRelay, message, send, wait_gone, wait_until
from tests.rig.browser import Browser
from tests.rig.daemon import Daemon
from tests.rig.dns import serving_in_thread
from tests.rig.peer import Peer, Script, running_in_thread
from tests.routing.authority import made

DESK, PHONE = (1280, 800), (390, 844)
ESCAPE, ENTER, TAB = "\ue00c", "\ue007", "\ue004"
KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""Of one-time codes."""

PAGES = {
    "overview": ("Overview", ".chart"),
    "queue": ("Queue", "tbody a"),
    "history": ("History", "tbody a"),
    "traces": ("Live traces", ".live.on"),
    "delivery": ("Delivery test", "form"),
    "sender": ("Sender test", "form"),
    "quarantine": ("Held mail", "tbody a"),
    "limits": ("Limits", "td"),
    "accounts": ("Accounts", "tbody a"),
    "settings": ("Settings", "tbody code"),
    "logs": ("Logs", "tbody td"),
}
"""Each page's title, and what is only there once its data is."""


GO = "history.pushState(null, '', arguments[0]); dispatchEvent(new Event('hashchange'))"
"""As a link does, where the address is the one it leads to, too."""


@dataclass
class Console:
    """The relay, its next hop, and the browser that looks at it."""

    daemon: Daemon
    peer: Peer
    browser: Browser
    held: str
    pictures: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.daemon.http_port}/"

    def sign_in(self, user: str = "admin", secret: str = "for-tests-only") -> None:
        """By the form, on a page that nobody is signed in to."""
        self.browser.visit(self.url)
        self.browser.value("sessionStorage.clear(); localStorage.clear()")
        self.browser.visit(self.url + "?")
        self.browser.type("input[name=user]", user)
        self.browser.type("input[name=secret]", secret)
        self.browser.click("button", "Sign in")

    def go(self, page: str, ready: str = "h1", title: str = "") -> None:
        """To a page, by its address; it is there when `ready` is."""
        self.browser.value(GO, f"#/{page}")
        self.browser.element("h1", title)
        self.browser.element(f"main {ready}")

    def picture(self, name: str) -> None:
        """Keep what can be seen now."""
        (self.pictures / f"{name}.png").write_bytes(self.browser.screenshot())


def reply(line: str) -> str:
    """To RCPT: who cannot be delivered to, for now or for good."""
    if "later@" in line:
        return "451 4.2.2 The mailbox is full"
    return "550 5.1.1 No such user here" if "nobody@" in line else "250 2.1.5 Ok"


@pytest.fixture(scope="module")
def console(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    directory = tmp_path_factory.mktemp("console")
    (directory / "mx.pem").write_bytes(made("mx.receiver.test", moment=datetime.now(UTC)).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "mx.pem")
    zone: dict[str, dict[str, list[str] | str]] = {
        "receiver.test": {"MX": ["10 mx.receiver.test."]},
        "sender.test": {"MX": ["10 mx.receiver.test."]},
        "gmail.com": {"MX": ["10 gmail-smtp-in.l.google.com."]},
        "gmail-smtp-in.l.google.com": {"A": ["127.0.0.1"]},
        "outlook.com": {"MX": ["10 outlook-com.olc.protection.outlook.com."]},
        "outlook-com.olc.protection.outlook.com": {"A": ["127.0.0.1"]},
        "mx.receiver.test": {"A": ["127.0.0.1"]},
    }
    script = Script(rcpt=reply)
    with running_in_thread(script, tls=context) as peer, serving_in_thread(zone) as dns, Browser() as browser:
        settings = {
            "queue.schedule.retry": ["1h"],
            "metrics.history.interval": "1s",
            "queue.outbound.port": peer.port,
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "access.odd.sender": ["odd@sender.test"],
            "access.odd.action": "hold",
            "access.odd.text": "an address that was seen in a wave of phishing",
        }
        daemon = module_relay(None, settings)
        for name, secrets in (
            ("ann", ["for-tests-only", f"otpauth://totp/Relay:ann?secret={KEY}"]),
            ("jane", ["for-tests-only"]),
        ):
            account = {"type": "individual", "name": name, "secrets": secrets, "roles": ["admin"]}
            daemon.data_of("POST", "/api/principal", account)
        send(daemon)
        send(daemon, to=["nobody@receiver.test", "c@receiver.test"])
        send(daemon, message("Minutes of the meeting"), to="later@receiver.test")
        held = send(daemon, message("Your account", body="<script>alert(1)</script>\r\n"), sender="odd@sender.test")
        chosen = os.environ.get("RELAYD_SCREENSHOTS")
        pictures = Path(chosen) if chosen else directory
        pictures.mkdir(parents=True, exist_ok=True)
        browser.emulate(*DESK)
        console = Console(daemon, peer, browser, held, pictures)
        console.sign_in()
        browser.element("h1", "Overview")
        yield console


@pytest.fixture
def browser(console: Console) -> Iterator[Browser]:
    """The browser, on a desk; nothing may have been complained about in the end."""
    yield console.browser
    console.browser.emulate(*DESK)
    assert console.browser.complaints() == []


def axe() -> str:
    """The source of axe-core."""
    return (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


VIOLATIONS = """
const done = arguments[arguments.length - 1];
const where = (node) => node.html.slice(0, 200) + ": " + node.failureSummary;
const told = (each) => each.id + " at " + each.nodes.slice(0, 3).map(where).join(" and at ");
axe.run(document, {resultTypes: ["violations"]}).then(
  ({violations}) => done(violations.filter((each) => ["serious", "critical"].includes(each.impact)).map(told)));
"""


def test_signing_in(console: Console, browser: Browser) -> None:
    browser.click("nav button", "Sign out")
    console.sign_in("jane", "wrong")
    assert browser.text("[role=alert]") == "Name or password is wrong."
    browser.type("input[name=secret]", "for-tests-only")
    browser.click("button", "Sign in")
    browser.element("nav span", "jane")
    browser.click("nav button", "Sign out")
    browser.type("input[name=user]", "ann")
    browser.type("input[name=secret]", "for-tests-only")
    browser.press(ENTER)
    browser.element("[role=alert]", "one-time code")
    browser.type("input[name=code]", pyotp.TOTP(KEY).now())
    browser.press(ENTER)
    browser.element("nav span", "ann")
    # what a page of the browser cannot keep from its console: a 401 of a wrong password, a 402 of a missing code
    complaints = browser.complaints()
    assert [re.findall(r"status of (\d+)", each) for each in complaints] == [["401"], ["402"]]


def test_a_message_is_seen_to_arrive(console: Console, browser: Browser) -> None:
    console.go("overview", ".live.on")
    before = browser.text(".key.warn", "deferred")
    send(console.daemon, to="later@receiver.test")
    wait_until(lambda: browser.text(".key.warn", "deferred") != before, "one more is deferred")
    console.go("traces?q=from%3Dlive%40sender.test", ".trace")  # the overview's light is on too
    browser.element(".live.on", "live")
    sent = send(console.daemon, sender="live@sender.test")
    browser.element(".trace li", "queue.queue-message")
    assert "other@sender.test" not in browser.text(".trace")
    browser.click("button", "Pause")
    send(console.daemon, sender="live@sender.test", to="c@receiver.test")
    browser.element("button[aria-pressed=true]", "wait)")
    assert "c@receiver.test" not in browser.text(".trace")
    browser.click("button", "Go on")
    browser.element(".trace li", "c@receiver.test")
    wait_gone(console.daemon, sent)
    wait_until(lambda: console.daemon.data_of("GET", f"/api/telemetry/message/{sent}")["finishedAt"], "its history")
    console.go(f"message/{sent}", ".steps", sent)
    assert "delivered" in browser.text("tbody tr")
    # the queue was asked first
    (complaint,) = browser.complaints()
    assert f"/api/queue/messages/{sent}" in complaint


def test_a_report_is_a_step_away_from_its_message(console: Console, browser: Browser) -> None:
    refused = send(console.daemon, sender="who@sender.test", to="nobody@receiver.test")
    past = f"/api/telemetry/message/{refused}"
    wait_until(lambda: console.daemon.request("GET", past)[1].get("data", {}).get("finishedAt"), "its history")
    console.go(f"message/{refused}", ".steps", refused)
    browser.click(".steps a", "Message ")
    browser.element(".facts", "<>")  # its return path
    browser.element("tbody tr", "who@sender.test")
    browser.complaints()  # the queue was asked first


def test_what_is_invisible_in_text_is_seen(browser: Browser) -> None:
    script = "import('/console/dom.js').then((dom) => arguments[1](dom.visible(arguments[0])))"
    assert browser.run(script, "a\u061cb\u2028c\u202ed\ufeffe\x1bf\x00 \u200d\tg") == (
        "a\\u061cb\\u2028c\\u202ed\\ufeffe\\x1bf\\x00 \u200d\tg"
    )


OUT_OF_SIGHT = "return [...document.querySelectorAll('.table')].some((each) => each.scrollWidth > each.clientWidth)"


def test_a_long_address_pushes_nothing_out_of_sight(console: Console, browser: Browser) -> None:
    long = f"{'x' * 60}@{'d' * 60}.{'e' * 60}.test"
    sent = send(console.daemon, sender=long, to=["later@receiver.test", f"later@{'r' * 60}.test", "later@r.test"])
    past = f"/api/telemetry/message/{sent}"
    wait_until(lambda: console.daemon.request("GET", past)[0] == 200, "its history begins")
    for page in ("queue", "history"):
        console.go(page, "tbody a")
        browser.element("tbody td", "and 2 more")
        assert not browser.value(OUT_OF_SIGHT), page


def state(daemon: Daemon, id: str) -> tuple[bool, bool]:
    """Whether a message is held, and whether it is deleted."""
    found = daemon.data_of("GET", f"/api/queue/messages/{id}?deleted=1")
    return bool(found.get("hold")), bool(found.get("deleted"))


def confirm(browser: Browser, act: str, said: str = "") -> None:
    """Say yes to what the page asks; it says what it did."""
    browser.click("dialog button[type=submit]", act)
    browser.element(".toast", said or act)


def test_hold_release_delete_and_undo(console: Console, browser: Browser) -> None:
    daemon = console.daemon
    first, second = (send(daemon, sender="acts@sender.test", to="later@receiver.test") for _ in range(2))
    wait_until(lambda: len(daemon.queued("acts@sender.test")) == 2, "both wait")
    console.go("queue?from=acts%40sender.test", "tbody a")
    browser.click("main input[type=checkbox]", f"Choose {first}")
    browser.element(".bar", "1 chosen")
    browser.click(".bar button", "Hold")
    browser.element("dialog", "1 of them can be changed so.")
    browser.type("dialog input[name=reason]", "looked at by the desk")
    confirm(browser, "Hold")
    browser.element("tbody tr", "looked at by the desk")
    assert [state(daemon, each) for each in (first, second)] == [(True, False), (False, False)]
    browser.click("tbody a", first)
    browser.element(".notice", "looked at by the desk")
    browser.click("header button", "Release")
    confirm(browser, "Release")
    browser.element("header button", "Hold")
    assert state(daemon, first) == (False, False)
    browser.click("header button", "Delete")
    confirm(browser, "Delete")
    browser.element(".notice", "Deleted by ann")
    assert state(daemon, first) == (False, True)
    browser.click(".toast button", "Undo")
    browser.element("header button", "Hold")
    assert state(daemon, first) == (False, False)
    # all that match, and back
    console.go("queue?from=acts%40sender.test", "tbody a")
    browser.element(".bar", "all 2 that match")
    browser.click(".bar button", "Delete")
    browser.element("dialog", "all 2 that match")
    confirm(browser, "Delete", "Delete: 2 messages")
    browser.element("tbody", "No message matches.")
    browser.click(".toast button", "Undo")
    browser.element("tbody a", second)
    assert state(daemon, second) == (False, False)
    assert daemon.audit()["difference"] == 0


def test_a_setting_is_changed_and_reloaded(console: Console, browser: Browser) -> None:
    def banner() -> bytes:
        with socket.create_connection(("127.0.0.1", console.daemon.smtp_port), 20) as client:
            return client.recv(200)

    console.go("settings?q=server.hostname", "tbody code")
    browser.click("tbody button", "Change server.hostname")
    browser.type("dialog input[name=value]", "not a name")
    browser.click("dialog button", "Save")
    browser.element(".notice.bad", "server.hostname: expected a domain name")
    browser.click("tbody button", "Change server.hostname")
    browser.type("dialog input[name=value]", "desk.test")
    browser.click("dialog button", "Save")
    browser.element("tbody", "desk.test")
    browser.element("tbody", "the file says relay.test")
    browser.click("header button", "Validate")
    browser.element(".notice", "The configuration is good.")
    assert banner().startswith(b"220 relay.test ")
    browser.click("header button", "Reload")
    browser.element(".notice", "Reloaded.")
    wait_until(lambda: banner().startswith(b"220 desk.test "), "the new name in the banner")
    browser.click("tbody button", "Take back server.hostname")
    browser.element("tbody .tag", "file")
    browser.click("header button", "Reload")
    wait_until(lambda: banner().startswith(b"220 relay.test "), "the old name in the banner")


def test_the_road_of_an_address_and_what_is_thought_of_a_sender(console: Console, browser: Browser) -> None:
    before = len(console.peer.taken)
    console.go("delivery", "form")
    browser.type("input[name=to]", "b@receiver.test")
    browser.click("button", "Test")
    browser.element(".steps li", "Connected")
    browser.element(".steps li", "The recipient is taken")
    browser.element(".live", "done")
    console.picture("delivery-done")
    browser.type("input[name=to]", "nobody@receiver.test")
    browser.press(ENTER)
    browser.element(".steps li.bad", "No such user here")
    assert len(console.peer.taken) == before
    console.go("sender", "form")
    browser.type("input[name=remoteIp]", "192.0.2.7")
    browser.type("input[name=ehloDomain]", "mail.receiver.test")
    browser.type("input[name=mailFrom]", "a@receiver.test")
    browser.click("button", "Check")
    browser.element("tbody tr", "SPF of the return path")


def test_held_mail_is_read_and_decided_about(console: Console, browser: Browser) -> None:
    daemon = console.daemon
    console.go("quarantine", "tbody a")
    browser.element("tbody tr", "seen in a wave of phishing")
    browser.click("tbody a", console.held)
    browser.element("pre", "<script>alert(1)</script>")
    browser.click("header button", "Release")
    confirm(browser, "Release")
    wait_gone(daemon, console.held)
    assert "<script>" in str(console.peer.taken[-1].content)
    spam = send(daemon, message("Again"), sender="odd@sender.test")
    console.go("quarantine", "tbody a")
    browser.click("tbody button", f"Delete {spam}")
    confirm(browser, "Delete")
    browser.element("tbody", "Nothing is held.")
    assert state(daemon, spam)[1]


def test_by_keyboard(console: Console, browser: Browser) -> None:
    browser.visit(console.url + "?again#/queue")
    browser.element("tbody a")
    browser.press(TAB)
    assert browser.value("return document.activeElement.className") == "skip"
    browser.press(ENTER)
    assert browser.value("return document.activeElement.id") == "main"
    browser.press("/")
    assert browser.value("return document.activeElement.name") == "text"
    browser.press("/")
    assert browser.value("return document.activeElement.value") == "/"
    browser.value("[...document.querySelectorAll('.bar button')].find((each) => each.textContent === 'Hold').focus()")
    browser.press(ENTER)
    browser.element("dialog[open]")
    assert browser.value("return document.activeElement.closest('dialog') !== null")
    browser.press(ESCAPE)
    wait_until(lambda: browser.value("return document.activeElement.textContent") == "Hold", "the focus is back")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(console: Console, browser: Browser, scheme: str) -> None:
    held = send(
        console.daemon, message("Held"), sender="odd@sender.test", to=["b@receiver.test", "later@receiver.test"]
    )
    browser.emulate(*DESK, scheme)
    browser.visit(f"{console.url}?{scheme}")
    browser.value(axe())
    for name, (title, ready) in {**PAGES, "message": (held, ".steps")}.items():
        console.go(f"message/{held}" if name == "message" else name, ready, title)
        console.picture(f"{name}-{scheme}")
        assert browser.run(VIOLATIONS) == [], (name, scheme)


@pytest.mark.long
def test_a_busy_relay_as_the_overview_shows_it(console: Console, browser: Browser) -> None:
    console.go("overview", ".live.on")
    drawn = "return document.querySelector('.line-0')?.getAttribute('d') ?? ''"
    for turn in range(25):
        before = browser.value(drawn)
        for number in range(3 + round(3 * math.sin(turn / 4)) + turn % 3):
            to = ("b@receiver.test", "joe@gmail.com", "ann@outlook.com")[number % 3]
            send(console.daemon, to="later@gmail.com" if turn % 8 == number == 1 else to)
        wait_until(lambda before=before: browser.value(drawn) != before, "the next point")  # type: ignore[misc]
    browser.element(".plot figcaption", "google")
    console.picture("overview-busy")
    browser.emulate(*DESK, "dark")
    console.picture("overview-busy-dark")
    browser.emulate(*PHONE, is_phone=True)
    console.picture("overview-busy-phone")


def test_every_page_fits_a_phone(console: Console, browser: Browser) -> None:
    browser.emulate(*PHONE, is_phone=True)
    browser.visit(console.url + "?phone")
    (waiting, *_) = console.daemon.queued("later@receiver.test")
    for name, (title, ready) in {**PAGES, "message": (str(waiting["id"]), ".steps")}.items():
        console.go(f"message/{waiting['id']}" if name == "message" else name, ready, title)
        console.picture(f"{name}-phone")
        width = browser.value("return document.documentElement.scrollWidth")
        assert width <= PHONE[0], f"{name} is {width} wide"
    browser.click("button.menu")
    browser.click("nav a", "Settings")
    browser.element("h1", "Settings")
    assert browser.value("return document.querySelector('.menu').ariaExpanded") == "false"
