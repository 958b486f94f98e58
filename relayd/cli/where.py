"""Which daemon a command is about: `--config` and `--url`, accepted before and after the verb."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relayd.cli.failure import BAD_CONFIG, OS_ERROR, Failure

if TYPE_CHECKING:
    from relayd.config.configuration import Config, ConfigError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Where:
    """What was given on the command line so far."""

    config: str | None = None
    url: str | None = None

    @property
    def path(self) -> Path | None:
        """The configuration file: `--config`, else RELAYD_CONFIG, else none (the development default)."""
        given = self.config or os.environ.get("RELAYD_CONFIG")
        return Path(given) if given else None

    def load(self) -> Config:
        """What the file says, for a client of the daemon: it needs the places only.

        Raises Failure 78 with every error of the file.
        """
        from relayd.config.configuration import ConfigError
        from relayd.config.load import load

        try:
            return load(self.path, for_client=True)
        except ConfigError as error:
            raise Failure(BAD_CONFIG, str(error)) from None

    def load_effective(self) -> Config:
        """The configuration of file and database that a daemon starts with.

        Raises Failure 78 with every error found, 71 when the database cannot be read.
        """
        from relayd.config.configuration import ConfigError
        from relayd.config.load import load
        from relayd.config.store import read_stored
        from relayd.database.interface import DatabaseError, NewerSchema

        try:
            return load(self.path, stored=read_stored)
        except ConfigError as error:
            raise Failure(BAD_CONFIG, "\n".join([str(error), *way_out(error)])) from None
        except NewerSchema as error:
            raise Failure(BAD_CONFIG, str(error)) from None
        except (DatabaseError, OSError) as error:
            raise Failure(OS_ERROR, f"the settings of the database cannot be read: {error}") from None


def way_out(error: ConfigError) -> list[str]:
    """What to type against settings of the database that are wrong; nothing when none is."""
    keys = sorted({problem.key for problem in error.problems if problem.stored})
    return (
        [f'"relayd settings delete {shlex.join(keys)}" removes from the database what is wrong there'] if keys else []
    )


def where() -> Where:
    """That of the command that runs."""
    return click.get_current_context().find_root().ensure_object(Where)


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and parameter.name is not None:
        setattr(context.find_root().ensure_object(Where), parameter.name, value)


def config_option(command: F) -> F:
    """Decorator: the command takes `--config`."""
    return click.option(
        "--config",
        metavar="FILE",
        expose_value=False,
        callback=_remember,
        help="Configuration file; else RELAYD_CONFIG, else the development default.",
    )(command)


def url_option(command: F) -> F:
    """Decorator: the command takes `--url` and `--config`, to find the control socket."""
    return config_option(
        click.option(
            "--url",
            metavar="URL",
            expose_value=False,
            callback=_remember,
            help="Control socket: unix:/path or http://host:port; else RELAYD_URL, else that of the configuration. "
            "Over http, RELAYD_CREDENTIALS holds user:secret.",
        )(command)
    )
