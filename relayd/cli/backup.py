"""`relayd backup DIR`: a consistent copy of the running relay."""

from __future__ import annotations

from pathlib import Path

import click

from relayd.cli.control import open_control
from relayd.cli.failure import CANNOT_CREATE, Failure
from relayd.cli.show import working
from relayd.cli.where import url_option, where


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@url_option
def backup(directory: Path) -> None:
    """Copy the data of the running relay to DIRECTORY, which must be empty or not there.

    A relay started on the copy is paused and says why: both would deliver the same mail.
    """
    target = directory.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Failure(CANNOT_CREATE, f"{target} is there and not an empty directory")
    with working(f"Copying to {target}"):
        data = open_control(where()).ask("POST", "/backup", body={"directory": str(target)})
    written = data if isinstance(data, dict) else {}
    details = ", ".join(f"{name} {value}" for name, value in written.items() if name != "directory")
    click.echo(f"Copied to {target}" + (f": {details}" if details else ""))
