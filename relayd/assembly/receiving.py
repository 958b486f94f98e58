"""The way in: listeners, reception, and who may sign in."""

from __future__ import annotations

import asyncio
import hmac

from relayd.assembly.delivering import Delivering
from relayd.assembly.filtering import open_filtering, reload_filtering
from relayd.assembly.loaded import Loaded
from relayd.assembly.scoring import ScoringParts
from relayd.assembly.strangers import Remembering
from relayd.directory.address_book import AddressBook
from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.directory.principal import reserved_by
from relayd.directory.principals import Principals
from relayd.directory.sending_addresses import SendingAddresses
from relayd.directory.tokens import Tokens, load_key
from relayd.events.event import EventStream, Span
from relayd.listener.listeners import Listeners, Machinery
from relayd.mail.snowflake import Snowflakes
from relayd.queue.opening import OpenQueue
from relayd.queue.usage import Ledger
from relayd.reception.filtering import Filtering, ScannerTags
from relayd.reception.policy import Policy
from relayd.reception.receive import Parts, Reception
from relayd.reception.sign_in import SignIns
from relayd.reception.signing import Signing
from relayd.reception.trial import Trials
from relayd.reputation.ban_store import FILE as BANS
from relayd.reputation.ban_store import BanStore
from relayd.reputation.bans import Bans
from relayd.reputation.options import BanOptions
from relayd.resolver.live import LiveResolver


class Receiving:
    """The parts of reception, made of one configuration and reloaded with another."""

    def __init__(
        self,
        loaded: Loaded,
        opened: OpenQueue,
        book: AddressBook,
        principals: Principals,
        delivering: Delivering,
        resolver: LiveResolver,
        signing: Signing,
    ) -> None:
        self._loaded = loaded
        self._opened = opened
        self._delivering = delivering
        self._resolver = resolver
        self._signing = signing
        self._book = book
        self.principals = principals
        self.sending: SendingAddresses
        self.ledger: Ledger
        self.tokens: Tokens
        self.bans: Bans
        self.ban_store: BanStore
        self.directory: Directory
        self.filtering: Filtering
        self.scoring: ScoringParts
        self.remembering: Remembering
        self.reception: Reception
        self.trials: Trials
        self.listeners: Listeners

    async def open(self, stream: EventStream, span: Span, snowflakes: Snowflakes) -> None:
        """Bring the parts up; nothing listens yet.  Raises OSError."""
        loaded = self._loaded
        self.filtering = open_filtering(loaded)
        self.scoring = ScoringParts(loaded, stream.clock, span)
        await self.scoring.open(lambda: self._resolver)
        key = await asyncio.to_thread(load_key, loaded.data / "token.key")
        self.tokens = Tokens(key, stream.clock)
        self.bans = Bans(loaded.config.section(BanOptions))
        self.ban_store = BanStore(self.bans, loaded.data / BANS, span)
        await self.ban_store.open(stream.clock())
        self.remembering = Remembering(loaded, self.bans, lambda: self.reception.policy, lambda: self._resolver, span)
        await self.remembering.open()
        self.scoring.assessor.sources += [
            self.remembering.lists,
            self.remembering.reputations,
            self.remembering.strangers,
            self.remembering.replies,
            ScannerTags(self.filtering),
        ]
        self.scoring.assessor.account_of = self._book.account_of
        accounts = loaded.config.records(AccountOptions)
        self.principals.reserved = reserved_by(accounts, loaded.router.routes)
        self.ledger = Ledger(self._opened.database, stream.clock)
        self.directory = Directory(
            accounts,
            stream.clock,
            [self.principals, self.sending],
            rehash=self.principals.replace_password,
            decoys=hmac.digest(key, b"relayd decoys 1", "sha256"),
        )
        self.principals.on_change.append(self.directory.changed)
        parts = Parts(
            queue=self._opened.queue,
            blobs=self._opened.blobs,
            space=self._opened.space,
            admission=self._delivering.scheduler,
            prober=self._delivering.prober,
            directory=self.directory,
            resolver=self._resolver,
            clock=stream.clock,
            snowflakes=snowflakes,
            signing=self._signing,
            filtering=self.filtering,
            scoring=self.scoring.scoring,
            strangers=self.remembering.strangers,
            suppressions=self._delivering.suppressions,
            book=self._book,
            principals=self.principals,
            ledger=self.ledger,
            sending=self.sending,
            sign_ins=SignIns(
                self.directory,
                stream.clock,
                tokens=self.tokens,
                bans=self.bans,
                has_scram=lambda: self.principals.has_scram,
            ),
        )
        self.reception = Reception(loaded.policy, parts)
        self.trials = Trials(parts, lambda: self.reception.policy)
        machinery = Machinery(reception=self.reception, stream=stream, snowflakes=snowflakes)
        self.listeners = Listeners(loaded.listeners, machinery)

    async def reload_listeners(self, loaded: Loaded) -> None:
        """Take other listeners, before all else of a reload: what they need may not be there.  Raises OptionError."""
        await self.listeners.reload(loaded.listeners)

    def reload(self, loaded: Loaded, resolver: LiveResolver) -> None:
        """Take another configuration; sessions under way end as they began."""
        self._loaded = loaded
        accounts = loaded.config.records(AccountOptions)
        self.principals.reserved = reserved_by(accounts, loaded.router.routes)
        self.principals.changed()
        self.directory.reconfigure(accounts)
        reload_filtering(self.filtering, loaded)
        self._resolver = resolver
        self.scoring.reload(loaded)
        self.remembering.reload(loaded)
        self.bans.reconfigure(loaded.config.section(BanOptions))
        self.reception.reconfigure(loaded.policy, resolver)

    def reload_certificates(self) -> None:
        """Read the certificates' files again, for new connections."""
        self.listeners.certificates.replace(self._loaded.listeners.certificates)

    def reload_lists(self) -> None:
        """Read the files of known recipients again, each when it is next asked."""
        self.reception.reconfigure(Policy(self.reception.policy.options))

    async def close(self) -> None:
        """Close what is open, once the listeners are drained."""
        await self.reception.close()
        await self.filtering.scanners.close()
        await self.scoring.close()
        self.directory.close()
        await self.ban_store.close()
        await self.remembering.close()
