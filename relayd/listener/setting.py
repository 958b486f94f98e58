"""What the sessions of one listener share, and what they ask of reception."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from relayd.events.event import EventStream
from relayd.listener.certificates import Certificates
from relayd.listener.limits import ConnectionCounts
from relayd.listener.options import ErrorLimitOptions, ListenerOptions, TimeoutOptions
from relayd.listener.plugins import Plugins
from relayd.mail.reply import Reply
from relayd.mail.snowflake import Snowflakes
from relayd.reception.client import Client
from relayd.reception.sign_in import SignIns
from relayd.smtp.command import MailCommand, RcptCommand
from relayd.smtp.extension import Extensions

if TYPE_CHECKING:
    from relayd.listener.session import RelaySMTP


class Decisions(Protocol):
    """`relayd.reception.receive.Reception`, as the listener uses it; `tx` is its own Transaction."""

    async def connect(self, client: Client) -> Reply | None: ...
    async def helo(self, client: Client) -> Reply | None: ...
    async def authenticate(self, client: Client, login: str, secret: str) -> Reply: ...
    async def mail(self, client: Client, command: MailCommand) -> Any: ...
    async def rcpt(self, tx: Any, command: RcptCommand) -> Reply: ...
    async def begin_data(self, tx: Any) -> Reply | None: ...
    async def write(self, tx: Any, chunks: list[bytes]) -> None: ...
    async def finish(self, tx: Any) -> Reply | list[Reply]: ...
    def abort(self, tx: Any) -> None: ...
    def leave(self, client: Client, *, idle: bool = False) -> None: ...
    async def vrfy(self, client: Client, argument: str) -> Reply: ...
    async def expn(self, client: Client, argument: str) -> Reply: ...
    def offered(self, client: Client) -> Extensions: ...
    def mechanisms(self, client: Client) -> tuple[str, ...]: ...

    @property
    def sign_ins(self) -> SignIns: ...


@dataclass(slots=True, kw_only=True)
class Setting:
    """One listener's circumstances; a reload replaces the whole, and sessions keep the one they began with.

    monotonic: seconds, for deadlines; wall time is the stream's clock.  sessions: those that are open.
    """

    id: str
    options: ListenerOptions
    hostname: str
    timeouts: TimeoutOptions
    errors: ErrorLimitOptions
    reception: Decisions
    plugins: Plugins
    certificates: Certificates
    counts: ConnectionCounts
    stream: EventStream
    snowflakes: Snowflakes
    monotonic: Callable[[], float]
    sessions: set[RelaySMTP]
    ehlo_replies: dict[Extensions, bytes] = field(default_factory=dict)
