"""The development default's administrator: a random secret, told once, of which only the hash is kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from relayd.config.configuration import Config
from relayd.config.places import data_directory
from relayd.control.options import FallbackAdminOptions

ADMIN = "admin"

_FILE = "admin.hash"


def create_admin(directory: Path) -> str | None:
    """Make the secret of a new data directory; None when it has one already.  Raises OSError."""
    from relayd.directory.password import hash_secret

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(18)
    try:
        descriptor = os.open(directory / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(hash_secret(secret) + "\n")
    return secret


def with_development_admin(config: Config) -> Config:
    """`config` with the administrator whose hash the data directory holds, if it holds one and we may read it."""
    try:
        stored = (data_directory(config) / _FILE).read_text(encoding="ascii").strip()
    except OSError:
        return config
    return config.with_section(FallbackAdminOptions(user=ADMIN, secret=stored or None))
