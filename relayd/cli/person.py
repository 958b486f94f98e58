"""Who runs the command, and the values that a message needs from clock and chance."""

from __future__ import annotations

import os
import pwd
import secrets
import time

from relayd.cli.compose import Sender


def login_name() -> str:
    """The name of the user, "uid-N" for one without."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def full_name() -> str:
    """The user's full name of the GECOS field, "" when there is none."""
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:
        return ""
    return user.pw_gecos.partition(",")[0].replace("&", user.pw_name.capitalize())


def qualified(address: str, origin: str) -> str:
    """`address` with the daemon's origin after it when it is a bare local one; the null address stays."""
    return address if not address or "@" in address else f"{address}@{origin}"


def sender(envelope: str | None, name: str | None, origin: str) -> Sender:
    """Who sends.  envelope: as given on the command line ("" or "<>" is the null address), None for the user."""
    own = qualified(login_name(), origin)
    if envelope is None:
        return Sender(own, own, full_name() if name is None else name)
    bare = envelope.strip().removeprefix("<").removesuffix(">")
    given = qualified(bare, origin)
    return Sender(given, given or qualified("MAILER-DAEMON", origin), name or "")


def date_now() -> str:
    """The time as RFC 5322 writes it, in the local zone."""
    from email.utils import formatdate

    return formatdate(time.time(), localtime=True)


def new_message_id(hostname: str) -> str:
    """A Message-ID that nobody else makes."""
    return f"<{time.time_ns():x}.{secrets.token_hex(8)}@{hostname}>"
