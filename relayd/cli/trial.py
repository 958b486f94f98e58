"""`relayd try`: a whole relay in one terminal.

The daemon runs in this process on a temporary data directory; its only route leads to the sink next to it.  Every
event of a message is printed as it happens, then its arrival.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relayd import __version__
from relayd.cli.failure import BAD_CONFIG, TRY_AGAIN, Failure
from relayd.cli.serve import run_loop
from relayd.cli.show import printable
from relayd.cli.sink import Arrival, Sink
from relayd.config.configuration import Config, ConfigError
from relayd.config.load import load
from relayd.events.event import Event, Level
from relayd.telemetry.render import own_fields

if TYPE_CHECKING:
    from relayd.daemon import Daemon

_FAMILIES = ("smtp.", "queue.", "delivery.", "dsn.")
_SEND_TIMEOUT = 30.0
_SPANS = 1000


@click.command("try")
@click.option("--send", "send_one", is_flag=True, help="Send a message and exit 0 once it arrived.")
@click.option("--quiet", is_flag=True, help="Print arrivals only, not every event.")
def trial(send_one: bool, quiet: bool) -> int:
    """Run a whole relay in this terminal, with a built-in sink as the next hop.

    Nothing leaves this machine and nothing is kept: the data directory is temporary. Ctrl-C ends it.
    """
    with tempfile.TemporaryDirectory(prefix="relayd-try-") as directory:
        return run_loop("auto", Trial(Path(directory), send_one, quiet).run)


def free_port(preferred: int) -> int:
    """`preferred` if nobody listens there, else one that the kernel chooses."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise Failure(TRY_AGAIN, "no port of 127.0.0.1 is free")


@dataclass
class Trial:
    """One run.  directory: temporary."""

    directory: Path
    send_one: bool
    quiet: bool
    smtp_port: int = field(default_factory=lambda: free_port(2525))
    http_port: int = field(default_factory=lambda: free_port(8080))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    arrivals: int = 0
    first_at: dict[int, float] = field(default_factory=dict)

    def configuration(self, sink_port: int) -> str:
        """The TOML of this relay."""
        values = {
            "server.hostname": "relayd-try.localhost",
            "server.data-dir": str(self.directory / "data"),
            "server.submit-socket": str(self.directory / "submit.sock"),
            "server.postmaster": "postmaster@example.org",
            "server.stop-timeout": "5s",
            "server.listener.smtp.bind": [f"127.0.0.1:{self.smtp_port}"],
            "server.listener.http.bind": [f"127.0.0.1:{self.http_port}"],
            "server.listener.http.protocol": "http",
            "queue.min-free": "16MB",
            "queue.reserve": "1MB",
            "queue.route.sink.address": "127.0.0.1",
            "queue.route.sink.port": sink_port,
            "queue.outbound.next-hop": "sink",
            "tracer.log.type": "log",
            "tracer.log.level": "debug",
        }
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

    async def run(self) -> int:
        """Run sink and daemon until a signal, or with --send until the message arrived; the exit code."""
        from relayd.daemon import Daemon

        sink = Sink(self.on_arrival)
        path = self.directory / "relayd.toml"
        path.write_text(self.configuration(await sink.start()), encoding="utf-8")
        try:
            config = load(path)
        except ConfigError as error:  # a directory for temporary files whose name is too long for a socket in it
            sink.close()
            raise Failure(BAD_CONFIG, str(error)) from None
        daemon = Daemon(config, console=self.on_event)
        try:
            async with asyncio.TaskGroup() as group:
                companion = group.create_task(self._accompany(config, daemon))
                code = await daemon.run()
                companion.cancel()
        finally:
            sink.close()
        if self.send_one and not code and not self.arrived.is_set():
            print("relayd try: the message did not arrive", file=sys.stderr)
            return TRY_AGAIN
        return code

    async def _accompany(self, config: Config, daemon: Daemon) -> None:
        """Tell how to send once the daemon is ready; with --send, send and end."""
        await daemon.ready.wait()
        if not self.send_one:
            self.tell_how(config)
            return
        try:
            await asyncio.wait_for(self._send(config), _SEND_TIMEOUT)
        except (TimeoutError, Failure, OSError) as error:
            print(f"relayd try: {error or 'timed out'}", file=sys.stderr)
        daemon.stop("the message was sent")

    async def _send(self, config: Config) -> None:
        """Send one message from a process of its own, as a user would, and wait until it arrived."""
        arguments = ["-m", "relayd", "send", "--config", str(config.path), "--from", "you@example.org"]
        message = ["--to", "friend@example.net", "--subject", "Hello", "--body", "Sent by relayd try."]
        sender = await asyncio.create_subprocess_exec(sys.executable, *arguments, *message)
        if await sender.wait() == 0:
            await self.arrived.wait()

    def tell_how(self, config: Config) -> None:
        """Print what to type in another terminal."""
        port = self.smtp_port
        self.say(
            f"relayd {__version__} takes mail at 127.0.0.1:{port}; control socket http://127.0.0.1:{self.http_port}"
        )
        self.say("Send a message from another terminal, in whichever way you like:")
        self.say(f"  relayd send --config {config.path} --to friend@example.net --subject Hello --body 'It works'")
        self.say(f"  swaks --server 127.0.0.1:{port} --from you@example.org --to friend@example.net")
        self.say(
            f"""  python3 -c "import smtplib; smtplib.SMTP('127.0.0.1', {port})"""
            """.sendmail('you@example.org', ['friend@example.net'], 'Subject: Hello\\n\\nIt works')" """
        )
        self.say(f"Look at the queue:  relayd queue list --config {config.path}")
        self.say("Ctrl-C ends it, and everything is removed.\n")

    def on_event(self, event: Event) -> None:
        """Print an event that is about a message."""
        if self.quiet or event.kind.level < Level.DEBUG or not event.kind.id.startswith(_FAMILIES):
            if event.kind.level >= Level.WARN:
                self.say(describe(event))
            return
        span = event.span.id if event.span is not None else 0
        if len(self.first_at) > _SPANS:
            self.first_at.clear()
        since = event.at - self.first_at.setdefault(span, event.at)
        self.say(f"{since * 1000:>6.0f}ms  {describe(event)}")

    def on_arrival(self, arrival: Arrival) -> None:
        """Print a message that the sink got."""
        self.arrivals += 1
        header = arrival.content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
        self.say(f"\n=> arrived at the sink: {len(arrival.content)} octets")
        self.say(f"   from <{arrival.return_path}> to {', '.join(f'<{each}>' for each in arrival.recipients)}")
        for line in header.split("\r\n"):
            self.say(f"   | {printable(line.expandtabs(4))}")
        self.say("")
        self.arrived.set()

    def say(self, line: str) -> None:
        """One line on the terminal, at once."""
        print(line, flush=True)


def describe(event: Event) -> str:
    """An event on one line: id, text, its own fields."""
    return printable(f"{event.kind.id:<32} {event.kind.text}  {', '.join(own_fields(event))}".rstrip())
