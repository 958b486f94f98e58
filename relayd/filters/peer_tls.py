"""TLS to filters that listen on TCP: whose certificates are believed, and what went wrong in few words."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from functools import lru_cache

_WRONG_NAMES = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_Stamps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PeerTls:
    """allow_invalid: the certificate is not looked at.  ca_files: PEM files trusted beside the system's."""

    allow_invalid: bool = False
    ca_files: tuple[str, ...] = ()

    async def context(self) -> ssl.SSLContext:
        """For a connection: certificates must be valid for the name that is connected to, unless all are allowed.

        Made off the event loop, once for each state of the files.  OSError where one cannot be read.
        """
        if self.allow_invalid:
            return _trusting()
        return await asyncio.to_thread(self._verifying)

    def _verifying(self) -> ssl.SSLContext:
        found = [os.stat(path) for path in self.ca_files]
        return _verifying(self.ca_files, tuple((each.st_ino, each.st_mtime_ns) for each in found))


@lru_cache(maxsize=32)
def _verifying(ca_files: tuple[str, ...], stamps: _Stamps) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for path in ca_files:
        context.load_verify_locations(cafile=path)
    return context


@lru_cache(maxsize=1)
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def is_wrong_name(error: OSError) -> bool:
    """Whether the certificate was good, but not for the name that was connected to."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _WRONG_NAMES


def reason_of(error: Exception) -> str:
    """Why a connection could not be made, or was lost."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return str(error) or type(error).__name__
