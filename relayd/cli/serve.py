"""`relayd serve`: run the daemon in the foreground."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine

import click

from relayd.cli.failure import BAD_CONFIG, Failure
from relayd.cli.where import config_option, where
from relayd.config.development import ADMIN, create_admin
from relayd.config.places import data_directory
from relayd.mail.options import ServerOptions


@click.command()
@config_option
def serve() -> int:
    """Run the relay in the foreground, until SIGTERM or SIGINT.

    SIGHUP reads the configuration again, the file and the settings written through the API. Without a configuration
    relayd listens on loopback only and keeps its data in ./relayd-data.
    """
    config = where().load_effective()
    if config.path is None:
        secret = create_admin(data_directory(config))
        if secret is not None:
            print(
                f'relayd: the control socket\'s user is "{ADMIN}", its secret {secret} (not shown again)',
                file=sys.stderr,
            )
            config = where().load_effective()
    from relayd.daemon import Daemon

    for warning in config.warnings:
        print(f"relayd: warning: {warning.render(config.path)}", file=sys.stderr)
    return run_loop(config.section(ServerOptions).loop, lambda: Daemon(config).run())


def run_loop(name: str, work: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run `work` on the event loop that `server.loop` calls `name`; its answer."""
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        return runner.run(work())


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop of that name; None is asyncio's own.  Raises Failure 78 for a uvloop that is not there."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if name == "uvloop":
            raise Failure(BAD_CONFIG, 'server.loop = "uvloop": uvloop is not installed (extra "speed")') from None
        return None
    return uvloop.new_event_loop
