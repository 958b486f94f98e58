"""The client of the control socket: one request a connection, over the Unix socket or HTTP.

Over the Unix socket the daemon knows who asks (uid 0 and its own user are admin).  Over HTTP the credentials come from
RELAYD_CREDENTIALS ("user:secret") or a prompt, never from the command line, where every user could read them.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from relayd.cli.failure import (
    BAD_DATA,
    NO_INPUT,
    NOT_ALLOWED,
    SOFTWARE,
    TRY_AGAIN,
    UNAVAILABLE,
    USAGE,
    Failure,
    Refused,
)
from relayd.cli.where import Where

Query = Iterable[tuple[str, str]]

_PIECE = 64 << 10

_EXIT_CODES = {
    400: BAD_DATA,
    401: NOT_ALLOWED,
    402: NOT_ALLOWED,
    403: NOT_ALLOWED,
    404: NO_INPUT,
    413: BAD_DATA,
    429: TRY_AGAIN,
    500: SOFTWARE,
    502: UNAVAILABLE,
    503: TRY_AGAIN,
}


_REFUSALS = {"notFound": NO_INPUT, "fieldAlreadyExists": BAD_DATA, "fieldMissing": BAD_DATA}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


class Control:
    """A daemon's control socket.

    addresses: "unix:/path" or URLs, the first that exists is used.  Every call raises Failure: 69 when nobody
    answers, 77 when we may not, 66 for a message that is not there, 65 for a refused parameter.
    """

    def __init__(self, addresses: list[str], credentials: str | None = None, timeout: float = 60.0) -> None:
        self._addresses = addresses
        self._credentials = credentials
        self._timeout = timeout

    def get(self, path: str, query: Query = ()) -> Any:
        """The `data` of a read."""
        return self.ask("GET", path, query)

    def ask(self, method: str, path: str, query: Query = (), body: object = None) -> Any:
        """Send one request to `/api<path>` and give the `data` of its answer.  body: bytes are sent as they are."""
        with self._exchange(method, "/api" + path, query, body) as response:
            return _data(response.status, response.read())

    def fetch(self, path: str, query: Query = ()) -> Iterator[bytes]:
        """The octets of an answer that is not JSON, piece by piece."""
        with self._exchange("GET", "/api" + path, query, None) as response:
            if response.headers.get_content_type() != "application/octet-stream":
                _data(response.status, response.read())
                raise Failure(SOFTWARE, "relayd gave something else than octets")
            while piece := response.read(_PIECE):
                yield piece
            if response.length:
                raise Failure(UNAVAILABLE, f"relayd broke off {response.length} octets before the end")

    def events(self, path: str, query: Query = ()) -> Iterator[Any]:
        """The values of a stream of events, each as it comes."""
        with self._exchange("GET", "/api" + path, query, None) as response:
            if response.headers.get_content_type() != "text/event-stream":
                _data(response.status, response.read())
                raise Failure(SOFTWARE, "relayd gave something else than a stream")
            while line := response.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    @contextlib.contextmanager
    def _exchange(self, method: str, target: str, query: Query, body: object) -> Iterator[http.client.HTTPResponse]:
        encoded = urlencode(list(query))
        headers = {"Accept": "*/*"}
        if self._credentials is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(self._credentials.encode()).decode()
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = "message/rfc822" if isinstance(body, bytes) else "application/json"
        address, connection = self._connect()
        try:
            connection.request(method, target + ("?" + encoded if encoded else ""), content, headers)
            yield connection.getresponse()
        except TimeoutError:
            raise Failure(TRY_AGAIN, f"relayd did not answer in {self._timeout:.0f} seconds at {address}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Failure(UNAVAILABLE, f"the connection to relayd at {address} broke: {error!r}") from None
        finally:
            connection.close()

    def _connect(self) -> tuple[str, http.client.HTTPConnection]:
        tried = []
        for address in self._addresses:
            connection = self._open(address)
            try:
                connection.connect()
            except PermissionError:
                raise Failure(NOT_ALLOWED, f"not allowed to use {address}: run as root or as relayd's user") from None
            except OSError as error:
                tried.append(f"{address} ({error.strerror or error})")
            else:
                return address, connection
        raise Failure(UNAVAILABLE, "relayd does not answer at " + ", ".join(tried) + ": is it running?")

    def _open(self, address: str) -> http.client.HTTPConnection:
        if address.startswith("unix:"):
            return _UnixConnection(address.removeprefix("unix:"), self._timeout)
        try:
            url = urlsplit(address)
            host, port = url.hostname, url.port
        except ValueError:  # half a bracket, a port that is none
            host = None
        if not host or url.scheme not in ("http", "https"):
            shown = address.rpartition("@")[2]  # what stands before may be credentials
            raise Failure(USAGE, f'not a control socket: "{shown}"; expected unix:/path or http://host:port')
        if url.username or url.password:
            raise Failure(USAGE, "credentials do not belong in the URL: set RELAYD_CREDENTIALS to user:secret")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        return kind(host, port, timeout=self._timeout)


def _data(status: int, raw: bytes) -> Any:
    """The `data` of an answer in JSON; of one that is the thing itself (the API's description), all of it.

    Raises Failure.
    """
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    if status == 200 and ("data" in answer or "openapi" in answer):
        return answer.get("data", answer)
    if status == 200:
        text = answer.get("details") or answer.get("item") or answer.get("field") or ""
        reason = answer.get("reason") or answer.get("value")
        code = _REFUSALS.get(str(answer.get("error")), SOFTWARE)
        parts = [str(answer.get("error", "no data")), str(text), str(reason or "")]
        raise Refused(code, "relayd refused: " + ": ".join(part for part in parts if part))
    detail = str(answer.get("detail") or answer.get("title") or "no reason given")
    raise Failure(_EXIT_CODES.get(status, SOFTWARE), f"relayd answered {status}: {detail}")


def open_control(where: Where, timeout: float = 60.0) -> Control:
    """The control socket that the command line, RELAYD_URL or the configuration names.

    timeout: seconds without a word from it.
    """
    url = where.url or (os.environ.get("RELAYD_URL") if where.config is None else None)
    if url is None:
        from relayd.config.places import control_candidates

        return Control([f"unix:{path}" for path in control_candidates(where.load())], timeout=timeout)
    if url.startswith("unix:"):
        return Control([url], timeout=timeout)
    return Control([url], _credentials(url), timeout)


def _credentials(url: str) -> str | None:
    given = os.environ.get("RELAYD_CREDENTIALS")
    if given is not None or not sys.stdin.isatty():
        return given
    user = input(f"User for {url}: ")
    return f"{user}:{getpass.getpass('Secret: ')}"
