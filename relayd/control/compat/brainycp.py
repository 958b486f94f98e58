"""The mail queue dialect of the BrainyCP panel: `GET|POST /api/api.php`.

Parameters come in the query, in a form, or in both (the form's count).  `username` and `password` sign in as Basic
credentials do.  `mailserver` names the module; one more parameter names the operation by being there, whatever its
value: `list_msg`, `count_msg`, `delete_all_msg`, `delete_frozen_msg`, `controll_msg`, `clamav`, `spamassassin`.  None
or several of them are an invalid command, and nothing is done.

The answer is always HTTP 200: `error` (0: done), the text in `mess` and `message`, and `detail` where there is one.
400 means wrong credentials, a missing permission, another module, or a request that cannot be read; 102 that the queue
cannot be written now.  A frozen message is a held one.  `reship` of one releases it.  `dellete_forse` removes at once
what else could be brought back for a while.  The operations of the scanners are in `brainycp_scanners`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec
from aiohttp import web

from relayd.control.access import Caller
from relayd.control.answers import Problem
from relayd.control.background import Background
from relayd.control.compat.brainycp_scanners import COMMANDS, TYPES, Switches, SwitchFailed, detail
from relayd.control.forms import BadForm, form_fields
from relayd.control.options import BRAINYCP, HttpOptions
from relayd.control.requests import read_body
from relayd.control.routes import SPAN, Door
from relayd.control.streaming import stream_array
from relayd.events import manage, security
from relayd.events.event import Span
from relayd.mail.snowflake import parse_snowflake
from relayd.queue.failure import QueueUnavailable
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Message

PATH = "/api/api.php"

SignedIn = Callable[[web.Request, str, str], AbstractAsyncContextManager[Caller]]
"""Who a login and secret are good for, counted while it lasts.  Raises Problem, as for Basic credentials."""

LIST, DELETE, UPDATE = (f"message-queue-{each}" for each in ("list", "delete", "update"))

SETTINGS = ("settings-list", "settings-update")

_FIELDS = 64
_AT_ONCE = 250
_DENIED = 400

_TEXTS = {
    "list": ("Mail queue list", "Список почтовой очереди"),
    "empty": ("The mail queue list is empty", "Список почтовой очереди пуст"),
    "count": ("Number of messages", "Количество сообщений"),
    "done": ("Request completed", "Запрос выполнен"),
    "bad command": ("Invalid value command", "Недопустимое значение command"),
    "no id": ("Missing message id", "Отсутствует идентификатор сообщения"),
    "no server": (
        "The server for sending letters is missing or incorrectly specified",
        "Сервер для отправки писем отсутствует или указан неверно",
    ),
    "completed": ("Command completed", "Команда выполнена"),
    "invalid": ("Invalid command", "Недопустимая команда"),
    "denied": ("Unfortunately, the module is not available to you.", "К сожалению, модуль вам недоступен."),
    "deleted": ("Messages deleted: {}", "Удалено сообщений: {}"),
    "being deleted": ("Messages being deleted: {}", "Удаляется сообщений: {}"),
    "resent": ("Messages to be sent again now: {}", "Сообщений поставлено на повторную отправку: {}"),
}
"""By key: English, Russian."""


class Queue(Protocol):
    """What this asks of the queue (`relayd.queue.store.Queue`)."""

    async def list(
        self, filter: Filter, offset: int, limit: int | None, max_total: int
    ) -> tuple[Sequence[int], int]: ...
    async def get_many(self, ids: Sequence[int]) -> Sequence[Message]: ...


class Actions(Protocol):
    """What it asks to change (`relayd.queue.actions.Actions`)."""

    async def reschedule(self, filter: Filter, at: float) -> int: ...
    async def remove(self, filter: Filter, by: str, reason: str = "", *, purge: bool = False) -> int: ...
    async def release(self, filter: Filter, by: str) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of a caller.  language: of the texts, 0 English, 1 Russian."""

    request: web.Request
    span: Span
    parameters: Mapping[str, str]
    caller: Caller
    language: int

    def text(self, key: str, *values: object) -> str:
        """A text in the language asked for."""
        return _TEXTS[key][self.language].format(*values)


class Refused(Exception):
    """The answer is an error.  key: of its text."""

    def __init__(self, error: int, key: str) -> None:
        super().__init__(error, key)
        self.error = error
        self.key = key


def denied() -> Refused:
    """What is said to whoever may not, and says nothing more."""
    return Refused(_DENIED, "denied")


class BrainyCp:
    """The dialect.  options: those in force.  clock: Unix time."""

    def __init__(
        self,
        signed_in: SignedIn,
        queue: Queue,
        actions: Actions,
        background: Background,
        options: Callable[[], HttpOptions],
        clock: Callable[[], float],
        switches: Switches,
    ) -> None:
        self._signed_in = signed_in
        self._queue = queue
        self._actions = actions
        self._background = background
        self._options = options
        self._clock = clock
        self._switches = switches
        self._operations: dict[str, tuple[tuple[str, ...], Callable[[Asked], Awaitable[web.StreamResponse]]]] = {
            "list_msg": ((LIST,), self.show),
            "delete_all_msg": ((DELETE,), self.delete_all),
            "controll_msg": ((DELETE, UPDATE), self.control),
            "delete_frozen_msg": ((DELETE,), self.delete_frozen),
            "count_msg": ((LIST,), self.count),
            **{name: (SETTINGS, partial(self.scanner, type)) for name, type in TYPES.items()},
        }

    def doors(self) -> Iterator[Door]:
        """Its one address."""
        for method in ("GET", "POST"):
            yield Door(method=method, path=PATH, handler=self.handle, dialect=BRAINYCP, counts=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer to one request."""
        language = 1
        try:
            parameters = await self._parameters(request)
            language = 0 if parameters.get("language", "").strip().lower() == "en" else 1
            return await self._answer(request, parameters, language)
        except Refused as error:
            return _answer(error.error, _TEXTS[error.key][language])
        except QueueUnavailable as error:
            manage.ERROR(request[SPAN], details="brainycp", reason=f"the queue cannot write: {error}")
            return _answer(102, _TEXTS["no server"][language])

    async def _parameters(self, request: web.Request) -> dict[str, str]:
        given = dict(request.query.items())
        if request.method == "POST":
            options = self._options()
            try:
                octets = await read_body(request, options.max_body, options.body_timeout)
                given |= form_fields(request.headers.get("Content-Type", ""), octets, _FIELDS) or ()
            except (Problem, BadForm):
                raise denied() from None
        return given

    async def _answer(self, request: web.Request, parameters: dict[str, str], language: int) -> web.StreamResponse:
        login, secret = parameters.pop("username", ""), parameters.pop("password", "")
        if "\0" in login + secret:
            raise denied()
        try:
            async with self._signed_in(request, login.strip().lower(), secret) as caller:
                asked = Asked(
                    request=request, span=request[SPAN], parameters=parameters, caller=caller, language=language
                )
                return await self._carry_out(asked)
        except Problem:
            raise denied() from None

    async def _carry_out(self, asked: Asked) -> web.StreamResponse:
        if "mailserver" not in asked.parameters:
            raise denied()
        named = [name for name in self._operations if name in asked.parameters]
        if len(named) != 1:
            _require(asked, LIST, DELETE, UPDATE)
            raise Refused(100, "invalid")
        permissions, operation = self._operations[named[0]]
        _require(asked, *permissions)
        return await operation(asked)

    async def show(self, asked: Asked) -> web.StreamResponse:
        """`list_msg`: every message."""
        ids, _ = await self._queue.list(Filter(), 0, None, 0)
        if not ids:
            raise Refused(100, "empty")
        if len(ids) <= _AT_ONCE:
            return _answer(0, asked.text("list"), await self._shown(ids))
        before = msgspec.json.encode(_said(0, asked.text("list")))[:-1] + b',"detail":['
        return await stream_array(asked.request, before, self._pieces(ids), b"]}")

    async def _pieces(self, ids: Sequence[int]) -> AsyncIterator[list[Any]]:
        for start in range(0, len(ids), _AT_ONCE):
            yield await self._shown(ids[start : start + _AT_ONCE])

    async def _shown(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        now = self._clock()
        return [
            {
                "id": each.id,
                "size": each.size,
                "age": max(0, int(now - each.created)),
                "sender": each.return_path,
                "recipients": [to.address for to in each.recipients if to.state.is_pending],
                "frozen": each.hold is not None,
            }
            for each in await self._queue.get_many(ids)
        ]

    async def count(self, asked: Asked) -> web.StreamResponse:
        """`count_msg`: how many messages there are."""
        _, total = await self._queue.list(Filter(), 0, 0, 0)
        return _answer(0, asked.text("count"), total)

    async def delete_all(self, asked: Asked) -> web.StreamResponse:
        """`delete_all_msg`: every message goes; nobody is told."""
        return await self._delete(asked, Filter(), "all", purge="dellete_forse" in asked.parameters)

    async def delete_frozen(self, asked: Asked) -> web.StreamResponse:
        """`delete_frozen_msg`: every held message goes."""
        return await self._delete(asked, Filter(kind=Kind.HELD), "held")

    async def _delete(self, asked: Asked, filter: Filter, what: str, *, purge: bool = False) -> web.StreamResponse:
        _, matching = await self._queue.list(filter, 0, 0, 0)
        verb = "purge" if purge else "remove"
        work = self._actions.remove(filter, asked.caller.name, "", purge=purge)
        removed = await self._background.run(work, asked.span, f"{verb} {what}")
        total = matching if removed is None else removed
        _audit(asked, f"queue.{verb}", f"{verb} {what}", total)
        return _answer(
            0, asked.text("done"), [asked.text("deleted" if removed is not None else "being deleted", total)]
        )

    async def control(self, asked: Asked) -> web.StreamResponse:
        """`controll_msg`: `command` is `delete` or `reship`, of the message `id`."""
        command = asked.parameters.get("command", "")
        if command not in ("delete", "reship"):
            raise Refused(100, "bad command")
        _require(asked, DELETE if command == "delete" else UPDATE)
        id = parse_snowflake(asked.parameters.get("id", "").strip())
        filter = Filter(ids=[] if id is None or id >= 1 << 63 else [id])
        ids, _ = await self._queue.list(filter, 0, 1, 0)
        if not ids:
            raise Refused(101, "no id")
        if command == "delete":
            return await self._delete(asked, filter, str(id))
        by = asked.caller.name
        if released := await self._actions.release(filter, by):
            _audit(asked, "queue.release", f"release {id}", released)
        total = await self._actions.reschedule(filter, self._clock())
        _audit(asked, "queue.reschedule", f"reschedule {id}", total)
        return _answer(0, asked.text("done"), [asked.text("resent", total)])

    async def scanner(self, type: str, asked: Asked) -> web.StreamResponse:
        """`clamav`, `spamassassin`: `command` is `status`, `on` or `off`."""
        command = asked.parameters.get("command", "")
        if command not in COMMANDS:
            raise Refused(100, "invalid")
        _require(asked, "settings-list" if command == "status" else "settings-update")
        if command != "status":
            try:
                await self._switches.switch(type, command == "on", asked.caller.name)
            except SwitchFailed as error:
                manage.ERROR(asked.span, details="brainycp", reason=f"{type} cannot be switched {command}: {error}")
                raise denied() from None
            _audit(asked, "settings.update", f"{type} {command}", 1)
        return _answer(0, asked.text("completed"), detail(await self._switches.status(type)))


def _require(asked: Asked, *permissions: str) -> None:
    """Raise Refused when the caller has none of `permissions`, or is of a tenant: here everything is everybody's."""
    if asked.caller.tenant or not any(asked.caller.may(each) for each in permissions):
        security.UNAUTHORIZED(asked.span, account_name=asked.caller.name, id=permissions[0], path=PATH)
        raise denied()


def _said(error: int, text: str) -> dict[str, Any]:
    return {"error": error, "mess": text, "message": text}


def _answer(error: int, text: str, detail: Any = None) -> web.Response:
    body = _said(error, text)
    if detail is not None:
        body["detail"] = detail
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", charset="utf-8")


def _audit(asked: Asked, action: str, details: str, total: int) -> None:
    manage.ACTION(
        asked.span,
        account_name=asked.caller.name,
        type_=action,
        details=f"{details} (brainycp)",
        total=total,
        reason="",
    )
