"""SPF (RFC 7208): may this client use that domain?

`check_host` is the function of §4; `check_ehlo` and `check_mail_from` ask it about the two identities of a session.
Nothing raises for what the DNS or the peer says.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

import msgspec

from relayd.mail.address import split_address, unquote_local
from relayd.mailauth.findings import Result, SpfFinding, plain_domain
from relayd.mailauth.spf_macro import MacroString, SpfSyntaxError, domain_of, read_explanation, shown
from relayd.mailauth.spf_record import Directive, Record, read_record, select_records
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver, Temporary

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Scope = Literal["helo", "mfrom"]

MAX_LOOKUPS = 10
"""Terms of a whole check that ask the DNS (§4.6.4)."""
MAX_VOIDS = 2
"""Terms of a whole check to which the DNS may have no answer (§4.6.4)."""
MAX_HOSTS = 10
"""Names behind one "mx" or "ptr" that are asked for their addresses (§4.6.4)."""
_MAX_STEPS = 200
_SHOWN = 600
_MAX_EXPLANATION = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfClient:
    """Who connects.  helo: as it was given.  receiver: our own name, now: Unix seconds, both for explanations only."""

    address: Address
    helo: str
    receiver: str = "unknown"
    now: float = 0.0


class SpfResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `check_host` found; the fields as in SpfFinding."""

    result: Result
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""
    lookups: int = 0
    voids: int = 0
    steps: tuple[str, ...] = ()


async def check_ehlo(resolver: Resolver, client: SpfClient, *, explain: bool = False) -> SpfFinding:
    """SPF of the name given in EHLO (§2.3); none for a literal or a name of one label."""
    domain = plain_domain(client.helo)
    return await _check("helo", resolver, client, f"postmaster@{domain}", explain)


async def check_mail_from(resolver: Resolver, client: SpfClient, sender: str, *, explain: bool = False) -> SpfFinding:
    """SPF of the return path (§2.4); of "" it is postmaster at the name given in EHLO."""
    if not sender:
        sender = f"postmaster@{plain_domain(client.helo)}"
    local, domain = split_address(sender)
    return await _check("mfrom", resolver, client, f"{local}@{plain_domain(domain)}", explain)


async def _check(scope: _Scope, resolver: Resolver, client: SpfClient, sender: str, explain: bool) -> SpfFinding:
    domain = split_address(sender)[1]
    found = await check_host(resolver, client, domain, sender, explain=explain)
    return SpfFinding(
        scope=scope,
        result=found.result,
        domain=domain,
        sender=sender,
        mechanism=found.mechanism,
        explanation=found.explanation,
        problem=found.problem,
        lookups=found.lookups,
        voids=found.voids,
        steps=found.steps,
    )


async def check_host(
    resolver: Resolver, client: SpfClient, domain: str, sender: str, *, explain: bool = True
) -> SpfResult:
    """RFC 7208 §4: what `domain` says of the client, for the identity `sender` ("local@domain" or a domain).

    domain: A-labels.  explain: ask for the domain's explanation of a fail, which is "" where it has none of its own.
    """
    check = _Check(resolver, client, sender)
    try:
        found = await check.evaluate(domain)
        explanation = ""
        if explain and found.result is Result.FAIL and found.explanation is not None:
            explanation = await check.explain(found.explanation, found.domain)
    except _End as end:
        found = _Match(end.result, domain=domain, problem=end.problem)
        explanation = ""
    return SpfResult(
        result=found.result,
        mechanism=shown(found.mechanism, _SHOWN),
        explanation=explanation,
        problem=shown(found.problem, _SHOWN),
        lookups=check.lookups,
        voids=check.voids,
        steps=tuple(check.steps),
    )


class _End(Exception):
    """The whole check ends in an error."""

    def __init__(self, result: Result, problem: str) -> None:
        super().__init__(problem)
        self.result = result
        self.problem = problem


class _NeverMatches(Exception):
    """The term names what cannot be in the DNS: it matches nothing (RFC 8616 §4)."""


@dataclass(frozen=True, slots=True)
class _Match:
    """How one record ended.  domain, explanation: for the text of a fail."""

    result: Result
    domain: str
    mechanism: str = ""
    explanation: MacroString | None = None
    problem: str = ""


class _Check:
    """One run of check_host with what it counts over all records (§4.6.4)."""

    def __init__(self, resolver: Resolver, client: SpfClient, sender: str) -> None:
        address = client.address
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        self._resolver = resolver
        self._address = address
        self._number = int(address)
        self._client = client
        local, domain = split_address(sender) if "@" in sender else ("", sender)
        self._local = unquote_local(local) or "postmaster"
        self._sender_domain = domain
        self._validated: list[str] | None = None
        self.lookups = 0
        self.voids = 0
        self.steps: list[str] = []

    async def evaluate(self, domain: str) -> _Match:
        """Find and follow the record of `domain` (§4.3 to §4.7)."""
        record = await self._record_of(domain)
        if isinstance(record, _Match):
            return record
        for directive in record.directives:
            if await self._matches(directive, domain):
                self._step(f"{domain}: {directive.text} matches, {directive.qualifier}")
                return _Match(directive.qualifier, domain, directive.text, record.explanation)
            if directive.network is None:  # those are many, and the record's text shows them
                self._step(f"{domain}: {directive.text} does not match")
        if record.redirect is None:
            self._step(f"{domain}: nothing matches, neutral")
            return _Match(Result.NEUTRAL, domain)
        return await self._redirected(domain, record.redirect)

    async def _redirected(self, domain: str, redirect: MacroString) -> _Match:
        self._count(f"redirect={redirect.text}")
        try:
            target = await self._target(redirect, domain)
        except _NeverMatches:
            target = ""
        self._step(f"{domain}: redirect={redirect.text} leads to {target}")
        found = await self.evaluate(target)
        if found.result is Result.NONE:
            raise _End(Result.PERMERROR, f"redirect={shown(redirect.text)}: {found.problem}")
        return found

    async def _record_of(self, domain: str) -> Record | _Match:
        """The record; a _Match when there is none to follow."""
        problem = _flaw(domain)
        if problem:
            self._step(problem)
            return _Match(Result.NONE, domain, problem=problem)
        try:
            texts = select_records((await self._resolver.txt(domain)).records)
        except (NoName, NoData) as error:
            texts = []
            problem = str(error)
        except ResolveError as error:
            raise self._failed(error) from None
        if not texts:
            problem = problem or f"{shown(domain)} has no SPF record"
            self._step(problem)
            return _Match(Result.NONE, domain, problem=problem)
        self._step(f"{domain}: {texts[0].decode('latin-1')}")
        if len(texts) > 1:
            raise _End(Result.PERMERROR, f"{domain} has {len(texts)} SPF records")
        try:
            return read_record(texts[0])
        except SpfSyntaxError as error:
            raise _End(Result.PERMERROR, f"{domain}: {error}") from None

    async def _matches(self, directive: Directive, domain: str) -> bool:
        mechanism = directive.mechanism
        if mechanism == "all":
            return True
        if directive.network is not None:
            return directive.network.holds(self._address.version, self._number)
        self._count(directive.text)
        try:
            target = await self._target(directive.domain, domain)
            if mechanism == "include":
                return await self._included(target)
            if mechanism == "a":
                return await self._is_address_of(directive, target)
            if mechanism == "mx":
                return await self._is_mail_host_of(directive, target)
            if mechanism == "exists":
                await self._resolver.addresses(target, 4)
                return True
            return await self._is_named_in(target)
        except (NoName, NoData):
            self._void(directive.text)
            return False
        except ResolveError as error:
            raise self._failed(error) from None
        except _NeverMatches:
            self._step(f"{domain}: {directive.text}: no domain name can hold that local part")
            return False

    async def _included(self, target: str) -> bool:
        """§5.2."""
        found = await self.evaluate(target)
        if found.result is Result.NONE:
            raise _End(Result.PERMERROR, f"include:{shown(target)}: {found.problem}")
        return found.result is Result.PASS

    async def _is_address_of(self, directive: Directive, name: str) -> bool:
        """§5.3."""
        answer = await self._resolver.addresses(name, self._address.version)
        return any(self._is_in(text, directive) for text in answer.records)

    async def _is_mail_host_of(self, directive: Directive, name: str) -> bool:
        """§5.4."""
        answer = await self._resolver.mx(name)
        hosts = [mx.exchange for mx in answer.records if mx.exchange]
        for host in hosts[:MAX_HOSTS]:
            try:
                if await self._is_address_of(directive, host):
                    return True
            except (NoName, NoData):
                continue
        if len(hosts) > MAX_HOSTS:
            raise _End(Result.PERMERROR, f"{shown(name)} has {len(hosts)} MX records, more than {MAX_HOSTS}")
        return False

    async def _is_named_in(self, name: str) -> bool:
        """§5.5."""
        try:
            names = await self._names()
        except Temporary:
            return False
        name = name.lower()
        return any(each == name or each.endswith("." + name) for each in names)

    async def _names(self) -> list[str]:
        """The client's validated names (§5.5), asked for once; NoName, NoData, Temporary."""
        if self._validated is None:
            names = (await self._resolver.ptr(str(self._address))).records
            self._validated = [name for name in names[:MAX_HOSTS] if await self._leads_back(name)]
        return self._validated

    async def _leads_back(self, name: str) -> bool:
        try:
            found = (await self._resolver.addresses(name, self._address.version)).records
        except ResolveError:
            return False
        return any(int(ipaddress.ip_address(text)) == self._number for text in found)

    def _is_in(self, text: str, directive: Directive) -> bool:
        shift = 32 - directive.four if self._address.version == 4 else 128 - directive.six
        return int(ipaddress.ip_address(text)) >> shift == self._number >> shift

    async def _target(self, spec: MacroString | None, domain: str) -> str:
        """The domain that a term is about; _NeverMatches."""
        if spec is None:
            return domain
        if not spec.letters:
            return domain_of(spec.expand({}))
        if not self._local.isascii() and spec.letters & {"l", "s"}:
            raise _NeverMatches
        if "p" in spec.letters and self._validated is None:
            self._count("%{p}")
        return domain_of(spec.expand(await self._values(domain, spec)))

    async def _values(self, domain: str, wanted: MacroString) -> dict[str, str]:
        """What the macros of `wanted` stand for (§7.2)."""
        address = self._address
        if address.version == 4:
            text, kind = str(address), "in-addr"
        else:
            text, kind = ".".join(f"{self._number:032X}"), "ip6"
        values = {
            "s": f"{self._local}@{self._sender_domain}",
            "l": self._local,
            "o": self._sender_domain,
            "d": domain,
            "i": text,
            "v": kind,
            "h": self._client.helo,
        }
        if wanted.letters.isdisjoint("pcrt"):
            return values
        values.update(c=str(address), r=self._client.receiver, t=str(int(self._client.now)))
        if "p" in wanted.letters:
            values["p"] = await self._best_name(domain)
        return values

    async def _best_name(self, domain: str) -> str:
        """%{p} (§7.3): the domain itself, else a name below it, else any validated name, else "unknown"."""
        try:
            names = await self._names()
        except ResolveError:
            self._validated = names = []
        domain = domain.lower()
        return next(
            (name for name in names if name == domain),
            next((name for name in names if name.endswith("." + domain)), names[0] if names else "unknown"),
        )

    async def explain(self, spec: MacroString, domain: str) -> str:
        """The domain's words for a fail (§6.2); "" where there are none that can be read.  Counts towards no limit."""
        if not self._local.isascii() and spec.letters & {"l", "s"}:
            return ""
        try:
            name = domain_of(spec.expand(await self._values(domain, spec)))
            texts = (await self._resolver.txt(name)).records
            if len(texts) != 1:
                return ""
            text = read_explanation(texts[0].decode("ascii"))
        except (ResolveError, SpfSyntaxError, UnicodeDecodeError) as error:
            self._step(f"no explanation: {error}")
            return ""
        words = text.expand(await self._values(domain, text))
        return "".join(each if each.isprintable() else "?" for each in words[:_MAX_EXPLANATION])

    def _count(self, what: str) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _End(Result.PERMERROR, f"{shown(what)}: more than {MAX_LOOKUPS} terms that ask the DNS")

    def _void(self, what: str) -> None:
        self.voids += 1
        if self.voids > MAX_VOIDS:
            raise _End(Result.PERMERROR, f"{shown(what)}: more than {MAX_VOIDS} terms without an answer in the DNS")

    def _failed(self, error: ResolveError) -> _End:
        return _End(Result.TEMPERROR, str(error))

    def _step(self, text: str) -> None:
        if len(self.steps) < _MAX_STEPS:
            self.steps.append(shown(text, _SHOWN))


def _flaw(domain: str) -> str:
    """Why `domain` cannot be asked for (§4.3); "" when it can."""
    if domain[:1] == "[" or not domain.isascii() or "." not in domain.rstrip("."):
        return f'"{shown(domain)}" is no fully qualified domain name'
    labels = domain.removesuffix(".").split(".")
    if len(domain) > 254 or any(not label or len(label) > 63 for label in labels):
        return f'"{shown(domain)}" is no domain name'
    return ""
