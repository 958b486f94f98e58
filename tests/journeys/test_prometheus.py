"""What Prometheus scrapes, by its own tools; and every metric that the shipped rules and dashboard ask for is there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.events.vocabulary import kinds
from relayd.routing.bounce_rules import BounceClass
from tests.journeys.conftest import StartRelay, send, wait_until
from tests.rig.client import Client
from tests.rig.peers import require_program
from tests.rig.sink import Sink

CONF = Path(__file__).resolve().parents[2] / "conf"
RULES = CONF / "prometheus-alerts.yml"
DASHBOARD = CONF / "grafana-dashboard.json"

METRIC = re.compile(r"\b((?:relayd|process)_[a-z_]+)")


@pytest.fixture(scope="module")
def exposition(module_relay: StartRelay) -> Iterator[str]:
    """`/metrics` of a relay that has delivered."""
    with Sink() as sink:
        daemon = module_relay(sink.port)
        send(daemon)
        daemon.wait_empty()
        anonymous = Client(daemon.http_port, authorization="")

        def found() -> str | None:
            text = anonymous.ask("GET", "/metrics").octets.decode()
            return text if "relayd_delivery_total_seconds_count 1.0" in text else None

        yield wait_until(found, "the delivery is counted")


def names(exposition: str) -> set[str]:
    """Of the samples; a counter that has not counted yet is declared all the same."""
    found = {line.split("{")[0].split(" ")[0] for line in exposition.splitlines() if not line.startswith("#")}
    return found | set(re.findall(r"^# TYPE (\w+) counter$", exposition, re.M))


def test_promtool_has_nothing_to_say(exposition: str) -> None:
    program = require_program("promtool")
    checked = subprocess.run(
        [program, "check", "metrics"], input=exposition, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_four_parts_of_the_delay(exposition: str) -> None:
    for part in ("before_queue", "in_queue", "connecting", "transmitting"):
        assert f'relayd_delivery_delay_seconds_count{{part="{part}"}} 1.0' in exposition
    assert 'relayd_deliveries_total{outcome="delivered",provider="other"} 1.0' in exposition
    assert 'relayd_listener_recipients_total{answer="accepted",listener="smtp"} 1.0' in exposition


def test_labels_hold_no_address(exposition: str) -> None:
    assert "@" not in exposition
    assert "receiver.test" not in exposition


def test_the_alert_rules_are_rules_and_their_metrics_are_there(exposition: str) -> None:
    program = require_program("promtool")
    subprocess.run([program, "check", "rules", str(RULES)], check=True, capture_output=True)
    text = RULES.read_text()
    asked = set(METRIC.findall(re.sub(r"#.*", "", text)))
    assert len(asked) > 8
    assert asked <= names(exposition)
    for pattern in re.findall(r'event=~?"([^"]+)"', text):
        assert set(pattern.split("|")) <= {kind.id for kind in kinds()}
    assert set(re.findall(r'class="([^"]+)"', text)) <= {each.value for each in BounceClass}
    open_alerts = set(re.findall(r'relayd_alerts_open\{watch="(\w+)"\}', exposition))
    for pattern in re.findall(r'watch=~"([^"]+)"', text):
        assert set(pattern.split("|")) <= open_alerts


def test_every_query_of_the_dashboard_has_its_metric(exposition: str) -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 20
    for query in queries:
        asked = set(METRIC.findall(query))
        assert asked, query
        assert asked <= names(exposition), query
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
