"""Reception without policy or queue: takes what the protocol allows and keeps it in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from relayd.mail.reply import Reply
from relayd.reception.client import Client
from relayd.reception.sign_in import SignIns
from relayd.smtp.command import MailCommand, RcptCommand
from relayd.smtp.extension import Extensions


@dataclass
class StubTransaction:
    """One message on its way in."""

    client: Client
    command: MailCommand
    id: int = 1
    normalise: bool = False
    max_line: int = 65536
    smtputf8: bool = False
    refusal: Reply | None = None
    given: list[str] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)


@dataclass
class StubReception:
    """relay domain: example.org.  Loopback is trusted only when `trusted` says so."""

    trusted: bool = False
    normalise: bool = False
    max_line: int = 65536
    messages: list[StubTransaction] = field(default_factory=list)
    aborted: int = 0
    clients: list[Client] = field(default_factory=list)

    async def connect(self, client: Client) -> Reply | None:
        client.trusted = self.trusted or client.uid is not None or client.account is not None
        self.clients.append(client)
        return None

    async def helo(self, client: Client) -> Reply | None:
        return Reply(501, "5.5.4", "Bad name") if client.helo.startswith("-") else None

    @property
    def sign_ins(self) -> SignIns:
        raise NotImplementedError

    def mechanisms(self, client: Client) -> tuple[str, ...]:
        return ("PLAIN", "LOGIN") if client.role == "submission" and client.account is None else ()

    async def authenticate(self, client: Client, login: str, secret: str) -> Reply:
        if secret == "explode":
            raise RuntimeError("the directory is on fire")
        if (login, secret) != ("ann", "secret"):
            return Reply(535, "5.7.8", "Authentication credentials invalid")
        client.account, client.trusted = login, True
        return Reply(235, "2.7.0", "Authentication succeeded")

    async def mail(self, client: Client, command: MailCommand) -> StubTransaction | Reply:
        if command.return_path == "bug@example.org":
            raise KeyError("/etc/secret/path")
        tx = StubTransaction(client, command, smtputf8=command.smtputf8)
        tx.normalise, tx.max_line = self.normalise, self.max_line
        return tx

    async def rcpt(self, tx: StubTransaction, command: RcptCommand) -> Reply:
        if command.address.startswith("nobody@"):
            return Reply(550, "5.1.1", "No such mailbox")
        if not tx.client.trusted and not command.address.endswith("@example.org"):
            return Reply(550, "5.7.1", "Relaying denied")
        tx.given.append(command.address)
        return Reply(250, "2.1.5", "Recipient OK")

    async def begin_data(self, tx: StubTransaction) -> Reply | None:
        return None

    async def write(self, tx: StubTransaction, chunks: list[bytes]) -> None:
        for chunk in chunks:
            tx.content += chunk

    async def finish(self, tx: StubTransaction) -> Reply | list[Reply]:
        reply = tx.refusal or Reply(250, "2.0.0", f"queued as {tx.id}")
        if tx.refusal is None:
            self.messages.append(tx)
        return [reply] * len(tx.given) if tx.client.protocol == "lmtp" else reply

    def leave(self, client: Client, *, idle: bool = False) -> None:
        """Nothing is kept of a session."""

    def abort(self, tx: StubTransaction) -> None:
        self.aborted += 1

    async def expn(self, client: Client, argument: str) -> Reply:
        return Reply(502, "5.5.1", "EXPN is not offered")

    async def vrfy(self, client: Client, argument: str) -> Reply:
        return Reply(252, "2.5.2", "Cannot verify, but will take the message")

    def offered(self, client: Client) -> Extensions:
        trusted = client.trusted
        return Extensions(
            size=104857600,
            rcpt_max=1000,
            dsn=trusted,
            vrfy=trusted,
            future_release=604800 if trusted else 0,
            latest_release="2027-01-22T08:00:00Z" if trusted else "",
            deliver_by=trusted,
            mt_priority=trusted,
        )
