"""The DirectMail dialect: `/` with an `Action` in query or form, or with the header `x-acs-action`; GET and POST.

Requests are signed with an access key (`directmail_signature`), which acts as the account that it belongs to; there is
no other way to sign in here.  `directmail_operations` carries the operations out.  Answers are JSON or XML
(`directmail_answers`); every one has a RequestId, under whose number the log has what happened, and errors have a code,
a message and the HostId.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl

from aiohttp import web

from relayd.control.access import Caller, Gate
from relayd.control.answers import UNAUTHORIZED, Problem
from relayd.control.compat.directmail_answers import DirectMailError, answer, wants_json
from relayd.control.compat.directmail_operations import DirectMailOperations
from relayd.control.compat.directmail_signature import Asked, Claim, Nonces, claim_of
from relayd.control.forms import BadForm, form_fields
from relayd.control.limits import Limits
from relayd.control.options import DIRECTMAIL, HttpOptions
from relayd.control.origin import ORIGIN
from relayd.control.requests import read_body
from relayd.control.routes import SPAN, Door
from relayd.database.interface import DatabaseError
from relayd.directory.access_keys import KeyHolder
from relayd.events import http, manage
from relayd.events.event import Span

PATH = "/"

_FIELDS = 100

Admitted = Callable[[web.Request, Caller], AbstractContextManager[Caller]]
"""Counts a request as its caller's while it lasts.  Raises Problem."""


class Keys(Protocol):
    """`relayd.directory.access_keys.AccessKeys`."""

    async def find(self, id: str) -> KeyHolder | None: ...


async def nothing_here(request: web.Request) -> NoReturn:
    """What is at `/` for requests of no dialect."""
    raise Problem(*UNAUTHORIZED)


class DirectMail:
    """The dialect.  gate, limits, admitted: of the control socket.  options, hostname: those in force.

    front: answers requests to `/` that are none of this dialect, or of which it is switched off.
    """

    def __init__(
        self,
        operations: DirectMailOperations,
        keys: Keys,
        gate: Gate,
        limits: Limits,
        admitted: Admitted,
        options: Callable[[], HttpOptions],
        hostname: Callable[[], str],
        clock: Callable[[], float],
        front: Callable[[web.Request], Awaitable[web.StreamResponse]] = nothing_here,
    ) -> None:
        self._operations = operations
        self._keys = keys
        self._gate = gate
        self._limits = limits
        self._admitted = admitted
        self._options = options
        self._hostname = hostname
        self._clock = clock
        self._front = front
        self._nonces = Nonces(clock())

    def doors(self) -> Iterator[Door]:
        """Where it is spoken.  With something else in front, the doors are open whether or not it is spoken."""
        dialect = DIRECTMAIL if self._front is nothing_here else ""
        for method in ("GET", "POST"):
            yield Door(method=method, path=PATH, handler=self.handle, dialect=dialect, counts=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request.  Raises Problem for limits, and what `front` raises."""
        options, span = self._options(), request[SPAN]
        body = await read_body(request, options.max_body, options.body_timeout) if request.method == "POST" else b""
        query = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="surrogateescape")
        try:
            form = form_fields(request.headers.get("Content-Type", ""), body, _FIELDS) or []
        except BadForm:
            form = []
        given = dict([*query, *form])
        is_asked = "Action" in given or "x-acs-action" in request.headers
        if not is_asked or DIRECTMAIL not in options.dialects:
            self._limits.stranger(request[ORIGIN], span)
            return await self._front(request)
        json = wants_json(given.get("Format", ""), request.headers.get("Accept", ""))
        request_id = _request_id(span)
        headers: dict[str, Sequence[str]] = {name.lower(): request.headers.getall(name) for name in request.headers}
        asked = Asked(method=request.method, path=PATH, query=query, form=form, headers=headers, body=body)
        try:
            action, result = await self._carried_out(request, asked)
        except DirectMailError as error:
            manage.ERROR(span, details=error.code, reason=error.message)
            failed = {
                "RequestId": request_id,
                "HostId": self._hostname(),
                "Code": error.code,
                "Message": error.message,
            }
            return answer(failed, "Error", json=json, status=error.status)
        return answer({"RequestId": request_id, **result}, f"{action}Response", json=json)

    async def _carried_out(self, request: web.Request, asked: Asked) -> tuple[str, Mapping[str, Any]]:
        """The action and what its answer holds.  Raises DirectMailError, Problem."""
        try:
            claim, holder = await self._signed(request, asked)
            caller = Caller(holder.account.name, frozenset(), None, str(request[ORIGIN]))
            with self._admitted(request, caller):
                operation = self._operations.named(claim.action)
                parameters = asked.parameters()
                if "Password" in parameters:
                    self._gate.check_private(request)
                result = await operation(request[SPAN], holder, parameters)
                return claim.action, result
        except DatabaseError as error:
            http.ERROR(request[SPAN], reason=f"the directory: {error}", url=PATH)
            raise DirectMailError(
                "ServiceUnavailable", "The request cannot be carried out now, try again later.", status=503
            ) from error

    async def _signed(self, request: web.Request, asked: Asked) -> tuple[Claim, KeyHolder]:
        """Who signed the request, once: whoever did not is counted as a stranger, and a wrong signature against him."""
        origin, span = request[ORIGIN], request[SPAN]
        try:
            claim = claim_of(asked)
            holder = await self._keys.find(claim.key_id)
            if holder is None:
                raise DirectMailError("InvalidAccessKeyId.NotFound", "Specified access key is not found.", status=404)
            claim.check(holder.secret)
        except DirectMailError as error:
            self._limits.stranger(origin, span)
            if error.code in ("InvalidAccessKeyId.NotFound", "SignatureDoesNotMatch"):
                self._gate.signature_failed(origin, span)
            raise
        self._nonces.use(claim, self._clock())
        return claim, holder


def _request_id(span: Span) -> str:
    """The id of the request in the dialect's form: the last two groups, read as one number, are ours (hexadecimal)."""
    text = f"{span.id:032X}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
