"""What the control socket is given: its settings, and what it is told of the signatures."""

from __future__ import annotations

import asyncio

from relayd.assembly.engine import Engine
from relayd.assembly.loaded import Loaded, keyring_of
from relayd.config.configuration import ConfigError
from relayd.config.settings import Settings as StoredSettings
from relayd.control.api.quarantine import Learn
from relayd.control.api.sending import SendingSide
from relayd.control.api.spam import SpamSide
from relayd.control.app import Setting
from relayd.control.options import HttpOptions
from relayd.database.interface import DatabaseError
from relayd.directory.entry import Entry
from relayd.directory.options import CodeOptions, ExpiryOptions
from relayd.listener import options as listening
from relayd.listener.options import ListenerOptions
from relayd.mailauth.dkim_sign import SignatureRule
from relayd.mailauth.signing_key import SigningKey
from relayd.options import OptionError
from relayd.reception.classification import Classifications, Kind, Nothing
from relayd.reception.examination import Unreadable
from relayd.reception.keyring import Keyring
from relayd.reception.rotation import unpublished
from relayd.scanning.workers import Busy, Overrun


class Signatures:
    """What the control socket is told of the signatures; see `control.api.dkim.SignaturesSide`."""

    def __init__(self, engine: Engine, settings: StoredSettings) -> None:
        self._engine = engine
        self._settings = settings

    @property
    def in_force(self) -> Keyring:
        """What signs now."""
        return self._engine.signing.keyring

    async def configured(self) -> Keyring:
        """What file and database say now; what is in force when that is wrong."""
        try:
            config = await self._settings.load()
            return await asyncio.to_thread(keyring_of, config)
        except (ConfigError, OptionError):
            return self.in_force

    async def unpublished(self, rule: SignatureRule, key: SigningKey) -> str:
        """Why the DNS does not show the key; "" when it does."""
        return await unpublished(self._engine.resolver, rule, key)


def control_setting(loaded: Loaded) -> Setting:
    """What the configuration says about the control socket."""
    config = loaded.config
    return Setting(
        listeners={id: each for id, each in config.records(ListenerOptions).items() if each.protocol == "http"},
        all_listeners=config.records(ListenerOptions),
        certificates=config.records(listening.CertificateOptions),
        hostname=loaded.hostname,
        http=config.section(HttpOptions),
        expiry=config.section(ExpiryOptions),
        codes=config.section(CodeOptions),
    )


def spam_side(engine: Engine) -> SpamSide:
    """What the control socket asks about spam."""
    receiving = engine.receiving
    classifications = Classifications(
        receiving.scoring.assessor, lambda: engine.troubleshooting.examinations, engine.stream.clock, engine.span
    )

    async def has_account(name: str, tenant: str) -> bool:
        account = await receiving.directory.get(name)
        return account is not None and tenant in ("", account.tenant)

    return SpamSide(classifications=classifications, bayes=receiving.scoring.bayes, has_account=has_account)


def learning(side: SpamSide) -> Learn:
    """How mail that operators release, delete or report is learnt, for everybody."""

    async def learn(message: bytes, kind: Kind, automatic: bool) -> bool:
        try:
            return await side.classifications.train(message, kind, automatic=automatic)
        except (Unreadable, Nothing, Overrun, Busy, DatabaseError):
            return False  # stated where it was found out; what the operator asked for is done

    return learn


def sending_side(engine: Engine) -> SendingSide:
    """What the control socket is told of access keys and sending addresses."""
    sending, principals, ledger = engine.sending, engine.principals, engine.receiving.ledger

    async def account(name: str) -> Entry | None:
        return principals.reserved.entries.get(name) or await principals.get(name)

    return SendingSide(
        keys=sending.keys,
        addresses=sending.addresses,
        operations=sending.operations,
        account=account,
        spent=ledger.spent,
    )
