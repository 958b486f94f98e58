"""Reverse DNS of the client (RFC 8601 §2.7.3, "iprev") and what its EHLO name leads to.

Nothing raises for what the DNS or the peer says.
"""

from __future__ import annotations

import ipaddress

from relayd.mail.address import literal_address
from relayd.mailauth.findings import EhloFinding, IprevFinding, Result, plain_domain
from relayd.mailauth.spf_macro import shown
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_NAMES = 10
"""Names of one address that are looked up; as many as SPF's "ptr" (RFC 7208 §4.6.4)."""


async def check_iprev(resolver: Resolver, address: Address) -> IprevFinding:
    """pass: a name of the address leads back to it; fail: none does; permerror: it has no name; temperror: the DNS
    could not say.
    """
    text = str(address)
    steps: list[str] = []
    try:
        names = (await resolver.ptr(text)).records
    except (NoName, NoData) as error:
        return IprevFinding(
            result=Result.PERMERROR, address=text, problem="the address has no name", steps=(str(error),)
        )
    except ResolveError as error:
        return IprevFinding(result=Result.TEMPERROR, address=text, problem=str(error), steps=(str(error),))
    confirmed = []
    failure = ""
    for name in names[:MAX_NAMES]:
        try:
            leads_back = await _leads_to(resolver, name, address, steps)
        except ResolveError as error:
            failure = str(error)
            steps.append(failure)
            continue
        if leads_back:
            confirmed.append(name)
    if confirmed:
        result, problem = Result.PASS, ""
    elif failure:
        result, problem = Result.TEMPERROR, failure
    else:
        result, problem = Result.FAIL, "no name of the address leads back to it"
    return IprevFinding(
        result=result,
        address=text,
        names=names[:MAX_NAMES],
        confirmed=tuple(confirmed),
        problem=problem,
        steps=tuple(steps),
    )


async def check_ehlo_name(resolver: Resolver, helo: str, address: Address) -> EhloFinding:
    """pass: the name, or the literal, is the client's; fail: it is another's or nobody's; neutral: it has one label, so
    the DNS cannot say; temperror: the DNS did not.
    """
    if helo[:1] == "[":
        return _literal(helo, address)
    domain = plain_domain(helo)
    if "." not in domain:
        return EhloFinding(result=Result.NEUTRAL, domain=domain, problem="the name is not fully qualified")
    steps: list[str] = []
    try:
        is_own = await _leads_to(resolver, domain, address, steps)
    except ResolveError as error:
        steps.append(str(error))
        return EhloFinding(result=Result.TEMPERROR, domain=domain, problem=str(error), steps=tuple(steps))
    return EhloFinding(
        result=Result.PASS if is_own else Result.FAIL,
        domain=domain,
        problem="" if is_own else f"{shown(domain)} does not lead to {address}",
        steps=tuple(steps),
    )


def _literal(helo: str, address: Address) -> EhloFinding:
    given = literal_address(helo)
    if given is None:
        return EhloFinding(result=Result.FAIL, domain=helo, problem="the address literal is not valid")
    if given == address:
        return EhloFinding(result=Result.PASS, domain=helo)
    return EhloFinding(result=Result.FAIL, domain=helo, problem=f"the client's address is {address}")


async def _leads_to(resolver: Resolver, name: str, address: Address, steps: list[str]) -> bool:
    """Whether the name has the address; raises ResolveError when the DNS could not say."""
    try:
        found = (await resolver.addresses(name, address.version)).records
    except (NoName, NoData) as error:
        steps.append(str(error))
        return False
    steps.append(f"{shown(name)}: {', '.join(found)}")
    return any(ipaddress.ip_address(text) == address for text in found)
