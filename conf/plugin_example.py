"""A policy plug-in for relayd, as an example.

Put a file like this where Python finds it (PYTHONPATH, or the site-packages of relayd) and name its classes:

    [session]
    plugins = ["plugin_example:RefuseExecutables"]

The interface is that of aiosmtpd's handlers: any of handle_PROXY, handle_HELO, handle_EHLO (with 4 or 5 arguments),
handle_STARTTLS, handle_AUTH, handle_MAIL, handle_RCPT, handle_DATA, handle_RSET, handle_NOOP, handle_QUIT, handle_VRFY.
Each is called before relayd decides.  A returned text that begins with a 4xx or 5xx code refuses; anything else ("250
OK", MISSING, None) leaves the decision to relayd.  An exception is answered 451, so the client comes back.

`session.peer` is the client's (address, port), `session.host_name` what EHLO said, `envelope.mail_from` and
`envelope.rcpt_tos` what was accepted so far.  In handle_DATA `envelope.content` holds the message: bytes, or a
read-only mmap when it is over 1 MiB (it has find() and slices as bytes do); it is gone when handle_DATA returns.
"""

import re

EXECUTABLE = re.compile(rb'(?i)\bname\*?="?[^"\r\n]*\.(?:exe|scr|bat|js)\b')


class RefuseExecutables:
    """Refuses messages with programs attached, and recipients named in NEVER."""

    NEVER = frozenset({"everyone@example.org"})

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        """Before relayd looks at a recipient."""
        if address.lower() in self.NEVER:
            return "550 5.7.1 Nobody writes to everyone"
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        """Before relayd takes the message."""
        if EXECUTABLE.search(envelope.content):
            return "550 5.7.1 Programs are not taken by mail"
        return "250 OK"
