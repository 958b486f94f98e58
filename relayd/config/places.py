"""Where the sockets of a daemon are: asked by the daemon that binds them and by the commands that look for it."""

from __future__ import annotations

import os
from pathlib import Path

from relayd.config.configuration import Config
from relayd.mail.options import ServerOptions

RUNTIME_DIRECTORY = Path("/run/relayd")
"""Of the installed service: RuntimeDirectory of the unit, and the place of the socket that every local user may use."""

STATE_DIRECTORY = Path("/var/lib/relayd")
"""Of the installed service."""


def data_directory(config: Config) -> Path:
    """`server.data-dir`."""
    return Path(config.section(ServerOptions).data_dir)


def control_socket(config: Config) -> Path:
    """Where the daemon of `config` binds its control socket."""
    return data_directory(config) / "control.sock"


def submit_socket(config: Config) -> Path:
    """Where the daemon of `config` binds its submit socket: as configured, else where every local user finds it if
    this process may write there, else in the data directory."""
    configured = config.section(ServerOptions).submit_socket
    if configured is not None:
        return Path(configured)
    if os.access(RUNTIME_DIRECTORY, os.W_OK):
        return RUNTIME_DIRECTORY / "submit.sock"
    return data_directory(config) / "submit.sock"


def control_candidates(config: Config) -> list[Path]:
    """Where a command looks for the daemon.  The service's own data directory is known to systemd only, so it is
    looked at too when the file does not name one."""
    found = [control_socket(config)]
    if "server.data-dir" not in config.flat():
        found.append(STATE_DIRECTORY / "control.sock")
    return found


def submit_candidates(config: Config) -> list[Path]:
    """Where a command hands in mail.  A configuration that was named comes before the machine's own daemon."""
    configured = config.section(ServerOptions).submit_socket
    own = [Path(configured)] if configured is not None else [data_directory(config) / "submit.sock"]
    system = [RUNTIME_DIRECTORY / "submit.sock"]
    return own + system if config.path is not None else system + own
