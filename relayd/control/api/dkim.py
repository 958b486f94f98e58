"""Signing keys: operation 7, `GET /api/dkim/{id}`, and of our own `GET /api/dkim`.

A new key is written to the settings and signs from the next reload on.  One that `replaces` another takes over how that
one signs, and from that reload on waits until the DNS shows it.  No private key ever leaves: not in an answer, not in
an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.api.settings import (
    UNAVAILABLE,
    AssertFailed,
    Insert,
    OwnerOfSettings,
    SettingsRefused,
    SettingsUnavailable,
)
from relayd.control.queries import FLAG, TEXT, parameter
from relayd.control.routes import Call, Route
from relayd.events import manage
from relayd.mailauth.dkim_sign import SignatureRule
from relayd.mailauth.findings import plain_domain
from relayd.mailauth.signing_key import (
    KeyType,
    SigningKey,
    default_id,
    default_selector,
    generate_key,
    record_name,
)
from relayd.reception.keyring import Keyring
from relayd.telemetry.render import rfc3339

AREA = "domains"
HEADERS = ("From", "To", "Date", "Subject", "Message-ID")
_GENERATED_AT_ONCE = 2
_OWN = ("private-key", "domain", "selector", "algorithm", "replaces", "published")
"""What a signature that replaces another does not take over."""


class SignaturesSide(Protocol):
    """What the daemon knows of its signatures."""

    async def configured(self) -> Keyring:
        """What file and database say now; what is in force when that is wrong."""

    @property
    def in_force(self) -> Keyring:
        """What signs now."""

    async def unpublished(self, rule: SignatureRule, key: SigningKey) -> str:
        """Why the DNS does not show the key of a signature; "" when it does."""


class NoSignatures:
    """Where there are none."""

    in_force = Keyring({}, 0.0, lambda: 0.0)

    async def configured(self) -> Keyring:
        """None."""
        return self.in_force

    async def unpublished(self, rule: SignatureRule, key: SigningKey) -> str:
        """Of none."""
        return "there is no resolver"


class NewSignature(msgspec.Struct):
    """What to create.  id, selector: null for the usual ones.  replaces: the id of the signature it takes over."""

    algorithm: Literal["Ed25519", "Rsa"]
    domain: str
    id: str | None = None
    selector: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturesQuery:
    """Which signatures."""

    domain: str | None = parameter(TEXT, "Only those of this domain.")
    check: bool = parameter(FLAG, "Ask the DNS whether it shows their keys.")


class SignatureShown(TypedDict):
    """A signature.

    state: "active", "waiting" (for the DNS), "retired", "obsolete" (retired, and its record is wanted no more), "new"
    (awaits a reload) or "unreadable".

    keepUntil: until when the record of a retired one must stay.  problem: why it cannot be used.  published: what was
    found in the DNS, "" when all is well; null when it was not asked.
    """

    id: str
    domain: str
    selector: str
    algorithm: str
    state: str
    replaces: str
    keepUntil: str | None
    name: str
    content: str
    problem: str
    published: str | None


class DkimOperations:
    """The handlers.  clock: Unix time."""

    def __init__(self, signatures: SignaturesSide, settings: OwnerOfSettings, clock: Callable[[], float]) -> None:
        self._signatures = signatures
        self._settings = settings
        self._clock = clock
        self._generating = asyncio.Semaphore(_GENERATED_AT_ONCE)

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="POST",
            path="/dkim",
            permission="dkim-signature-create",
            handler=self.create,
            summary="Create a signing key; it signs from the next reload on",
            area=AREA,
            body=NewSignature,
            operation=7,
            explains=True,
        )
        yield Route(
            method="GET",
            path="/dkim/{id}",
            permission="dkim-signature-get",
            handler=self.public_key,
            summary="Public key of a signature, as p= has it",
            area=AREA,
            answer=str,
        )
        yield Route(
            method="GET",
            path="/dkim",
            permission="dkim-signature-get",
            handler=self.list,
            summary="The signatures, what they wait for, and their DNS records",
            area=AREA,
            query=SignaturesQuery,
            answer=list[SignatureShown],
        )

    async def create(self, call: Call) -> None:
        """Generate a key and write it to the settings."""
        asked: NewSignature = call.body
        type: KeyType = "rsa" if asked.algorithm == "Rsa" else "ed25519"
        id = asked.id or default_id(type, asked.domain)
        selector = asked.selector or default_selector(type, self._clock())
        async with self._generating:
            pem = await asyncio.to_thread(generate_key, type)
        values = [
            ("private-key", pem),
            ("domain", asked.domain),
            ("selector", selector),
            ("algorithm", f"{type}-sha256"),
        ]
        if asked.replaces is None:
            values += [("canonicalization", "relaxed/relaxed"), ("report", "false")]
            values += [(f"headers.{number:04d}", name) for number, name in enumerate(HEADERS)]
        else:
            values += [*await self._taken_over(asked), ("replaces", asked.replaces)]
        try:
            await self._settings.change([Insert(values=values, assert_empty=True, prefix=f"signature.{id}")])
        except AssertFailed:
            raise Failure("fieldAlreadyExists", field=f"signature.{id}.private-key", value=id) from None
        except SettingsRefused as error:
            raise other("The settings were refused; nothing was stored", str(error)) from None
        except SettingsUnavailable as error:
            manage.ERROR(call.span, details="the settings cannot be written", reason=str(error))
            raise Problem(*UNAVAILABLE) from None
        manage.ACTION(call.span, account_name=call.caller.name, type_="dkim-create", details=id, total=1, reason="")

    async def _taken_over(self, asked: NewSignature) -> list[tuple[str, str]]:
        """How the signature signs that is replaced."""
        keyring = await self._signatures.configured()
        if asked.replaces not in keyring.ids or keyring.rule(asked.replaces).domain != plain_domain(asked.domain):
            raise Failure("notFound", item=asked.replaces)
        prefix = f"signature.{asked.replaces}."
        found = []
        for key, setting in (await self._settings.listed(defaults=False)).items():
            name = key.removeprefix(prefix)
            is_its = key.startswith(prefix) and not _is_of_other(key, asked.replaces, keyring)
            if is_its and name not in _OWN:
                found.append((name, setting.value))
        return found

    async def public_key(self, call: Call) -> str:
        """The public key alone."""
        keyring = await self._signatures.configured()
        id = call.path["id"]
        key = keyring.known(id) if id in keyring.ids else None
        if key is None:
            raise Problem(*NOT_FOUND)
        return key.public_value()

    async def list(self, call: Call) -> Sequence[SignatureShown]:
        """All, or those of a domain, by id."""
        keyring, in_force = await self._signatures.configured(), self._signatures.in_force
        wanted = None if call.query.domain is None else plain_domain(call.query.domain)
        return [
            await self._shown(keyring, in_force, id, call.query.check)
            for id in sorted(keyring.ids)
            if wanted is None or keyring.rule(id).domain == wanted
        ]

    async def _shown(self, keyring: Keyring, in_force: Keyring, id: str, check: bool) -> SignatureShown:
        rule, key = keyring.rule(id), keyring.known(id)
        until = in_force.wanted_until(id) or keyring.wanted_until(id)
        state = _state(keyring, in_force, id)
        if state == "retired" and until is not None and until < self._clock():
            state = "obsolete"
        published = None
        if check and key is not None and state != "obsolete":
            published = await self._signatures.unpublished(rule, key)
        return SignatureShown(
            id=id,
            domain=rule.domain,
            selector=rule.selector,
            algorithm=key.algorithm if key is not None else "",
            state=state,
            replaces=keyring.replaced(id),
            keepUntil=None if until is None else rfc3339(until),
            name=record_name(rule.selector, rule.domain),
            content=key.record() if key is not None else "",
            problem=keyring.problems.get(id, ""),
            published=published,
        )


def _state(keyring: Keyring, in_force: Keyring, id: str) -> str:
    if keyring.known(id) is None:
        return "unreadable"
    if id not in in_force.ids or in_force.rule(id) != keyring.rule(id):
        return "new"
    if id in in_force.waiting:
        return "waiting"
    return "retired" if id in in_force.retired else "active"


def _is_of_other(key: str, id: str, keyring: Keyring) -> bool:
    """Whether a key below an id belongs to a longer one that begins with it: ids may hold dots."""
    return any(len(each) > len(id) and key.startswith(f"signature.{each}.") for each in keyring.ids)
