"""Certificates that we show to the hosts of a route, read again when their files change."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """cert: PEM file of the certificate and its chain.  private_key: of its key; None: in the same file."""

    cert: str
    private_key: str | None = None

    def stamp(self) -> tuple[int, ...]:
        """Changes when a file does.  Raises OSError when one cannot be looked at; blocks for no more than a stat."""
        found: list[int] = []
        for path in (self.cert, self.private_key):
            if path is not None:
                status = os.stat(path)
                found += [status.st_mtime_ns, status.st_size, status.st_ino]
        return tuple(found)

    def load(self, context: ssl.SSLContext) -> None:
        """Show it from now on; blocks.  Raises OSError, of which ssl.SSLError is one.

        The key has no passphrase: nobody could be asked for it.
        """
        context.load_cert_chain(self.cert, self.private_key, password="")
