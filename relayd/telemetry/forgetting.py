"""Forgetting an address: it is overwritten wherever it stands in traces, history and log files.

The address itself goes, in any case of its letters and with any detail behind a "+"; what happened stays, with
"forgotten" in its place.  The suppression list, the queue and the webhooks' log are not touched: they are not history.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from pathlib import Path

import msgspec

FORGOTTEN = "forgotten"


class Forgotten(msgspec.Struct):
    """In how many places an address was overwritten: spans of traces, entries of messages' history, log files."""

    traces: int
    history: int
    logs: int


class Oblivion:
    """One address to be forgotten.  pseudonym: what stands for it in logs with pseudonyms, "" for none."""

    def __init__(self, address: str, pseudonym: str = "") -> None:
        local, _, domain = address.strip().lower().rpartition("@")
        self.local, self.domain = local, domain
        self._in_json = json.dumps(local, ensure_ascii=False)[1:-1]
        before, after = r"(?<![\w.!#$%&'*+/=?^`{|}~-])", r"(?![\w-]|\.[\w])"
        spellings = "|".join(re.escape(each) for each in {local, self._in_json})
        parts = [rf"(?:{spellings})(?:\+[^@\s\"<>]*)?@{re.escape(domain)}"]
        if pseudonym:
            parts.append(re.escape(pseudonym))
        self._pattern = re.compile(before + "(?:" + "|".join(parts) + ")" + after, re.IGNORECASE)

    def replace(self, text: str) -> str:
        """`text` without the address."""
        return self._pattern.sub(FORGOTTEN, text)

    def rewrite(self, connection: sqlite3.Connection, table: str, key: str, column: str) -> int:
        """Overwrite it in a column of JSON, and out of the words; how many rows."""
        local, domain = _for_like(self._in_json), _for_like(self.domain)
        rows = connection.execute(
            f"SELECT {key}, {column} FROM {table} WHERE {column} LIKE ? ESCAPE '\\' OR {column} LIKE ? ESCAPE '\\'",
            (f"%{local}@{domain}%", f"%{local}+%@{domain}%"),
        ).fetchall()
        changed = [(new, id) for id, old in rows if (new := self.replace(old)) != old]
        connection.executemany(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", changed)
        whole = f"{self.local}@{self.domain}"
        connection.execute("DELETE FROM word WHERE value = ?", (whole,))
        connection.execute(
            "DELETE FROM word WHERE value >= ? AND value < ? AND value LIKE ? ESCAPE '\\'",
            (f"{self.local}+", f"{self.local},", f"%@{domain}"),
        )
        return len(changed)

    def rewrite_file(self, path: Path) -> bool:
        """Overwrite it in a file of text, which is replaced as a whole; whether it was there.  Raises OSError."""
        state = path.stat()
        partial = path.with_name(path.name + ".new")
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


def _for_like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)
