"""The rules of spam scoring, updated from where the configuration says: an https URL, or a file."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aiohttp

from relayd.assembly.scoring import ScoringParts
from relayd.config.configuration import Config
from relayd.config.settings import Settings
from relayd.config.spam import delivered_rules, rules_of
from relayd.config.spam_updates import NoPrevious, SpamUpdates
from relayd.control.api.maintenance import Reload
from relayd.control.api.settings import Clear, SettingsRefused, SettingsUnavailable
from relayd.control.api.spam_rules import UpdateFailed
from relayd.events import spam as events
from relayd.events.event import Span
from relayd.options import OptionError
from relayd.spam.options import SpamOptions, UpdateOptions
from relayd.spam.patterns import Patterns
from relayd.spam.ruleset import MAX_OCTETS, Ruleset, RulesetError, read_ruleset

_CONNECT = 10.0
_SCORES = "spam-filter.list.scores."


class SpamRules:
    """See `control.api.spam_rules.RulesSide`.  config: the one in force."""

    def __init__(
        self, scoring: ScoringParts, config: Callable[[], Config], settings: Settings, reload: Reload, span: Span
    ) -> None:
        self._scoring = scoring
        self._config = config
        self._settings = settings
        self._reload = reload
        self._span = span
        self._changing = asyncio.Lock()

    @property
    def _updates(self) -> SpamUpdates:
        return self._scoring.updates

    @property
    def _version(self) -> str:
        return self._scoring.assessor.settings.scanner.ruleset.version

    async def update(self, *, force: bool, overwrite: bool) -> str | None:
        """See RulesSide."""
        options = self._config().section(UpdateOptions)
        if options.url is None:
            raise UpdateFailed("spam-filter.update.source is not set")
        if self._config().section(SpamOptions).rules is not None:
            raise UpdateFailed("spam-filter.rules names a file, whose rules are in force")
        async with self._changing:
            octets = await _fetched(options)
            if options.sha256 is not None and hashlib.sha256(octets).hexdigest() != options.sha256.strip().lower():
                raise UpdateFailed("the document is not the one that spam-filter.update.sha256 names")
            before = self._version
            ruleset = await asyncio.to_thread(_read, octets, self._config())
            if ruleset.version == before and not (force or overwrite):
                return None
            await self._put(ruleset, octets)
            if overwrite:
                await self._forget_scores()
            events.RULES_UPDATED(self._span, version=ruleset.version, previous=before)
            return ruleset.version

    async def _put(self, ruleset: Ruleset, octets: bytes) -> None:
        """Put rules in force; where they do not go with the configuration, those before stay."""
        try:
            before = await asyncio.to_thread(self._updates.put, ruleset, octets)
            problem = await self._reloaded()
            if problem:
                await asyncio.to_thread(self._updates.undo, before)
                raise UpdateFailed(problem)
            await asyncio.to_thread(self._updates.prune)
        except OSError as error:
            raise UpdateFailed(str(error)) from error

    async def _reloaded(self) -> str:
        """Why the configuration could not be put in force, "" when it was."""
        answer = await self._reload("", dry_run=False)
        return "; ".join(f"{key}: {each['error']}" for key, each in answer["errors"].items())

    async def _forget_scores(self) -> None:
        """The new rules are in force by now: a document that is none costs no score."""
        try:
            await self._settings.change([Clear(prefix=_SCORES)])
        except (SettingsRefused, SettingsUnavailable) as error:
            raise UpdateFailed(str(error)) from error
        problem = await self._reloaded()
        if problem:
            raise UpdateFailed(problem)

    async def rollback(self) -> str:
        """See RulesSide."""
        async with self._changing:
            before = self._version
            try:
                kept = await asyncio.to_thread(self._updates.versions)
                version = await asyncio.to_thread(self._updates.back)
            except NoPrevious:
                raise UpdateFailed("the delivered rules are in force") from None
            except OSError as error:
                raise UpdateFailed(str(error)) from error
            problem = await self._reloaded()
            if problem:
                await asyncio.to_thread(self._updates.forth, kept)
                raise UpdateFailed(problem)
            events.RULES_UPDATED(self._span, version=self._version, previous=before)
            return version or delivered_rules().version

    async def versions(self) -> tuple[str, list[str]]:
        """See RulesSide."""
        kept = await asyncio.to_thread(self._updates.versions)
        return self._version, [*kept[1:], *([""] if kept else [])]


async def _fetched(options: UpdateOptions) -> bytes:
    """The document.  UpdateFailed."""
    source = options.url or ""
    try:
        if source.startswith(("https://", "http://")):
            return await _downloaded(source, options)
        return await asyncio.to_thread(partial(_of_file, Path(source.removeprefix("file://"))))
    except TimeoutError:
        raise UpdateFailed(f"{source}: nothing within {options.timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UpdateFailed(f"{source}: {error or type(error).__name__}") from error


async def _downloaded(url: str, options: UpdateOptions) -> bytes:
    timeout = aiohttp.ClientTimeout(total=options.timeout, sock_connect=_CONNECT)
    headers = {"User-Agent": "relayd", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session, session.get(url) as answer:
        if answer.status != 200:
            raise UpdateFailed(f"{url}: the web server answered {answer.status}")
        if options.sha256 is None and answer.url.scheme != "https" and not _is_this_machine(answer.url.host or ""):
            raise UpdateFailed(f"{url}: not over https, and spam-filter.update.sha256 does not say what it should be")
        body = bytearray()
        while len(body) <= MAX_OCTETS:
            block = await answer.content.read(MAX_OCTETS + 1 - len(body))
            if not block:
                break
            body += block
        return bytes(body)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_OCTETS + 1)


def _read(octets: bytes, config: Config) -> Ruleset:
    """The document, tried together with the configuration before anything is written.  UpdateFailed."""
    try:
        ruleset = read_ruleset(octets.decode("utf-8"))
        Patterns(rules_of(config, ruleset).rules)
    except (UnicodeDecodeError, RulesetError, OptionError) as error:
        raise UpdateFailed(f"the document is no set of rules: {error}") from error
    return ruleset
