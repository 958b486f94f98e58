"""Updates of the spam rules, kept in `<data-dir>/spam-rules`: each version a file, and which of them is in force.

A new version is read and checked before it is written, written and synced before it is named, and named by replacing
one small file, so that a crash leaves either the old rules in force or the new ones.  The versions before it stay, as
far as KEPT goes, to be gone back to.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from relayd.spam.ruleset import MAX_OCTETS, Ruleset, RulesetError, read_ruleset

DIRECTORY = "spam-rules"
KEPT = 5
_NAMES = "in-force"


class NoPrevious(Exception):
    """There is no version to go back to."""


class Before(msgspec.Struct, frozen=True):
    """What `put` replaced.  versions: those that were kept.  name, octets: of the file that it wrote, as it was before;
    None: there was none.
    """

    versions: list[str]
    name: str
    octets: bytes | None


class SpamUpdates:
    """The updates of one data directory.  Every method reads or writes files: OSError."""

    def __init__(self, data: Path) -> None:
        self._directory = data / DIRECTORY

    def versions(self) -> list[str]:
        """Those that are kept, the one in force first."""
        try:
            names = (self._directory / _NAMES).read_text("ascii").split()
        except (FileNotFoundError, UnicodeDecodeError):
            return []
        return [name for name in names if (self._directory / f"{name}.toml").is_file()]

    def current(self) -> Ruleset | None:
        """The update in force; None when there is none.  RulesetError when somebody spoiled its file."""
        versions = self.versions()
        if not versions:
            return None
        with (self._directory / f"{versions[0]}.toml").open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
        try:
            return read_ruleset(octets.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise RulesetError(f"no UTF-8: {error}") from None

    def put(self, ruleset: Ruleset, octets: bytes) -> Before:
        """Put a document in force.  ruleset: what `read_ruleset` made of it.  Files stay until `prune`."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        file = self._directory / f"{ruleset.version}.toml"
        before = Before(self.versions(), file.name, file.read_bytes() if file.is_file() else None)
        self._write(file.name, octets)
        self._name([ruleset.version, *(name for name in before.versions if name != ruleset.version)])
        return before

    def undo(self, before: Before) -> None:
        """Let everything be as it was before `put`."""
        if before.octets is not None:
            self._write(before.name, before.octets)
        self._name(before.versions)
        if before.octets is None:
            (self._directory / before.name).unlink(missing_ok=True)

    def prune(self) -> None:
        """Drop the oldest versions, and files that are no version's."""
        kept = self.versions()[:KEPT]
        self._name(kept)
        for file in self._directory.glob("*.toml"):
            if file.stem not in kept:
                file.unlink(missing_ok=True)

    def back(self) -> str:
        """Go back to the version before: its name, "" for the delivered rules.  NoPrevious."""
        versions = self.versions()
        if not versions:
            raise NoPrevious
        self._name(versions[1:])
        return versions[1] if len(versions) > 1 else ""

    def forth(self, versions: list[str]) -> None:
        """Take `back` back.  versions: as `versions` gave them before it."""
        self._name(versions)

    def _name(self, versions: list[str]) -> None:
        self._write(_NAMES, "".join(f"{name}\n" for name in versions).encode("ascii"))

    def _write(self, name: str, octets: bytes) -> None:
        target = self._directory / name
        temporary = self._directory / f"{name}.tmp"
        with temporary.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
