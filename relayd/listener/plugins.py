"""Users' own policy, as handler classes with aiosmtpd's interface.

A plug-in is asked before reception decides.  What it returns counts only when it is a refusal ("4xx ..." or
"5xx ..."): a plug-in can say no, never yes.  An exception of a plug-in is answered 451, so that its bug loses no mail.
`handle_DATA` finds `envelope.content`: bytes, or a read-only mmap of a message over 1 MiB.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import mmap
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from relayd.events import smtp
from relayd.mail.reply import Reply
from relayd.options import OptionError

if TYPE_CHECKING:
    from relayd.listener.session import RelaySMTP

HOOKS = ("PROXY", "HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "VRFY")

IN_MEMORY = 1 << 20
"""Octets of content that a plug-in gets as bytes."""

_STATUS = re.compile(r"([45]\d\d)[ -]?(?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?(.*)", re.S)


class Plugins:
    """The hooks of all plug-ins in the order of the configuration; false when there are none."""

    def __init__(self, handlers: Sequence[tuple[str, Any]] = ()) -> None:
        self._hooks: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        for name, handler in handlers:
            for hook in HOOKS:
                method = getattr(handler, f"handle_{hook}", None)
                if method is not None:
                    self._hooks.setdefault(hook, []).append((name, method))
        self._edits_ehlo = {
            name for name, method in self._hooks.get("EHLO", ()) if len(inspect.signature(method).parameters) == 5
        }

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def wants(self, hook: str) -> bool:
        """Whether any plug-in has it."""
        return hook in self._hooks

    async def ask(self, server: RelaySMTP, hook: str, *arguments: Any) -> Reply | None:
        """The first refusal, or None."""
        for name, method in self._hooks.get(hook, ()):
            try:
                status = method(server, server.session, server.envelope, *arguments)
                if inspect.isawaitable(status):
                    status = await status
            except Exception as error:
                return _failed(server, name, error)
            if status is False and hook in ("PROXY", "STARTTLS"):  # aiosmtpd: these two return a truth value
                return Reply(554, "5.7.0", "Refused by policy")
            if isinstance(status, str):
                refusal = parse_status(status)
                if refusal is not None:
                    return refusal
        return None

    async def ehlo(self, server: RelaySMTP, hostname: str, lines: list[str]) -> Reply | list[str]:
        """The lines of the answer to EHLO ("250-..." and "250 ...") as plug-ins leave them, or a refusal."""
        for name, method in self._hooks.get("EHLO", ()):
            edits = name in self._edits_ehlo
            try:
                arguments = (hostname, list(lines)) if edits else (hostname,)
                status = method(server, server.session, server.envelope, *arguments)
                if inspect.isawaitable(status):
                    status = await status
            except Exception as error:
                return _failed(server, name, error)
            if isinstance(status, str) and (refusal := parse_status(status)) is not None:
                return refusal
            if edits and isinstance(status, list):
                lines = [str(line) for line in status] or lines
        return lines


class ContentCopy:
    """The content of a message for `handle_DATA`: in memory up to 1 MiB, past it in an unnamed file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  # closed by close()
        self._size = 0
        self._map: mmap.mmap | None = None

    async def write(self, content: bytes) -> None:
        """Take more content."""
        self._size += len(content)
        if self._size <= IN_MEMORY:
            self._file.write(content)
        else:
            await asyncio.to_thread(self._file.write, content)

    def view(self) -> bytes | mmap.mmap:
        """All of it; a map is read-only and lives until `close`."""
        if self._size <= IN_MEMORY:
            self._file.seek(0)
            return self._file.read()
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def close(self) -> None:
        """Forget it."""
        if self._map is not None:
            self._map.close()
        self._file.close()


def load_plugins(names: Sequence[str]) -> Plugins:
    """Import and construct the classes named "module:Class"; OptionError."""
    handlers = []
    for name in names:
        module, colon, attribute = name.partition(":")
        if not (module and colon and attribute):
            raise OptionError(f'session.plugins: expected "module:Class", not "{name}"')
        try:
            handlers.append((name, getattr(importlib.import_module(module), attribute)()))
        except Exception as error:  # a stranger's code: whatever it raises is a mistake in the configuration
            raise OptionError(f"session.plugins: {name} cannot be loaded: {type(error).__name__}: {error}") from error
    return Plugins(handlers)


def parse_status(status: str) -> Reply | None:
    """The refusal that a handler returned as text, or None when it is none; lines after the first keep their text."""
    match = _STATUS.match(status)
    if match is None:
        return None
    code = int(match[1])
    enhanced = match[2] if match[2] and match[2][0] == match[1][0] else f"{match[1][0]}.7.1"
    lines = [re.sub(rf"^{code}[ -](?:[45]\.\d+\.\d+ )?", "", line) for line in match[3].splitlines()]
    return Reply(code, enhanced, "\n".join(line.strip() for line in lines) or "Refused by policy")


def _failed(server: RelaySMTP, name: str, error: Exception) -> Reply:
    smtp.PLUGIN_ERROR(server.client.span, id=name, reason=f"{type(error).__name__}: {error}")
    return Reply(451, "4.3.0", "Temporary failure in a policy, please try again later")
