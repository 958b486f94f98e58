"""schemathesis against a live daemon: whatever is asked, the answer is one that the API's description knows.

It runs in an environment of its own (`tests/fuzz/api/requirements.lock`, which `.ci/run` installs), found by
RELAYD_SCHEMATHESIS or on the path.  The daemon's data are thrown away.  Not asked: streams, which do not end, changes
of passwords, which would lock the run out, and what writes where its caller says.  The cases are the same at every run;
RELAYD_FUZZ=long takes others, and more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import send
from tests.rig.daemon import Daemon
from tests.rig.dns import serving_in_thread
from tests.rig.peers import require_program

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)

LEFT_OUT = (
    ("GET", "/api/telemetry/metrics/live"),
    ("GET", "/api/telemetry/traces/live"),
    ("GET", "/api/troubleshoot/delivery/{recipient}"),
    ("POST", "/api/account/auth"),
    ("POST", "/api/backup"),
)

QUEUED = 60

LONG = os.environ.get("RELAYD_FUZZ") == "long"


@pytest.fixture(scope="module")
def schemathesis() -> str:
    return os.environ.get("RELAYD_SCHEMATHESIS") or require_program("schemathesis")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose queue holds messages that go nowhere, and whose DNS knows no name."""
    with serving_in_thread({}) as dns:
        yield from _running(tmp_path_factory.mktemp("relay"), dns.port)


def _running(directory: Path, dns: int) -> Iterator[Daemon]:
    settings = {"queue.schedule.retry": ["10m"], "resolver.custom": [f"udp://127.0.0.1:{dns}"]}
    running = Daemon(directory, settings).start()
    running.data_of("PATCH", "/api/queue/status/stop")
    for number in range(QUEUED):
        send(running, to=[f"b{number}@receiver.test", f"c{number}@other.test"])
    yield running
    assert running.stop() == 0


def description(daemon: Daemon) -> dict[str, Any]:
    """What the daemon says of itself, without what is left out."""
    status, found = daemon.request("GET", "/api/openapi.json")
    assert status == 200
    for method, path in LEFT_OUT:
        found["paths"].get(path, {}).pop(method.lower(), None)
    # Each sign-in that fails makes the next one with its name wait: a token that is none is refused at once.
    del found["components"]["securitySchemes"]["basic"]
    operations = [each for item in found["paths"].values() for each in item.values() if isinstance(each, dict)]
    for each in (found, *operations):
        if "security" in each:
            each["security"] = [one for one in each["security"] if "basic" not in one]
    document: dict[str, Any] = found
    return document


def run(program: str, daemon: Daemon, document: dict[str, Any], directory: Path, *arguments: str) -> int:
    """Run schemathesis; how many cases it tried.  AssertionError with its report when it found anything."""
    described = directory / "openapi.json"
    described.write_text(json.dumps(document))
    address = f"http://127.0.0.1:{daemon.http_port}"
    done = subprocess.run(
        [
            *(program, "run", str(described), "--url", address, "--auth", "admin:for-tests-only"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--request-timeout", "30"),
            *("--continue-on-failure", "--warnings", "off", *([] if LONG else ["--seed", "1"]), *arguments),
        ],
        cwd=directory,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, "".join(done.stdout.rpartition("= FAILURES =")[1:]) + done.stderr[-2_000:]
    counted = re.search(r"([\d,]+) generated", done.stdout)
    assert counted is not None, done.stdout[-2_000:]
    return int(counted[1].replace(",", ""))


def test_no_answer_is_unknown_to_the_description(schemathesis: str, daemon: Daemon, tmp_path: Path) -> None:
    document = description(daemon)
    # what exists is asked for by name first: chance would never find it
    messages = daemon.queued()
    existing = {
        "id": [str(each["id"]) for each in messages],
        "blob_id": [each["blob_hash"] for each in messages],
    }
    named = json.loads(json.dumps(document))
    named["paths"] = {path: item for path, item in named["paths"].items() if re.search(r"\{(id|blob_id)\}", path)}
    for item in named["paths"].values():
        for operation in item.values():
            for parameter in operation["parameters"]:
                if parameter["name"] in existing:
                    parameter["schema"] = {"enum": existing[parameter["name"]]}
    run(schemathesis, daemon, named, tmp_path, "--max-examples", "100" if LONG else "20")
    assert run(schemathesis, daemon, document, tmp_path, "--max-examples", "200" if LONG else "25") >= 2000
    assert "Traceback" not in daemon.output.read_text(errors="replace")
