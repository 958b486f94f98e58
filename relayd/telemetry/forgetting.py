"""Forgetting an address: it is overwritten wherever it stands in traces, history and log files.

The address itself goes, in any case of its letters and with any detail behind a "+", and so do return paths that hold
it; what happened stays, with "forgotten" in their place.  What is no history is not touched: the queue, the suppression
list, the webhooks' log of what they may be sent again, and what strangers' senders are known for.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from pathlib import Path

import idna
import msgspec

from relayd.mail.address import AddressError, a_label
from relayd.telemetry.escape import quoted

FORGOTTEN = "forgotten"

UNFINISHED = ".new"
"""What ends the name of a file while it is written anew."""

_START = (
    r"(?:(?<![\w.!#$%&*+/?^`{|}~'-])|(?<![\w.!#$%&*+/?^`{|}~-]')(?<=')"
    r"|(?<=\\[nrt])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4}))"
)
"""What stands before an address: nothing that could be a part of its local part, but for a quotation mark that opens,
and for what is a control or invisible character, escaped.
"""

_NO_LOCAL_PART = frozenset(" \t\r\n\"'<>@,:;()")
_LONGEST = 256
"""Characters of a return path before the address that it holds."""


class Forgotten(msgspec.Struct):
    """In how many places an address was overwritten: spans of traces, entries of messages' history, log files."""

    traces: int
    history: int
    logs: int


class Oblivion:
    """One address to be forgotten.  pseudonym: what stands for it in logs with pseudonyms, "" for none.

    Its domain is met as U-labels and as A-labels.  It goes out of return paths that hold it, too: those that the
    sender rewriting scheme makes (SRS0=hash=time=domain=local@relay), and those of lists (list+local=domain@list).
    """

    def __init__(self, address: str, pseudonym: str = "") -> None:
        local, _, domain = address.strip().lower().rpartition("@")
        self._likes = _likes(local, domain)
        locals_ = "(?:" + "|".join(re.escape(each) for each in _spellings(local)) + ")"
        domains = "(?:" + "|".join(re.escape(each) for each in _domains(domain)) + ")"
        end = r"(?![\w-]|\.[\w])"
        parts = [rf"{locals_}(?:\+[^@\s\"<>]{{0,256}})?@{domains}{end}"]
        if pseudonym:
            parts.append(re.escape(pseudonym) + end)
        self._pattern = re.compile(_START + "(?:" + "|".join(parts) + ")", re.IGNORECASE)
        self._inner = re.compile(rf"(?:={domains}={locals_}|[+-]{locals_}={domains})@[\w.-]{{0,255}}\w", re.IGNORECASE)

    def replace(self, text: str) -> str:
        """`text` without the address."""
        return self._without_return_paths(self._pattern.sub(FORGOTTEN, text))

    def _without_return_paths(self, text: str) -> str:
        """`text` without those that hold the address."""
        left, end = [], 0
        for match in self._inner.finditer(text):
            start = match.start()
            while start > max(end, match.start() - _LONGEST) and text[start - 1] not in _NO_LOCAL_PART:
                start -= 1
            left += [text[end:start], FORGOTTEN]
            end = match.end()
        return "".join([*left, text[end:]]) if left else text

    def rewrite(self, connection: sqlite3.Connection, table: str, key: str, column: str) -> int:
        """Overwrite it in a column of JSON, and out of the words; how many rows."""
        rows = connection.execute(f"SELECT {key}, {column} FROM {table} WHERE {self._may_be_in(column)}", self._likes)
        changed = [(new, id) for id, old in rows if (new := self.replace(old)) != old]
        connection.executemany(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", changed)
        words = connection.execute(f"SELECT run, value, id FROM word WHERE {self._may_be_in('value')}", self._likes)
        gone = [word for word in words if self.replace(word[1]) != word[1]]
        connection.executemany("DELETE FROM word WHERE run = ? AND value = ? AND id = ?", gone)
        return len(changed)

    def _may_be_in(self, column: str) -> str:
        return " OR ".join([f"{column} LIKE ? ESCAPE '\\'"] * len(self._likes))

    def rewrite_file(self, path: Path) -> bool:
        """Overwrite it in a file of text, which is replaced as a whole; whether it was there.  Raises OSError."""
        state = path.stat()
        partial = path.with_name(path.name + UNFINISHED)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, state.st_mode & 0o777)
        found = False
        with (
            path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines,
            open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            for line in lines:
                new = self.replace(line)
                found = found or new != line
                file.write(new)
            file.flush()
            os.fsync(file.fileno())
        if not found:
            partial.unlink()
            return False
        os.utime(partial, (state.st_atime, state.st_mtime))  # its age decides when it is removed
        partial.rename(path)
        return True


def _spellings(local: str) -> set[str]:
    """A local part as it was sent, in JSON, and in a line of a log."""
    return {local, json.dumps(local, ensure_ascii=False)[1:-1], json.dumps(local)[1:-1], quoted(local)[1:-1]}


def _domains(domain: str) -> set[str]:
    try:
        return {domain, a_label(domain), idna.decode(domain)}
    except (AddressError, UnicodeError):
        return {domain}


def _likes(local: str, domain: str) -> list[str]:
    """What SQL may look for: no more than rows that may hold the address."""
    found = []
    for each in _domains(domain):
        far = _for_like(each) if each.isascii() else "%"  # of other letters SQL does not know the case
        for spelled in {local, json.dumps(local, ensure_ascii=False)[1:-1]}:
            near = _for_like(spelled) if spelled.isascii() else "%"
            found += [f"%{near}@{far}%", f"%{near}+%@{far}%", f"%{far}={near}@%", f"%{near}={far}@%"]
    return found


def _for_like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)
