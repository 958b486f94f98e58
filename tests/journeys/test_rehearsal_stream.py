"""Operation 26 as its readers see it: a browser's EventSource, curl, and somebody who walks away."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.journeys.conftest import StartRelay, wait_until
from tests.rig.browser import Browser
from tests.rig.daemon import Daemon
from tests.rig.dns import serving_in_thread
from tests.rig.peer import Peer, running_in_thread
from tests.rig.peers import require_program
from tests.routing.authority import made

EXPECTED = [
    "mxLookupStart", "mxLookupSuccess", "mtaStsFetchStart", "mtaStsNotFound", "tlsRptLookupStart",
    "tlsRptLookupSuccess", "deliveryAttemptStart", "tlsaLookupStart", "tlsaNotFound", "ipLookupStart",
    "ipLookupSuccess", "connectionStart", "connectionSuccess", "readGreetingStart", "readGreetingSuccess",
    "ehloStart", "ehloSuccess", "startTlsStart", "startTlsSuccess", "ehloStart", "ehloSuccess", "mailFromStart",
    "mailFromSuccess", "rcptToStart", "rcptToSuccess", "quitStart", "quitCompleted", "completed",
]  # fmt: skip

EVENT_SOURCE = """
const [path, done] = arguments;
const frames = [];
const source = new EventSource(path);
source.addEventListener("event", (event) => {
    frames.push({data: event.data, id: event.lastEventId});
    if (JSON.parse(event.data)[0].type === "completed") { source.close(); done(frames); }
});
source.onmessage = () => done("a frame without a name");
source.onerror = () => { source.close(); done("error"); };
"""


@pytest.fixture(scope="module")
def house(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Peer]]:
    folder = Path(tmp_path_factory.mktemp("certificates"))
    (folder / "mx.pem").write_bytes(made("mx.x.test", moment=datetime.now(UTC)).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mx.pem")
    zone: dict[str, dict[str, list[str] | str]] = {
        "x.test": {"MX": ["10 mx.x.test."]},
        "_smtp._tls.x.test": {"TXT": ['"v=TLSRPTv1; rua=mailto:tls@x.test"']},
        "mx.x.test": {"A": ["127.0.0.1"]},
        "tarpit.test": {"MX": ["10 mx.tarpit.test."]},
        "mx.tarpit.test": {"A": ["127.0.0.2"]},
    }
    with running_in_thread(tls=context) as peer, serving_in_thread(zone) as dns:
        settings = {"resolver.custom": [f"udp://127.0.0.1:{dns.port}"], "queue.outbound.port": peer.port}
        yield module_relay(None, settings), peer


def stream(relay: Daemon, recipient: str, **query: object) -> str:
    """Where a browser reads it; the token is good for a minute."""
    token = quote(relay.data_of("GET", "/api/troubleshoot/token"), safe="")
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"/api/troubleshoot/delivery/{quote(recipient, safe='@')}?token={token}{more}"


def types(data: list[str]) -> list[str]:
    """What the stages are called, one in each frame."""
    found: list[list[dict[str, Any]]] = [json.loads(each) for each in data]
    assert {len(each) for each in found} == {1}
    return [each[0]["type"] for each in found]


def test_curl_reads_exactly_the_documented_frames(house: tuple[Daemon, Peer]) -> None:
    relay, peer = house
    url = f"http://127.0.0.1:{relay.http_port}{stream(relay, 'Jane+News@x.test', timeout=5)}".replace("+", "%2B")
    done = subprocess.run(
        [require_program("curl"), "-sSN", "-D", "-", url], capture_output=True, text=True, timeout=60, check=True
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n")
    for line in ("content-type: text/event-stream", "cache-control: no-store", "transfer-encoding: chunked"):
        assert line in head.lower()
    assert re.fullmatch(r"(event: event\ndata: \[\{[^\n]*\}\]\n\n)+", body)
    assert types(re.findall(r"^data: (.*)$", body, re.M)) == EXPECTED
    assert "RCPT TO:<jane+news@x.test>" in peer.commands[-1]
    assert not peer.taken


def test_a_browser_reads_the_same(house: tuple[Daemon, Peer]) -> None:
    relay, _ = house
    with Browser() as browser:
        browser.visit(f"http://127.0.0.1:{relay.http_port}/docs")
        frames = browser.run(EVENT_SOURCE, stream(relay, "b@x.test"))
        assert types([each["data"] for each in frames]) == EXPECTED
        assert {each["id"] for each in frames} == {""}
        assert browser.run(EVENT_SOURCE, "/api/troubleshoot/delivery/b@x.test?token=forged") == "error"


def test_who_leaves_ends_the_attempt(house: tuple[Daemon, Peer]) -> None:
    relay, peer = house
    with socket.create_server(("127.0.0.2", peer.port)) as tarpit:
        tarpit.settimeout(30)
        url = f"http://127.0.0.1:{relay.http_port}{stream(relay, 'b@tarpit.test', timeout=600)}"
        reader = subprocess.Popen([require_program("curl"), "-sN", url], stdout=subprocess.PIPE)
        session, _ = tarpit.accept()
        output = reader.stdout
        assert output is not None
        wait_until(lambda: b"readGreetingStart" in output.readline(), "the stage of the greeting")
        reader.kill()
        reader.wait(10)
        output.close()
        with session:
            session.settimeout(30)
            assert session.recv(1) == b""  # the daemon hung up


def test_whoever_may_not_is_told_before_anything_is_tried(house: tuple[Daemon, Peer]) -> None:
    relay, peer = house
    before = peer.connections
    status, answer = relay.request("GET", "/api/troubleshoot/delivery/")
    assert status == 404, answer
    done = subprocess.run(
        [
            require_program("curl"),
            "-s",
            "-w",
            "%{http_code}",
            f"http://127.0.0.1:{relay.http_port}/api/troubleshoot/delivery/b@x.test",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.endswith("401")
    assert peer.connections == before
