"""Checking a login and secret: the fallback administrator, then the directory.

The fallback administrator is a directory of one account of its own, so it works whatever becomes of the other; secrets
are hashed and compared there, in threads.
"""

from __future__ import annotations

from collections.abc import Callable

from relayd.control.access import ADMIN
from relayd.control.options import FallbackAdminOptions
from relayd.directory.account import Account
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions


class SigningIn:
    """An `Authenticate`.  clock: seconds, only differences matter."""

    def __init__(self, directory: Directory, fallback: FallbackAdminOptions, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._fallback = Directory({}, clock)
        self._fallback_user = ""
        self.reconfigure(fallback)

    def reconfigure(self, fallback: FallbackAdminOptions) -> None:
        """Take another fallback administrator; without user or secret there is none."""
        self._fallback_user = (fallback.user or "").strip().lower()
        options = AccountOptions(type_="individual", secret=fallback.secret or "", roles=(ADMIN,))
        named = self._fallback_user and fallback.secret
        self._fallback.reconfigure({self._fallback_user: options} if named else {})

    async def __call__(self, login: str, secret: str) -> Account | None:
        """The account, or None; TooBusy when too many sign-ins wait."""
        if self._fallback_user and login == self._fallback_user:
            return await self._fallback.authenticate(login, secret)
        return await self._directory.authenticate(login, secret)

    def close(self) -> None:
        """Let the threads go; the directory is closed by its owner."""
        self._fallback.close()
