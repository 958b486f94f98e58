"""Codes of devices (RFC 8628): a device without a keyboard shows one, and somebody who signed in elsewhere lets it in.

They are kept in memory, as `codes` are.  The device polls with a code of its own that it shows to nobody.
"""

from __future__ import annotations

import enum
import secrets
import string
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from relayd.directory.codes import Grant, WrongClient
from relayd.directory.options import CodeOptions, ExpiryOptions

MAX_DEVICES = 5_000
"""Devices that wait; the oldest gives way."""

INTERVAL = 5
"""Seconds between two polls of a device."""

_LENGTH = 40
_ALPHABET = string.ascii_letters + string.digits
USER_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without what is read as something else."""


class Pending(enum.Enum):
    """What a device that polls is told while it has no grant."""

    WAITING = "authorization_pending"
    EXPIRED = "expired_token"


@dataclass(slots=True)
class _Device:
    user_code: str
    client_id: str
    expires: float
    grant: Grant | None = None
    tries: int = 0


class DeviceCodes:
    """The devices that wait.  clock: Unix seconds."""

    def __init__(self, expiry: ExpiryOptions, attempts: CodeOptions, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._by_user_code: dict[str, str] = {}
        self.reconfigure(expiry, attempts)

    def reconfigure(self, expiry: ExpiryOptions, attempts: CodeOptions) -> None:
        """Take other options, for the codes from now on."""
        self.lifetime = expiry.user_code
        self._max_tries = attempts.max_attempts

    def issue(self, client_id: str) -> tuple[str, str]:
        """The code that a device polls with, and the one that it shows (XXXX-XXXX)."""
        self._make_room()
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
        user_code = self._new_user_code()
        self._devices[code] = _Device(user_code, client_id, self._clock() + self.lifetime)
        self._by_user_code[user_code] = code
        return code, user_code

    def _new_user_code(self) -> str:
        while True:
            text = "".join(secrets.choice(USER_ALPHABET) for _ in range(8))
            user_code = f"{text[:4]}-{text[4:]}"
            if user_code not in self._by_user_code:
                return user_code

    def approve(self, user_code: str, grant: Callable[[str], Grant]) -> bool:
        """Let the device in that shows `user_code`; whether one does, and was not let in before.

        grant: what it is given, by its client id.
        """
        code = self._by_user_code.get(user_code.strip().upper())
        device = self._devices.get(code) if code is not None else None
        if device is None or device.expires <= self._clock() or device.grant is not None:
            return False
        device.grant = grant(device.client_id)
        return True

    def redeem(self, code: str, client_id: str) -> Grant | Pending:
        """What a device that polls is given, once.  Raises WrongClient; after some of these the code is void."""
        device = self._devices.get(code)
        if device is None:
            return Pending.EXPIRED
        if device.expires <= self._clock():
            self._forget(code)
            return Pending.EXPIRED
        if device.client_id != client_id:
            device.tries += 1
            if device.tries >= self._max_tries:
                self._forget(code)
            raise WrongClient
        if device.grant is None:
            return Pending.WAITING
        self._forget(code)
        return device.grant

    def _forget(self, code: str) -> None:
        del self._by_user_code[self._devices.pop(code).user_code]

    def _make_room(self) -> None:
        now = self._clock()
        while self._devices:
            code, device = next(iter(self._devices.items()))
            if device.expires > now and len(self._devices) < MAX_DEVICES:
                return
            self._forget(code)
