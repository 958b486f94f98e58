"""The shapes of answers: success, and the API's two forms of errors.

Success is 200 `{"data": value}`.  Form A, `Failure`, is 200 too: `{"error": ..., ...}`, for a request that was
understood and could not be carried out.  Form B, `Problem`, is an RFC 7807 problem with the status it names.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from relayd.reputation.rate import whole_seconds

_encode = msgspec.json.Encoder().encode


class Problem(Exception):
    """Form B.  title None leaves it out.  limit: the name of the limit that was reached (an RFC 8620 error then).

    retry_after: seconds after which to try again.
    """

    def __init__(
        self,
        status: int,
        title: str | None,
        detail: str,
        *,
        limit: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.limit = limit
        self.retry_after = retry_after


class Failure(Exception):
    """Form A: `body` has `error` and what belongs to it."""

    def __init__(self, error: str, **fields: Any) -> None:
        super().__init__(error)
        self.body = {"error": error, **fields}


def other(details: str, reason: str | None = None) -> Failure:
    """Form A for everything that has no name of its own."""
    return Failure("other", details=details, reason=reason)


UNAUTHORIZED = (401, "Unauthorized", "You have to authenticate first.")
FORBIDDEN = (403, "Forbidden", "You do not have enough permissions to access this resource.")
NOT_FOUND = (404, "Not Found", "The requested resource does not exist on this server.")
BAD_JSON = (400, "Invalid parameters", "JSON deserialization failed")
TOO_MANY = (
    429,
    "Too Many Requests",
    "Your request has been rate limited. Please try again in a few seconds.",
)
TOTP_REQUIRED = (
    402,
    "TOTP code required",
    "The credentials are good; send them again with the one-time code: password$code.",
)
TOO_MANY_ATTEMPTS = (
    429,
    "Too Many Authentication Attempts",
    "Your request has been rate limited. Please try again in a few minutes.",
)
NEEDS_TLS = (
    403,
    "Forbidden",
    "Credentials are not taken over plain HTTP from another machine: use TLS, name the proxy in the listener's "
    "trusted-proxies, or set its plain-credentials.",
)
TOO_LARGE = (413, "Request Entity Too Large", "The body of the request is larger than this server accepts.")
BROKEN_BODY = (400, "Bad Request", "The body of the request is not what its header says.")
UNKNOWN_CODING = (501, "Not Implemented", "The body of the request comes in a coding that this server does not know.")
TOO_SLOW = (408, "Request Timeout", "The body of the request did not arrive in time.")


def too_many(wait: float) -> Problem:
    """429 of a rate; wait: seconds until the next request is taken."""
    return Problem(*TOO_MANY, retry_after=wait)


def concurrent_limit() -> Problem:
    """400: more requests of an account at once than it may have."""
    name = "maxConcurrentRequests"
    return Problem(400, name, "The number of concurrent requests of this account is limited.", limit=name)


def data(value: Any) -> web.Response:
    """The answer of success."""
    return web.Response(body=_encode({"data": value}), content_type="application/json", charset="utf-8")


def failure(error: Failure) -> web.Response:
    """The answer of form A."""
    return web.Response(body=_encode(error.body), content_type="application/json", charset="utf-8")


def problem(error: Problem, request_id: int | None = None) -> web.Response:
    """The answer of form B; request_id is shown where the operator may look for it in the log."""
    kind = "about:blank" if error.limit is None else "urn:ietf:params:jmap:error:limit"
    body: dict[str, Any] = {"type": kind, "status": error.status}
    if error.title is not None:
        body["title"] = error.title
    body["detail"] = error.detail
    if error.limit is not None:
        body["limit"] = error.limit
    if request_id is not None:
        body["requestId"] = request_id
    answer = web.Response(status=error.status, body=_encode(body), content_type="application/problem+json")
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(whole_seconds(error.retry_after))
    return answer
