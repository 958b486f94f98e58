"""What `relayd explain --to A --connect` prints: each stage of a rehearsed delivery as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from relayd.cli.show import printable

Stage = Mapping[str, Any]

_WIDTH = 26

_STARTS = {
    "mxLookupStart": "MX of {domain}",
    "mtaStsFetchStart": "MTA-STS policy",
    "tlsRptLookupStart": "TLS reporting",
    "tlsaLookupStart": "TLSA records",
    "ipLookupStart": "addresses",
    "connectionStart": "connect to {remote_ip}",
    "readGreetingStart": "greeting",
    "ehloStart": "EHLO",
    "startTlsStart": "STARTTLS",
    "mailFromStart": "MAIL FROM:<>",
    "rcptToStart": "RCPT TO",
    "quitStart": "QUIT",
}
"""What each step is called, said before it is known how it ends."""

_ALONE = {
    "mtaStsVerifySuccess": ("MTA-STS", "the policy names the host"),
    "mtaStsVerifyError": ("MTA-STS", ""),
    "daneVerifySuccess": ("DANE", "a TLSA record fits the certificate"),
    "daneVerifyError": ("DANE", ""),
}
"""Stages that nothing announces."""


def print_stages(stages: Iterable[Stage]) -> bool:
    """Print them while they come; whether a host would take the mail."""
    taken = quit = False
    for stage in stages:
        type = stage["type"]
        if type in _STARTS:
            _begin(_STARTS[type].format(**stage))
        elif type == "deliveryAttemptStart":
            _line(f"{stage['hostname']}")
        elif type in _ALONE:
            name, text = _ALONE[type]
            _begin(name)
            _end(text or f"FAILED: {stage['reason']}", stage)
        elif type == "completed":
            break
        else:
            _end(_outcome(type, stage), stage)
        quit = quit or type == "quitCompleted"
        taken = (taken or type == "rcptToSuccess") and type not in ("rcptToError", "mailFromError")
    click.echo()
    _line("It would be taken; nothing was sent." if taken else _not_taken(quit))
    return taken


def _not_taken(quit: bool) -> str:
    return "The recipient would not be taken now." if quit else "No host could be asked about the recipient."


def _outcome(type: str, stage: Stage) -> str:
    """How a step ended."""
    if type.endswith("Error"):
        return f"FAILED: {stage['reason']}"
    if type == "mxLookupSuccess":
        hosts = [f"{host} ({each['preference']})" for each in stage["mxs"] for host in each["exchanges"]]
        return ", ".join(hosts) or "none: the domain itself is tried"
    if type == "mtaStsFetchSuccess":
        policy = stage["policy"]
        names = [each["equals"] if "equals" in each else f"*.{each['startsWith']}" for each in policy["mx"]]
        return f"{policy['mode']}: {', '.join(names)} (id {policy['id']})"
    if type == "tlsRptLookupSuccess":
        return ", ".join(each.get("email") or each.get("url") for each in stage["rua"])
    if type == "tlsaLookupSuccess":
        return f"{len(stage['record']['entries'])} usable"
    if type == "ipLookupSuccess":
        return " ".join(stage["remote_ips"])
    if type.endswith("NotFound"):
        return f"none{': ' + stage['reason'] if stage.get('reason') else ''}"
    return "ok"


def _begin(text: str) -> None:
    click.echo(f"  {printable(text):<{_WIDTH}} ", nl=False)


def _end(text: str, stage: Stage) -> None:
    elapsed = f" ({stage['elapsed']} ms)" if "elapsed" in stage else ""
    click.echo(printable(text + elapsed))


def _line(text: str) -> None:
    click.echo(printable(text))
