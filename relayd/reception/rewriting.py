"""The rewriting table: which rules change the envelope and the header of a message.

Conditions look at the envelope as the client gave it.  The return path, each recipient and each address field are set
by the first matching rule that names them; header fields are removed, replaced and added by every matching rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relayd.mail.address import AddressError, parse_address, split_address
from relayd.mail.pattern import Addresses
from relayd.options import OptionError
from relayd.reception.access import Conditions
from relayd.reception.client import Client
from relayd.reception.options import RewriteOptions

FIELD_KEYS = (("From", "from_"), ("Sender", "sender_field"), ("Reply-To", "reply_to"))
"""Address fields of the header and the options that set them."""


class Template:
    """A new address, in which {local} and {domain} stand for the parts of the old one."""

    __slots__ = ("_text",)

    def __init__(self, text: str, key: str) -> None:
        self._text = text
        rest = text.replace("{local}", "").replace("{domain}", "")
        if "{" in rest or self.apply("local@domain.example") is None:
            raise OptionError(f'{key}: expected an address such as "{{local}}@example.org", not "{text}"')

    def apply(self, address: str) -> str | None:
        """The new address; None when it would be none (then the old one stays)."""
        local, domain = split_address(address)
        text = self._text.replace("{local}", local).replace("{domain}", domain)
        try:
            return parse_address(text, smtputf8=True)
        except AddressError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """What one rule does to the header.  only: addresses that its templates are for; None: all.

    replace, add: (name, value).
    """

    id: str
    conditions: Conditions
    only: Addresses | None
    addresses: dict[str, Template]
    remove: tuple[str, ...]
    replace: tuple[tuple[str, str], ...]
    add: tuple[tuple[str, str], ...]


class RewriteTable:
    """All rules, by what they change; empty tuples cost nothing."""

    def __init__(self, records: Mapping[str, RewriteOptions]) -> None:
        senders: list[tuple[str, Conditions, Template]] = []
        recipients: list[tuple[str, Conditions, Template]] = []
        headers: list[HeaderRule] = []
        for id, options in sorted(records.items(), key=lambda item: (item[1].order, item[0])):
            conditions = Conditions(options)
            if options.envelope_from is not None:
                if conditions.needs_recipient:
                    raise OptionError(f"rewrite.{id}.envelope-from: cannot depend on a recipient")
                senders.append((id, conditions, Template(options.envelope_from, f"rewrite.{id}.envelope-from")))
            if options.envelope_to is not None:
                recipients.append((id, conditions, Template(options.envelope_to, f"rewrite.{id}.envelope-to")))
            header = _header_rule(id, options, conditions)
            if header is not None:
                headers.append(header)
        self.senders = tuple(senders)
        self.recipients = tuple(recipients)
        self.headers = tuple(headers)

    def sender(self, client: Client, sender: str) -> tuple[str, str] | None:
        """(new return path, the rule's id); the null return path stays as it is."""
        for id, conditions, template in self.senders:
            if sender and conditions.match_session(client, sender):
                new = template.apply(sender)
                return None if new is None else (new, id)
        return None

    def recipient(self, client: Client, sender: str, recipient: str) -> tuple[str, str] | None:
        """(new recipient, the rule's id)."""
        for id, conditions, template in self.recipients:
            if conditions.match_session(client, sender) and conditions.match_recipient(recipient):
                new = template.apply(recipient)
                return None if new is None else (new, id)
        return None

    def header_rules(self, client: Client, sender: str, recipients: Sequence[str]) -> list[HeaderRule]:
        """The rules for the header of a message; a condition on the recipient holds when it does for any of them."""
        return [
            rule
            for rule in self.headers
            if rule.conditions.match_session(client, sender)
            and (not rule.conditions.needs_recipient or any(map(rule.conditions.match_recipient, recipients)))
        ]


def _header_rule(id: str, options: RewriteOptions, conditions: Conditions) -> HeaderRule | None:
    addresses = {
        name: Template(text, f"rewrite.{id}.{option.rstrip('_').replace('_', '-')}")
        for name, option in FIELD_KEYS
        if (text := getattr(options, option)) is not None
    }
    if not (addresses or options.remove or options.replace or options.add):
        return None
    return HeaderRule(
        id=id,
        conditions=conditions,
        only=conditions.sender,
        addresses=addresses,
        remove=tuple(_field_name(name, f"rewrite.{id}.remove") for name in options.remove),
        replace=tuple(_field(text, f"rewrite.{id}.replace") for text in options.replace),
        add=tuple(_field(text, f"rewrite.{id}.add") for text in options.add),
    )


def _field(text: str, key: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or any(character in value for character in "\r\n\0"):
        raise OptionError(f'{key}: expected "Name: value" on one line, not "{text}"')
    return _field_name(name, key), value.strip()


def _field_name(name: str, key: str) -> str:
    name = name.strip()
    if not name or not all("!" <= character <= "~" and character != ":" for character in name):
        raise OptionError(f'{key}: "{name}" is no name of a header field')
    return name
