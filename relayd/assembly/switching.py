"""Outside scanners switched on and off by an operator, through the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relayd.config.configuration import Config
from relayd.config.settings import Settings
from relayd.control.api.maintenance import Reload
from relayd.control.api.settings import Insert, SettingsRefused, SettingsUnavailable
from relayd.control.compat.brainycp_scanners import TYPES, SwitchFailed
from relayd.events import filter as events
from relayd.events.event import Span
from relayd.filters.options import FilterOptions
from relayd.filters.scanning import Scanners

ADDRESSES = {"clamd": "unix:/run/clamav/clamd.ctl", "spamd": "127.0.0.1:783", "rspamd": "127.0.0.1:11333"}
"""Where Debian's packages listen."""


class ScannerSwitches:
    """See `control.compat.brainycp_scanners.Switches`.  config: the one in force."""

    def __init__(
        self,
        scanners: Scanners,
        config: Callable[[], Config],
        settings: Settings,
        reload: Reload,
        span: Span,
    ) -> None:
        self._scanners = scanners
        self._config = config
        self._settings = settings
        self._reload = reload
        self._span = span

    def _configured(self, type: str) -> dict[str, FilterOptions]:
        return {id: each for id, each in self._config().records(FilterOptions).items() if each.type == type}

    async def status(self, type: str) -> Mapping[str, str]:
        """See Switches."""
        found = dict.fromkeys(self._configured(type), "off")
        return found | await self._scanners.status(type)

    async def switch(self, type: str, on: bool, by: str) -> None:
        """See Switches."""
        ids = list(self._configured(type))
        values = [(f"filter.{id}.enabled", "true" if on else "false") for id in ids]
        if not ids:
            if not on:
                return
            ids = [next(name for name, each in TYPES.items() if each == type)]
            prefix = f"filter.{ids[0]}"
            values = [
                (f"{prefix}.type", type), (f"{prefix}.address", ADDRESSES[type]), (f"{prefix}.enabled", "true"),
                (f"{prefix}.on-failure", "accept"),
            ]  # fmt: skip
        try:
            await self._settings.change([Insert(values=values, assert_empty=False)])
        except (SettingsRefused, SettingsUnavailable) as error:
            raise SwitchFailed(str(error)) from error
        answer = await self._reload("", dry_run=False)
        if answer["errors"]:
            raise SwitchFailed("; ".join(f"{key}: {each['error']}" for key, each in answer["errors"].items()))
        for id in ids:
            events.SWITCHED(self._span, id=id, policy="on" if on else "off", account_name=by)
