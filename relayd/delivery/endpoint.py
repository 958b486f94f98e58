"""Where a connection goes, why there is none, and who follows how it is set up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol as Interface

from relayd.delivery.host_policy import HostPolicy
from relayd.delivery.outcome import Stage, Trouble
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.routing.next_hop import NextHop
from relayd.routing.tls_defect import Defect


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one host.  host: the name for TLS and reports.  address: IP address, or the path of a socket.

    policy: what TLS the host must give; None: what the next hop says.
    """

    host: str
    address: str
    port: int
    is_unix: bool = False
    policy: HostPolicy | None = None


class ConnectionFailed(Exception):
    """No connection: `reply` at `stage`, or `trouble` without one; the text says what happened.

    defect: what is wrong with the host's TLS, when that is it.  local: our address, where there was a connection.
    """

    def __init__(
        self,
        text: str,
        *,
        trouble: Trouble = Trouble.CONNECT,
        stage: Stage | None = None,
        reply: Reply | None = None,
        defect: Defect | None = None,
    ) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.stage = stage
        self.reply = reply
        self.defect = defect
        self.local = ""


class Step(Enum):
    """The steps of setting up a connection that somebody may want to follow."""

    CONNECT = "connection"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"


class Watch(Interface):
    """Who follows them."""

    def began(self, step: Step) -> None:
        """It begins."""

    def ended(self, step: Step, seconds: float, reason: str = "") -> None:
        """It is over; reason: why it failed, "" when it did not."""

    def showed(self, chain: Sequence[bytes]) -> None:
        """TLS is active, and the peer showed these certificates, its own first."""


@contextmanager
def watched(watch: Watch | None, step: Step) -> Iterator[None]:
    """Tell `watch` how the step goes that runs within."""
    if watch is None:
        yield
        return
    started = time.monotonic()
    watch.began(step)
    try:
        yield
    except ConnectionFailed as failure:
        watch.ended(step, time.monotonic() - started, str(failure))
        raise
    watch.ended(step, time.monotonic() - started)


class Connected(Interface):
    """What a witness looks at of a connection.  tls: its version, None without.  local: our address."""

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def next_hop(self) -> NextHop: ...

    @property
    def tls(self) -> str | None: ...

    @property
    def local(self) -> str: ...


class TlsWitness(Interface):
    """Who remembers what the TLS of hosts came to."""

    def broken(self, host: str, policy: HostPolicy) -> str:
        """Why TLS is not even tried with a host whose policy lets mail go in the clear; "" when it is."""

    def failed(
        self, endpoint: Endpoint, policy: HostPolicy, defect: Defect, failure: ConnectionFailed, span: Span
    ) -> None:
        """A connection did not give what the policy wants."""

    def connected(self, connection: Connected, policy: HostPolicy, span: Span, *, met: bool) -> None:
        """A connection is ready.  met: TLS was tried as the policy wants it."""
