"""The public suites' command lines and addresses, said to a live listener."""

from __future__ import annotations

import json

from tests.rig.listener import Live, live
from tests.rig.peers import require_suite
from tests.rig.reception_stub import StubReception

OF_RELAYD = {  # suites.md: what relayd answers where the suite's server offers more
    "ETRN": "502",
    "ATRN": "502",
    "BURL": "502",
}


async def answer(server: Live, line: str) -> str:
    """The reply to one line in a session where it may be said; 421 and 503 of pipelining cannot happen."""
    client = await server.dial()
    await client.greet()
    if line[:4].upper() == "RCPT":
        await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")
    client.send(line.encode() + b"\r\n")
    reply = await client.reply()
    await client.close()
    return reply


async def test_refused_command_lines_are_refused() -> None:
    cases = json.loads((require_suite("smtp") / "commands.json").read_text())
    wrong = []
    async with live(StubReception(trusted=True)) as server:
        for case in cases:
            line = case["line"]
            verb = line.split(" ")[0].upper()
            if "\r" in line or "\n" in line or verb in ("DATA", "BDAT", "QUIT", "STARTTLS"):
                continue
            reply = await answer(server, line)
            if verb in OF_RELAYD:
                assert reply[:3] == OF_RELAYD[verb], (line, reply)
            elif verb == "LHLO":
                assert reply[:3] == "500", (line, reply)
            elif verb == "AUTH":
                assert reply[:3] in ("504", "501"), (line, reply)
            elif not case["ok"] and reply[:1] == "2":
                wrong.append((line, reply))
    assert wrong == []


async def test_addresses_in_error_are_refused() -> None:
    cases = json.loads((require_suite("smtp") / "addresses.json").read_text())
    wrong = []
    async with live(StubReception(trusted=True)) as server:
        for case in cases:
            address = "".join(chr(ord(c) - 0x2400) if 0x2400 <= ord(c) < 0x2421 else c for c in case["address"])
            if "\r" in address or "\n" in address or case["category"] != "ISEMAIL_ERR":
                continue
            if case["diagnosis"] == "ISEMAIL_ERR_NODOMAIN":
                continue  # trusted sessions may give bare names; strangers: dialogues/mail_grammar.txt
            reply = await answer(server, f"RCPT TO:<{address}>")
            if reply[:1] != "5":
                wrong.append((address, case["diagnosis"], reply))
    assert wrong == []
