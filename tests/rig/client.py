"""A plain HTTP client of the control socket, as somebody who read only the API's pages would write it."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class Answer:
    """What came back.  headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    octets: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON and say so."""
        media = self.headers["content-type"].partition(";")[0]
        assert media in ("application/json", "application/problem+json"), self
        return json.loads(self.octets)

    @property
    def data(self) -> Any:
        """What stands under `data`, which must be all."""
        body = self.json
        assert self.status == 200, self
        assert list(body) == ["data"], body
        return body["data"]


def basic(name: str, secret: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


ADMIN = basic("admin", "for-tests-only")
"""The fallback administrator of `tests.rig.daemon.Daemon`."""


@dataclass(frozen=True)
class Client:
    """Asks the control socket on a loopback port.  authorization: the header, "" for none."""

    port: int
    authorization: str = ADMIN

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = dict(headers or {})
        if self.authorization:
            sent["Authorization"] = self.authorization
        try:
            connection.request(
                method,
                path + ("?" + urlencode(query) if query else ""),
                body.encode() if isinstance(body, str) else body,
                sent,
            )
            response = connection.getresponse()
            given = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, given, response.read())
        finally:
            connection.close()
