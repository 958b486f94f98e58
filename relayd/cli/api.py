"""`relayd api`: any operation of the API, as it stands in its description."""

from __future__ import annotations

import json
from typing import BinaryIO

import click

from relayd.cli.control import open_control
from relayd.cli.failure import USAGE, Failure
from relayd.cli.show import print_json
from relayd.cli.where import url_option, where

METHODS = ("GET", "POST", "PATCH", "DELETE")


@click.command()
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path")
@click.option(
    "-q", "--query", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; as often as needed."
)
@click.option("--body", type=click.File("rb"), help="File with the JSON body; - is standard input.")
@url_option
def api(method: str, path: str, parameters: tuple[str, ...], body: BinaryIO | None) -> None:
    """Carry out an operation of the API and print its data as JSON.

    PATH is below /api, as in "relayd api GET /telemetry/live/metrics-token"; GET /openapi.json describes all of them.
    """
    query = [_parameter(each) for each in parameters]
    print_json(open_control(where()).ask(method, "/" + path.removeprefix("/api").lstrip("/"), query, _body(body)))


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Failure(USAGE, f'not a parameter: "{text}"; expected NAME=VALUE')
    return name, value


def _body(file: BinaryIO | None) -> object:
    """The JSON value of the body, None without one.  Raises Failure 64 when it is no JSON."""
    if file is None:
        return None
    try:
        return json.loads(file.read())
    except ValueError as error:
        raise Failure(USAGE, f"the body is not JSON: {error}") from None
