"""Where clients' addresses are, by the operator's files and by a zone of the DNS.

Asked before a message is scanned, so that rules may look at it.  A zone that does not answer, and a file that is broken
in a place, cost what they would have said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from relayd.events import spam as events
from relayd.events.event import Span
from relayd.options import OptionError
from relayd.reception.geo_files import GeoFile, GeoFiles, open_files
from relayd.reception.policy import unmapped
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver
from relayd.resolver.budget import BudgetResolver
from relayd.spam.dnsbl import reversed_address
from relayd.spam.facts import Address
from relayd.spam.geo_options import GeoOptions
from relayd.spam.origin import Origin, of_asn_record, of_country_record, of_txt, together

AGAIN = 60.0
"""Seconds between two looks at whether a file was replaced."""


class Origins:
    """False where nothing is configured.  resolver: the one in force.  span: of what is stated about the files."""

    def __init__(self, options: GeoOptions, files: GeoFiles, resolver: Callable[[], Resolver], span: Span) -> None:
        self._resolver = resolver
        self._span = span
        self._complained = ""
        self.reconfigure(options, files)

    def reconfigure(self, options: GeoOptions, files: GeoFiles) -> None:
        """Take other options and their files."""
        self.options, self.files = options, files
        self._configured = any((files.asn, files.country, options.dns_zone, options.dns_zone_v6))

    def __bool__(self) -> bool:
        return self._configured

    async def of(self, client: Address, span: Span) -> Origin:
        """What is known of an address; an empty Origin where that is nothing.  span: of the session."""
        address = unmapped(client) or client
        found = Origin()
        for file, read in ((self.files.asn, of_asn_record), (self.files.country, of_country_record)):
            if file is not None:
                found = together(found, self._looked_up(file, address, read, span))
        zone = self.options.dns_zone if address.version == 4 else self.options.dns_zone_v6
        if zone is not None and not (found.asn and found.country):
            found = together(found, await self._asked(zone, address, span))
        return found

    def _looked_up(self, file: GeoFile, address: Address, read: Callable[[object, str], Origin], span: Span) -> Origin:
        try:
            return read(*file.find(address))
        except Exception as error:  # the file is of others, and its reader meets what it is made of only now
            events.CLASSIFY_ERROR(span, reason=f"{file.key}: {str(error) or type(error).__name__}")
            return Origin()

    async def _asked(self, zone: str, address: Address, span: Span) -> Origin:
        name = reversed_address(str(address))
        if not name:
            return Origin()
        resolver = BudgetResolver(self._resolver(), self.options.timeout)
        try:
            return of_txt((await resolver.txt(f"{name}.{zone}")).records)
        except (NoName, NoData):
            return Origin()
        except ResolveError as error:
            events.CLASSIFY_ERROR(span, reason=f"{zone}: {error}")
            return Origin()

    async def run(self) -> None:
        """Take files that were replaced: a task of the daemon's."""
        while True:
            await asyncio.sleep(AGAIN)
            await self.refresh()

    async def refresh(self) -> None:
        """Read anew what has changed on disk; a file that cannot be read stays as it was, and that is stated once."""
        options = self.options
        if not (self.files.asn or self.files.country):
            return
        try:
            files = await asyncio.to_thread(partial(open_files, options))
        except OptionError as error:
            if self._complained != str(error):
                self._complained = str(error)
                events.GEO_FILE_ERROR(self._span, reason=str(error))
            return
        self._complained = ""
        if options is self.options:
            self.files = files
