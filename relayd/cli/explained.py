"""What `relayd explain` prints for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from relayd.cli.show import print_table, printable

Value = Mapping[str, Any]

_QUALIFIED = {"stranger": "a stranger", "trusted": "trusted here", "trusted-relay": "a relay of ours"}


def print_inbound(found: Value) -> None:
    """An Examination of the control API."""
    client = found["client"] or "a client that is not known"
    who = f"{client} ({found['helo']})" if found["helo"] else client
    _say(f"Mail from <{found['return_path']}> by {who}, {_QUALIFIED[found['session']]}")
    if where := _origin(found["origin"]):
        _say(f"  from: {where}")
    for note in found["notes"]:
        _say(f"  note: {note}")
    _verdict(found["verdict"])
    findings = found["findings"]
    print_table(["check", "result", "of", "why"], _rows(findings))
    for title, steps in _steps(findings):
        _section(title, steps)
    _questions(found["questions"])
    click.echo()
    for line in found["authentication_results"].splitlines():
        _say(line.expandtabs(2))


def _origin(origin: Value) -> str:
    """Where the client is, "" when that is not known."""
    system = f"AS{origin['asn']}" if origin["asn"] else ""
    known = origin["country"], system
    return ", ".join(filter(None, (*known, origin["holder"], origin["network"]))) if any(known) else ""


def _verdict(verdict: Value) -> None:
    reply = verdict["reply"]
    text = "" if reply is None else f": {reply['code']} {reply['enhanced']} {reply['text']}"
    words = {"tag": "taken, tagged as suspicious" if verdict["is_suspicious"] else "taken"}
    _say(f"Verdict: {words.get(verdict['action'], verdict['action'])}{text}")
    for reason in verdict["reasons"]:
        _say(f"  because {reason}")
    if verdict["override"]:
        _say(f"  the policy is not applied: {verdict['override']}")
    click.echo()


_CHECKS = (
    ("SPF, EHLO name", "spf_ehlo", "domain"),
    ("SPF, return path", "spf_mail_from", "sender"),
    ("reverse DNS", "iprev", "address"),
    ("EHLO name", "ehlo", "domain"),
)


def _rows(findings: Value) -> Iterable[Sequence[str]]:
    for title, name, of in _CHECKS:
        finding = findings[name]
        if finding is None:
            yield title, _absent(name), "", ""
        else:
            yield title, finding["result"], finding[of], _why(finding)
    signatures = findings["dkim"]
    if not signatures:
        yield "DKIM", "disabled" if signatures is None else "none", "", "" if signatures is None else "not signed"
    for each in signatures or ():
        key = f"{each['bits']}-bit key" if each["bits"] else ""
        yield "DKIM", each["result"], f"{each['domain']} ({each['selector']})", each["problem"] or key
    arc = findings["arc"]
    if arc is None:
        yield "ARC", "disabled", "", ""
    else:
        sealers = ", ".join(each["domain"] for each in arc["sets"])
        yield "ARC", arc["result"], sealers, arc["problem"] or ("" if arc["sets"] else "no chain")
    dmarc = findings["dmarc"]
    if dmarc is None:
        yield "DMARC", "disabled", "", ""
    else:
        yield "DMARC", dmarc["result"], dmarc["domain"], _of_dmarc(dmarc)


def _absent(name: str) -> str:
    """Why a check was not made: the EHLO name is looked at with the reverse DNS."""
    return "not made" if name == "ehlo" else "disabled"


def _why(finding: Value) -> str:
    explanation = finding.get("explanation")
    words = [finding.get("mechanism") or "", f'"{explanation}"' if explanation else "", finding["problem"]]
    words.append(", ".join(finding.get("confirmed") or ()))
    return "; ".join(word for word in words if word)


def _of_dmarc(dmarc: Value) -> str:
    aligned = [
        *filter(None, [dmarc["spf"] and f"SPF of {dmarc['spf']}"]),
        *(f"DKIM of {each}" for each in dmarc["dkim"]),
    ]
    policy = f"policy {dmarc['policy']} of {dmarc['policy_domain']}" if dmarc["policy_domain"] else ""
    return "; ".join(word for word in (", ".join(aligned), dmarc["problem"], policy) if word)


def _steps(findings: Value) -> Iterable[tuple[str, Sequence[str]]]:
    """Each check's steps, those of checks that had any."""
    for title, name, _ in _CHECKS:
        if findings[name] is not None:
            yield title, findings[name]["steps"]
    for each in findings["dkim"] or ():
        yield f"DKIM of {each['domain']} ({each['selector']})", each["steps"]
    for title, name in (("ARC", "arc"), ("DMARC", "dmarc")):
        if findings[name] is not None:
            yield title, findings[name]["steps"]


def print_outbound(found: Value) -> None:
    """What `GET /api/explain/outbound` answers."""
    trial = found["trial"]
    who = f"mail from <{trial['return_path']}> to <{found['recipient']}>"
    _say(f"Accepted from local users: {who}" if trial["accepted"] else f"Refused: {who}: {trial['reply']}")
    for step in trial["steps"]:
        _say(f"  {step}")
    if trial["accepted"] and trial["recipients"] != [found["recipient"]]:
        _say(f"  it is queued for {', '.join(f'<{each}>' for each in trial['recipients'])} instead")
    _signers(trial)
    if trial["held"]:
        _say(f"Held for an operator: {trial['held']}")
    if found["paused"]:
        _say(f"The queue is paused {found['paused']}")
    for road in found["roads"]:
        click.echo()
        _road(road["outlook"], road["standing"])
    if found["unshown"]:
        click.echo(f"\n... and {found['unshown']} recipients more")
    if found["roads"]:
        _retries(found["roads"][0]["outlook"]["retries"])
    _questions([each for road in found["roads"] for each in road["outlook"]["questions"]])


def _signers(trial: Value) -> None:
    """Who signs what a local user sends from there."""
    for each in trial["signers"]:
        name = f"{each['selector']}._domainkey.{each['domain']}"
        problem = f", and waits: {each['problem']}" if each["problem"] else ""
        _say(f"  it is signed by {name} (signature.{each['id']}){problem}")
    if trial["accepted"] and trial["return_path"] and not trial["signers"]:
        _say(f"  it is not signed: no signature is for {trial['return_path'].rpartition('@')[2]}")


def _road(outlook: Value, standing: Value) -> None:
    _say(f"<{outlook['address']}>")
    rows = [("next hop", _next_hop(outlook)), ("because", f"{outlook['setting']}: {outlook['why']}")]
    rows.append(("TLS", ("from the first octet; " if outlook["tls_implicit"] else "") + outlook["tls_policy"]))
    if outlook["sign_in_as"]:
        rows.append(("signs in as", outlook["sign_in_as"]))
    if outlook["leaves_from"]:
        rows.append(("leaves from", outlook["leaves_from"]))
    rows += [("smarthost", each) for each in outlook["smarthosts"]]
    if outlook["waits"]:
        rows.append(("waits", outlook["waits"]))
    limit = f"{outlook['running']} of at most {outlook['limit']} deliveries at once run, {outlook['waiting']} wait"
    rows.append(("now", f"{limit} in memory"))
    rows.append(("queue", f"{standing['queued']} messages, {standing['deferred']} deferred, {standing['held']} held"))
    rows += _limits(outlook["shaping"])
    if standing["suspended"]:
        rows.append(("suspended", standing["suspended"]))
    if outlook["problem"]:
        rows.append((outlook["outcome"], outlook["problem"]))
    for name, text in rows:
        _say(f"  {name:<12} {text}")
    for note in outlook["notes"]:
        _say(f"  {'note':<12} {note}")
    for host in outlook["hosts"]:
        known = (host["tls_known"],) if host["tls_known"] else ()
        _say(f"  {'tls':<12} {host['host']}: {'; '.join((host['tls'], *host['tls_why'], *known))}")
    if outlook["hosts"]:
        print_table(["preference", "host", "addresses", "port"], [_host(each) for each in outlook["hosts"]])


def _limits(shaping: Value) -> Iterable[tuple[str, str]]:
    """What a provider is given, and who says so."""
    if shaping["provider"]:
        kind = "" if shaping["is_named"] else ", the site of its mail hosts"
        yield "provider", f"{shaping['provider']}{kind}"
    for each in shaping["limits"]:
        used = f", {each['used']} used" if each["used"] else ""
        of = f" of {each['subject']}" if each["subject"] else ""
        yield "limit", f"{each['limit']} {each['value']}{of}{used} ({each['rule']})"
    for text in shaping["slowed"]:
        yield "slowed", text
    if shaping["held_by"]:
        yield "waits for", shaping["held_by"]


def _host(host: Value) -> Sequence[str]:
    preference = "" if host["preference"] is None else str(host["preference"])
    return preference, host["host"], " ".join(host["addresses"]), str(host["port"] or "")


def _next_hop(outlook: Value) -> str:
    if outlook["host"].startswith("unix:"):
        place = outlook["host"]
    elif outlook["use_mx"]:
        place = f"the mail hosts of {outlook['host']}, port {outlook['port']}"
    else:
        place = f"{outlook['host']}, port {outlook['port']}"
    route = f"route {outlook['route']}: " if outlook["route"] else ""
    return f"{route}{place}, {outlook['protocol'].upper()}"


def _retries(retries: Value) -> None:
    click.echo()
    notices = " and ".join(retries["notify"]) or "never"
    _say(f"If it fails for now: again after {', '.join(retries['retry'])} (the last repeats);")
    count = len(retries["attempts"])
    _say(f"  its sender is told after {notices}, and it is given up after {retries['expire']}, {count} attempts in all")


def _questions(questions: Sequence[Value]) -> None:
    if not questions:
        return
    click.echo()
    print_table(
        ["asked", "name", "ms", "answer"],
        [[each["type"], each["name"], f"{each['elapsed'] * 1000:.0f}", _answer(each)] for each in questions],
        title="DNS",
    )


def _answer(question: Value) -> str:
    if question["outcome"] != "answer":
        return f"{question['outcome']}: {question['problem']}"
    secure = " (DNSSEC)" if question["secure"] else ""
    return ", ".join(question["records"]) + secure


def _section(title: str, steps: Sequence[str]) -> None:
    if not steps:
        return
    click.echo()
    _say(title)
    for step in steps:
        _say(f"  {step}")


def _say(text: str) -> None:
    """One line, whatever a peer or the DNS put into it."""
    click.echo(printable(text))
