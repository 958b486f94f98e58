"""The operations that are no `Route`, for the description: what is open to all, and what asks in its own words."""

from __future__ import annotations

import re
from typing import Any

from relayd.console.files import media_types
from relayd.control.elsewhere_directmail import DIRECTMAIL
from relayd.control.elsewhere_oauth import OAUTH
from relayd.control.openapi_errors import described

Json = dict[str, Any]

_HEADERS: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}


def _answer(description: str, media: str, schema: Json | None = None) -> Json:
    content: Json = {} if schema is None else {"schema": schema}
    return {"description": description, "headers": _HEADERS, "content": {media: content}}


def _object(**properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _problems(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{described(status)}"} for status in statuses}


_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
_AROUND = (400, 408, 413, 417, 421, 429, 431, 500)


def _get(name: str, area: str, summary: str, description: str, responses: Json, **rest: Any) -> Json:
    return {
        "tags": [area],
        "summary": summary,
        "operationId": name,
        "description": description,
        "security": [],
        "responses": responses,
        **rest,
    }


_LIVE = _get(
    "get-healthz-live",
    "health",
    "Whether the event loop answers",
    "Open to all.",
    {"200": _answer("It does.", "application/json", _object(status={"const": "live"})), **_problems(*_AROUND)},
)

_READY = _get(
    "get-healthz-ready",
    "health",
    "Whether mail is taken",
    "Open to all. Mail is taken once every listener accepts and the database answers.",
    {
        "200": _answer("It is.", "application/json", _object(status={"const": "ready"}, problems=_TEXTS)),
        "503": _answer("It is not.", "application/json", _object(status={"const": "not ready"}, problems=_TEXTS)),
        **_problems(*_AROUND),
    },
)


def _metrics(path: str) -> Json:
    return _get(
        "get-" + path.strip("/").replace("/", "-"),
        "health",
        "The metrics, for Prometheus",
        "Open to this machine; from elsewhere the permission `metrics-list` is needed.",
        {
            "200": _answer("The text format of Prometheus.", "text/plain", _TEXT),
            **_problems(*_AROUND, 401, 402, 403, 503),
        },
        security=[{}, {"basic": []}, {"bearer": []}],
        **{"x-permission": "metrics-list"},
    )


_GRANT: Json = {
    "type": "object",
    "properties": {
        "grant_type": {
            **_TEXT,
            "description": "`authorization_code`, `refresh_token`, or the device code's",
            "examples": ["authorization_code"],
        },
        "client_id": {**_TEXT, "description": "As in operation 1."},
        "code": {**_TEXT, "description": "Of operation 1; good once, for ten minutes."},
        "redirect_uri": {**_TEXT, "description": "As in operation 1."},
        "refresh_token": {**_TEXT, "description": "For the grant of its name."},
        "device_code": {**_TEXT, "description": "For the device code's grant."},
    },
    "required": ["grant_type"],
}

_TOKENS: Json = {
    "type": "object",
    "properties": {
        "access_token": _TEXT,
        "token_type": {"const": "bearer"},
        "expires_in": {"type": "integer", "description": "Seconds."},
        "refresh_token": {**_TEXT, "description": "With a code always, else when the old one ends soon."},
        "id_token": _TEXT,
    },
    "required": ["access_token", "token_type", "expires_in"],
    "additionalProperties": False,
}

_GRANT_ERRORS = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "authorization_pending",
    "slow_down",
    "access_denied",
    "expired_token",
]

_TOKEN: Json = _get(
    "post-auth-token",
    "oauth",
    "Tokens for a code, a refresh token or a device code",
    "Open to all, at most 2,048 octets. RFC 6749 and RFC 8628, but that failures are 400 always.",
    {
        "200": _answer("The tokens.", "application/json", _TOKENS),
        "400": _answer("The reason.", "application/json", _object(error={"enum": _GRANT_ERRORS})),
        **_problems(401, 404, 408, 413, 417, 421, 429, 431, 500),
    },
    requestBody={"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _GRANT}}},
)

_PAGE = _get(
    "get-docs",
    "description",
    "This description, as a page",
    "Open to all: the page itself holds nothing, and asks for credentials to fetch the description.",
    {"200": _answer("The page.", "text/html", _TEXT), **_problems(*_AROUND)},
)


def _asset(name: str, media: str) -> Json:
    return _get(
        f"get-docs-{name}",
        "description",
        "What the page of the description is made of",
        "Open to all.",
        {"200": _answer("The file.", media, _TEXT), **_problems(*_AROUND)},
    )


def _console(path: str, media: str) -> Json:
    return _get(
        "get" + re.sub(r"\W+", "-", path),
        "console",
        "What the console is made of",
        "Open to all: the files hold nothing.",
        {"200": _answer("The file.", media, _TEXT), **_problems(*_AROUND)},
    )


_BRAINYCP_PARAMETERS: Json = {
    "username": {**_TEXT, "description": "As for Basic credentials."},
    "password": {**_TEXT, "description": "As for Basic credentials."},
    "mailserver": {**_TEXT, "description": "Names the module; any value."},
    "list_msg": {**_TEXT, "description": "The messages; any value, as for all operations."},
    "count_msg": {**_TEXT, "description": "How many messages there are."},
    "delete_all_msg": {**_TEXT, "description": "Remove every message."},
    "dellete_forse": {**_TEXT, "description": "With `delete_all_msg`: for good."},
    "delete_frozen_msg": {**_TEXT, "description": "Remove every held message."},
    "controll_msg": {**_TEXT, "description": "Do `command` to the message `id`."},
    "command": {**_TEXT, "description": "`delete` or `reship`."},
    "id": {**_TEXT, "description": "The queue id."},
    "language": {**_TEXT, "description": "Of the texts: `en`, or Russian."},
}

_BRAINYCP_MESSAGE: Json = _object(
    id={"type": "integer"},
    size={"type": "integer", "description": "Octets."},
    age={"type": "integer", "description": "Seconds."},
    sender=_TEXT,
    recipients=_TEXTS,
    frozen={"type": "boolean", "description": "Held."},
)

_BRAINYCP_ANSWER: Json = {
    "type": "object",
    "properties": {
        "error": {"enum": [0, 100, 101, 102, 400], "description": "0: done."},
        "mess": _TEXT,
        "message": {**_TEXT, "description": "The same as `mess`."},
        "detail": {"anyOf": [{"type": "integer"}, _TEXTS, {"type": "array", "items": _BRAINYCP_MESSAGE}]},
    },
    "required": ["error", "mess", "message"],
    "additionalProperties": False,
}


def _brainycp(method: str, **parameters: Any) -> Json:
    return _get(
        f"{method}-api-php",
        "dialects",
        "The mail queue in the manner of BrainyCP",
        "Signs in with its own parameters. The status is 200 always; wrong credentials are error 400.",
        {
            "200": _answer("Done, or an error.", "application/json", _BRAINYCP_ANSWER),
            **_problems(*_AROUND, 401, 404),
        },
        **parameters,
    )


_BRAINYCP: Json = {
    "get": _brainycp(
        "get",
        parameters=[
            {"name": name, "in": "query", "schema": {"type": "string"}, "description": each["description"]}
            for name, each in _BRAINYCP_PARAMETERS.items()
        ],
    ),
    "post": _brainycp(
        "post",
        requestBody={
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "properties": _BRAINYCP_PARAMETERS},
                }
            },
        },
    ),
}

ELSEWHERE: dict[str, Json] = {
    "/healthz/live": {"get": _LIVE},
    "/healthz/ready": {"get": _READY},
    "/metrics": {"get": _metrics("/metrics")},
    "/metrics/prometheus": {"get": _metrics("/metrics/prometheus")},
    "/auth/token": {"post": _TOKEN},
    "/docs": {"get": _PAGE},
    "/docs/docs.css": {"get": _asset("css", "text/css")},
    "/docs/docs.js": {"get": _asset("js", "text/javascript")},
    "/api/api.php": _BRAINYCP,
    "/": DIRECTMAIL,
    **OAUTH,
    **{path: {"get": _console(path, media)} for path, media in media_types().items()},
}
"""Path -> method -> operation."""
