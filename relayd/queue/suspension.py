"""What a suspension is about, as its key says: "example.org" (a destination), "route:<id>", "provider:<id>",
"account:<name>", "source:<id>".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Subject(Enum):
    """Kinds of subjects; the value is what control socket and command line call them."""

    DOMAIN = "domain"
    ROUTE = "route"
    PROVIDER = "provider"
    ACCOUNT = "account"
    SOURCE = "source"


_PREFIXED = (Subject.ROUTE, Subject.PROVIDER, Subject.ACCOUNT, Subject.SOURCE)


def key_of(subject: Subject, name: str) -> str:
    """The key of a subject by its name."""
    return name if subject is Subject.DOMAIN else f"{subject.value}:{name}"


def subject_of(key: str) -> tuple[Subject, str]:
    """The subject and its name; the inverse of `key_of`.  What is sent to a domain's own MX is that domain's."""
    kind, colon, name = key.partition(":")
    if colon:
        for subject in _PREFIXED:
            if subject.value == kind:
                return subject, name
    return Subject.DOMAIN, key.removeprefix("mx:")


def accounts_of(keys: Sequence[str]) -> frozenset[str]:
    """The names of the accounts among suspended subjects."""
    return frozenset(name for subject, name in map(subject_of, keys) if subject is Subject.ACCOUNT)
