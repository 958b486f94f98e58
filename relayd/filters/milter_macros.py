"""Macros: what a milter is told of the session beside the commands, by the names that Sendmail gave them.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from relayd.filters.milter_wire import Command, Negotiated, macro_name


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session.  address: "" on a Unix socket.  tls, cipher: "" without TLS.  account: who signed
    in, or "".
    """

    hostname: str
    listener: str
    trusted: bool
    address: str
    port: int
    client_name: str
    helo: str
    esmtp: bool = True
    local_address: str = ""
    local_port: int = 0
    tls: str = ""
    cipher: str = ""
    account: str = ""
    version: str = ""


Value = Callable[[Facts], str]

_VALUES: Mapping[str, Value] = {
    "j": lambda facts: facts.hostname,
    "v": lambda facts: f"relayd {facts.version}",
    "s": lambda facts: facts.helo,
    "r": lambda facts: "ESMTP" if facts.esmtp else "SMTP",
    "_": lambda facts: f"{facts.client_name} [{facts.address or 'unix'}]",
    "{daemon_name}": lambda facts: facts.listener,
    "{daemon_addr}": lambda facts: facts.local_address,
    "{daemon_port}": lambda facts: str(facts.local_port),
    "{if_addr}": lambda facts: facts.local_address,
    "{if_name}": lambda facts: facts.hostname,
    "{client_addr}": lambda facts: facts.address,
    "{client_name}": lambda facts: facts.client_name,
    "{client_port}": lambda facts: str(facts.port),
    "{client_ptr}": lambda facts: facts.client_name,
    "{tls_version}": lambda facts: facts.tls,
    "{cipher}": lambda facts: facts.cipher,
    "{auth_authen}": lambda facts: facts.account,
    "{auth_type}": lambda facts: "PLAIN" if facts.account else "",
}

_USUAL: Mapping[Command, tuple[str, ...]] = {
    Command.CONNECT: ("j", "_", "v", "{daemon_name}", "{daemon_addr}", "{client_addr}", "{client_name}"),
    Command.HELO: ("{tls_version}", "{cipher}"),
    Command.MAIL: ("i", "{auth_type}", "{auth_authen}", "{mail_addr}", "{mail_host}", "{mail_mailer}"),
    Command.RCPT: ("i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"),
    Command.DATA: ("i",),
    Command.END_OF_HEADERS: ("i",),
    Command.END_OF_BODY: ("i", "j", "{daemon_name}"),
}
_STAGES = {
    Command.CONNECT: "connect",
    Command.HELO: "helo",
    Command.MAIL: "mail",
    Command.RCPT: "rcpt",
    Command.DATA: "data",
    Command.END_OF_HEADERS: "eoh",
    Command.END_OF_BODY: "eom",
}


def macros(
    command: Command, facts: Facts, wants: Negotiated, queue_id: int | None, octets: bytes = b""
) -> Iterable[tuple[str, str]]:
    """The macros for a stage: those the milter named for it, else the usual ones; without those that have no value.

    octets: the command's frame, whose first argument is the address of MAIL or RCPT.
    """
    own = {}
    if queue_id is not None:
        own["i"] = str(queue_id)
    if command in (Command.MAIL, Command.RCPT):
        address = octets[5:].partition(b"\0")[0].decode("utf-8", "surrogateescape")[1:-1]
        what = "mail" if command is Command.MAIL else "rcpt"
        own |= {
            f"{{{what}_addr}}": address,
            f"{{{what}_host}}": address.rpartition("@")[2],
            f"{{{what}_mailer}}": "esmtp",
        }
    names = wants.macros.get(_STAGES[command])
    found = []
    for name in _USUAL[command] if names is None else sorted(names):
        key = macro_name(name)
        value = own.get(key) or (_VALUES[key](facts) if key in _VALUES else "")
        if value:
            found.append((key, value))
    return found
