"""Organisational domains by the public suffix list (RFC 7489 §3.2), on the package `publicsuffixlist`.

Reading the list takes some 70 ms: do it once, at start.  It ages with the installed package; a newer list can be given.
"""

from __future__ import annotations

from publicsuffixlist import PublicSuffixList

from relayd.mailauth.findings import plain_domain


class SuffixList:
    """The list, private part included; under a top-level domain that it does not know, the last label is a suffix."""

    def __init__(self, text: str | None = None) -> None:
        """text: of a list in the format of publicsuffix.org; None takes the one that was installed."""
        self._list = PublicSuffixList() if text is None else PublicSuffixList(text.splitlines())

    def registrable(self, domain: str) -> str | None:
        """The part of `domain` that somebody registered ("example.co.uk"), as A-labels; None of a public suffix and of
        what is no domain name.
        """
        domain = plain_domain(domain)
        if not domain or not all(domain.split(".")):
            return None
        return self._list.privatesuffix(domain)

    def organizational(self, domain: str) -> str:
        """The organisational domain; a public suffix is its own (RFC 7489 §3.2 leaves it no other)."""
        return self.registrable(domain) or plain_domain(domain)
