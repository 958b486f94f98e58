"""Transcripts of SMTP dialogues, and how one is played against a live listener.

    # what it shows, in one line
    # with: role=submission errors=3        (settings of the server, see `serve` in test_dialogues.py)
    C: NOOP            send the line and CRLF        C> NOOP\\n    send exactly this      C- close    close our side
    W:                 let the server see what was sent so far before more is sent
    S: 250 2.0.0 text  one whole reply: code, the enhanced code on each line, the text somewhere in it
    S: 250 +A -B       an EHLO keyword that must, or must not, be among the lines
    S: -               the connection is closed

Escapes: \\r \\n \\0 \\xNN, and {x*600} repeats.  Whatever the transcript says, each 2xx, 4xx and 5xx line must carry an
enhanced code of its own class, but for the greeting and the replies to EHLO, HELO and LHLO (RFC 2034).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from tests.rig.listener import Dialogue

_STEP = re.compile(r"([CSW])([:>-]) ?(.*)", re.S)
_REPEAT = re.compile(r"\{(.)\*(\d+)\}")
_ESCAPE = re.compile(r"\\(?:([rn0])|x([0-9a-f]{2}))")
_PLAIN = ("EHLO", "HELO", "LHLO", "XCLI")


@dataclass(frozen=True, slots=True)
class Transcript:
    """One file: what it shows, the server's settings, the steps (kind, text)."""

    title: str
    settings: dict[str, str]
    steps: list[tuple[str, str]]


def read_transcript(path: Path) -> Transcript:
    """Parse one file."""
    title, *lines = path.read_text().rstrip("\n").split("\n")
    assert title.startswith("# "), f"{path.name}: the first line says what it shows"
    settings: dict[str, str] = {}
    steps = []
    for line in lines:
        if line.startswith("# with: "):
            settings = {name: value for name, _, value in (word.partition("=") for word in line[8:].split())}
        elif not line.startswith("#"):
            match = _STEP.fullmatch(line)
            assert match is not None, f"{path.name}: {line}"
            steps.append((match[1] + match[2], match[3]))
    return Transcript(title[2:], settings, steps)


def octets(text: str) -> bytes:
    """What is sent for a text of a transcript."""
    text = _REPEAT.sub(lambda match: match[1] * int(match[2]), text)
    sent = b""
    place = 0
    for match in _ESCAPE.finditer(text):
        sent += text[place : match.start()].encode()
        sent += {"r": b"\r", "n": b"\n", "0": b"\0"}[match[1]] if match[1] else bytes.fromhex(match[2])
        place = match.end()
    return sent + text[place:].encode()


async def play(transcript: Transcript, client: Dialogue) -> None:
    """Send and compare; AssertionError says which step failed."""
    hello = True  # the greeting, and what answers EHLO
    for number, (kind, text) in enumerate(transcript.steps):
        step = f"step {number} {kind} {text}"
        if kind == "C:":
            client.send(octets(text) + b"\r\n")
            hello = text[:4].upper() in _PLAIN
        elif kind == "C>":
            client.send(octets(text))
            hello = text[:4].upper() in _PLAIN
        elif kind == "C-":
            client.writer.write_eof()
        elif kind == "W:":
            await client.writer.drain()
            for _ in range(20):
                await asyncio.sleep(0)
        else:
            reply = await client.reply()
            compare(text, reply, step)
            if not hello or reply[:3] == "421":
                check_codes(reply, step)


def compare(wanted: str, reply: str, step: str) -> None:
    """Whether a reply (lines parted by "|") is what the transcript says."""
    if wanted == "-":
        assert reply == "", f"{step}: the connection is still open and said {reply}"
        return
    code, *words = wanted.split()
    assert reply[:3] == code, f"{step}: got {reply or 'the end of the connection'}"
    lines = [line[4:] for line in reply.split("|")]
    text: list[str] = []
    for word in words:
        if word[0] in "+-":
            offered = {line.partition(" ")[0] for line in lines[1:]}
            assert (word[1:] in offered) == (word[0] == "+"), f"{step}: {word} in {reply}"
        elif re.fullmatch(r"[245]\.\d+\.\d+", word):
            assert all(line.startswith(word) for line in lines), f"{step}: got {reply}"
        else:
            text.append(word)
    assert " ".join(text) in reply, f"{step}: got {reply}"


def check_codes(reply: str, step: str) -> None:
    """RFC 2034 §4."""
    for line in reply.split("|"):
        if line[:1] in ("2", "4", "5"):
            assert re.match(rf"\d\d\d[ -]{line[0]}\.\d{{1,3}}\.\d{{1,3}} ", line), f"{step}: no enhanced code in {line}"
