"""What the control socket works with: the engine's parts as its operations want them, and what the daemon does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relayd.assembly.control_socket import Signatures, learning, sending_side, spam_side
from relayd.assembly.engine import Engine
from relayd.assembly.spam_rules import SpamRules
from relayd.assembly.switching import ScannerSwitches
from relayd.assembly.telemetry import Views
from relayd.config.configuration import Config
from relayd.config.settings import Settings
from relayd.control.api.maintenance import Reload, WriteBackup
from relayd.control.api.troubleshoot import Explaining
from relayd.control.app import Parts
from relayd.control.signing_in import SigningIn
from relayd.events.event import Span
from relayd.queue.filter import Filter
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.reading import Logs


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSide:
    """What the daemon gives beside the engine.  config: the one in force.  reload, backup: carried out by it."""

    config: Callable[[], Config]
    settings: Settings
    reload: Reload
    backup: WriteBackup
    signing_in: SigningIn
    views: Views
    metrics: Metrics
    span: Span


def control_parts(engine: Engine, daemon: DaemonSide) -> Parts:
    """The parts of one control socket."""
    spam = spam_side(engine)
    receiving, delivering, asked = engine.receiving, engine.delivering, engine.troubleshooting
    reconfigured = (daemon.config, daemon.settings, daemon.reload, daemon.span)
    return Parts(
        queue=engine.opened.queue,
        bodies=engine.opened.queue,
        actions=engine.opened.actions,
        bounce=partial(_bounce, engine),
        destinations=lambda next_hop: engine.loaded.router.under(next_hop),
        metrics=daemon.metrics,
        ready=engine.problems,
        backup=daemon.backup,
        reload=daemon.reload,
        settings=daemon.settings,
        signing_in=daemon.signing_in,
        principals=engine.principals,
        quota=receiving.reception.quota,
        logs=Logs(lambda: daemon.views.log.place, daemon.views.log.flush),
        ids=lambda: engine.snowflakes.issue(engine.stream.clock()),
        bans=receiving.bans,
        greylist=receiving.remembering.greylist,
        records=receiving.remembering.records,
        certificates=receiving.listeners.certificates,
        suppressions=delivering.suppressions,
        switches=ScannerSwitches(receiving.filtering.scanners, *reconfigured),
        spam=spam,
        learn=learning(spam),
        spam_rules=SpamRules(receiving.scoring, *reconfigured),
        known=delivering.suspendable,
        tls_hosts=delivering.tls_hosts,
        tls_results=delivering.tls_results,
        webhooks=engine.webhooks,
        sending=sending_side(engine),
        signatures=Signatures(engine, daemon.settings),
        resolver=lambda: engine.resolver,
        explaining=Explaining(
            examine=asked.examinations.examine,
            rcpt=receiving.trials.rcpt,
            road=asked.outlooks.of,
            rehearse=asked.rehearsals.run,
        ),
        telemetry=daemon.views.shown(engine),
    )


async def _bounce(engine: Engine, filter: Filter, by: str, reason: str) -> int:
    compose = partial(engine.delivering.bounces.compose, now=engine.stream.clock())
    return await engine.opened.actions.bounce(filter, by, reason, compose)


def watch(engine: Engine, metrics: Metrics) -> None:
    """What the metrics show of the engine as it is when they are asked."""
    delivering, ways = engine.delivering, engine.delivering.ways
    metrics.watch(
        "relayd_tls_broken_hosts",
        "Hosts with which TLS is not tried now because it failed",
        lambda: delivering.tls_hosts.broken_hosts,
    )
    metrics.watch(
        "relayd_delivery_idle_connections", "Connections kept for the next message", lambda: delivering.pool.idle
    )
    each = partial(metrics.watch_each, label="smarthost")
    each("relayd_smarthost_aside_seconds", "For how long the host is still passed over", read=ways.aside)
    each("relayd_smarthost_messages_left", "Messages that its budget still allows now", read=ways.left)
    each("relayd_smarthost_connections", "Connections in use", read=ways.connections)
