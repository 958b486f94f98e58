"""Which daemon a command is about: `--config` and `--url`, accepted before and after the verb."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relayd.cli.failure import BAD_CONFIG, Failure

if TYPE_CHECKING:
    from relayd.config.configuration import Config

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

    def load(self, *, for_client: bool = True) -> Config:
        """The configuration, of which a client of the daemon needs the places only.

        Raises Failure 78 with every error of the file.
        """
        from relayd.config.configuration import ConfigError
        from relayd.config.load import load

        try:
            return load(self.path, for_client=for_client)
        except ConfigError as error:
            raise Failure(BAD_CONFIG, str(error)) from None


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
