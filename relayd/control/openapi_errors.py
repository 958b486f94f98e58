"""How the description of the API shows the two forms of errors (`answers`)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

HEADERS: Json = {
    "X-Request-Id": {
        "description": "The id of the request, under which the log has its events.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}

_TEXT: Json = {"type": "string"}


def _failure(error: str, description: str, **fields: Json) -> Json:
    properties = {"error": {"const": error}, **fields}
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_FORMS: Json = {
    "FieldAlreadyExists": _failure(
        "fieldAlreadyExists", "A value that must be unique is taken.", field=_TEXT, value=_TEXT
    ),
    "FieldMissing": _failure("fieldMissing", "A field that must be there is missing.", field=_TEXT),
    "NotFound": _failure("notFound", "What the request names does not exist.", item=_TEXT),
    "Unsupported": _failure("unsupported", "A feature that is not there.", details=_TEXT),
    "AssertFailed": _failure("assertFailed", "What was asserted to be absent is there."),
    "Other": _failure("other", "Everything else.", details=_TEXT, reason={"type": ["string", "null"]}),
}

FAILURES: Json = {
    **_FORMS,
    "Failure": {
        "description": "Form A: the request was understood and could not be carried out. The status is 200.",
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in _FORMS],
    },
}

PROBLEM: Json = {
    "description": "Form B (RFC 7807): the status of the answer is `status`.",
    "type": "object",
    "properties": {
        "type": {"enum": ["about:blank", "urn:ietf:params:jmap:error:limit"]},
        "status": {"type": "integer"},
        "title": _TEXT,
        "detail": _TEXT,
        "limit": {"description": "The name of the limit, when it was one.", "type": "string"},
        "requestId": {"description": "The id of the request, when the log says more.", "type": "integer"},
    },
    "required": ["type", "status", "detail"],
    "additionalProperties": False,
}

_MEANINGS = {
    400: "A parameter or the body cannot be read, or too many requests of this account are at work.",
    401: "No credentials, or none that are good.",
    402: "The credentials are good; the one-time code is missing.",
    403: "A permission is missing.",
    404: "There is no such operation, or nothing of that id.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    416: "The range is not within the body.",
    417: "The header Expect asks for something unknown.",
    421: "The Host header names another server.",
    429: "Too many requests, or too many failed sign-ins.",
    431: "The address or a header is too long.",
    500: "A failure of ours; the log has the reason under the id of the request.",
    503: "The queue or another store cannot be written to now.",
}


def described(status: int) -> str:
    """The name of the component that describes a status."""
    return f"Problem{status}"


def _headers(status: int) -> Json:
    headers: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if status == 429:
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
    if status == 416:
        headers["Content-Range"] = {"required": True, "schema": {"type": "string", "pattern": "^bytes "}}
    return headers


RESPONSES: Json = {
    described(status): {
        "description": f"{HTTPStatus(status).phrase}: {meaning}",
        "headers": _headers(status),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [{"$ref": "#/components/schemas/Problem"}],
                    "properties": {"status": {"const": status}},
                }
            }
        },
    }
    for status, meaning in _MEANINGS.items()
}
