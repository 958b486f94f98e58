"""The description of the API (OpenAPI 3.1), made of what its routes declare.

Nothing is described by hand but what no route can declare: the errors that every operation may answer, the ways to sign
in, and the few paths outside `/api` (`elsewhere`).  Of our own: `x-permission` (and `x-or-permission`: either does),
`x-operation` (number of the operation in the API it comes from), `x-unavailable` (of a later version), `x-wildcard` (a
path element that may hold slashes).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import msgspec

from relayd.control.elsewhere import ELSEWHERE
from relayd.control.openapi_errors import FAILURES, HEADERS, PROBLEM, RESPONSES, described
from relayd.control.queries import parameters_of
from relayd.control.routes import EVENTS, JSON, OCTETS, Route

Json = dict[str, Any]

_ELEMENT = re.compile(r"\{(\w+)(?::([^{}]*))?\}")

_ELEMENTS = {
    "messages/id": "The queue id: the decimal number of the 250 reply.",
    "quarantine/id": "The queue id of a held message.",
    "reports/id": "The id of a report, as the list gives it.",
    "dmarc/id": "The id of a report, as the list gives it.",
    "tls/id": "The id of a report, as the list gives it.",
    "arf/id": "The id of a report, as the list gives it.",
    "account": "The name of an account.",
    "{account}/id": "The id of an access key.",
    "sending-addresses/address": "A sending address.",
    "webhooks/id": "The id of a webhook, as the configuration has it.",
    "suppression/id": "The id of an entry, as the list gives it.",
    "dkim/id": "The id of a signature.",
    "account_id": "The name of an account.",
    "address": "An IP address.",
    "blob_id": "The hash of the content, as `blob_hash` of a message: base64url without padding.",
    "destination": "The destination, as a suspension names it.",
    "domain": "A domain.",
    "key": "The key of a setting.",
    "message_id": "The queue id of a message, or its Message-ID with or without angle brackets.",
    "part": "What to take anew: `lookup`, `certificate` or `server.blocked-ip`; anything else is everything.",
    "prefix": "The kind of keys.",
    "principal_id": "The name of a principal.",
    "name": "The name of an account, domain or tenant.",
    "recipient": "An address, or a bare domain.",
    "host": "The name of a host that mail goes to.",
    "store": "The name of a store; `default` is the default one.",
    "trace_id": "The id of a trace, or several with commas between them.",
}
"""What the elements of paths are: by the element before and the name, or by the name."""

_INFO = """\
Success is 200 `{"data": value}`. What was understood and could not be carried out is 200 too, with `error` and no
`data`. Everything else is a problem (RFC 7807) with the status it names.

A parameter without a value counts as absent, of a repeated one the last counts, unknown ones are ignored; a number that
is none is absent where nothing is changed. The Content-Type of a JSON body is not looked at. Ids are 64-bit numbers."""

_SIGNING_IN: Json = {
    "basic": {"type": "http", "scheme": "basic", "description": "Name and secret; with TOTP `secret$123456`."},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of /auth/token, or `api_` and the base64 of an API key's `name:secret`.",
    },
    "streamToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "A token of 60 seconds for streams of one kind, percent-encoded.",
    },
}

_COMMON = (400, 401, 402, 403, 404, 408, 413, 417, 421, 429, 431, 500, 503)
"""Statuses that any operation under `/api` may answer: all of them come from what surrounds the handler."""


def document(routes: Sequence[Route], version: str) -> Json:
    """The description of `routes` and of the paths elsewhere.  version: of this program.

    Raises TypeError for a route whose types have no JSON Schema.
    """
    schemas, components = _schemas(routes)
    paths: dict[str, Json] = {}
    for route in sorted(routes, key=lambda each: (each.area, each.path)):
        path = _ELEMENT.sub(r"{\1}", "/api" + route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, schemas)
    for path, item in ELSEWHERE.items():
        paths.setdefault(path, {}).update(item)
    return {
        "openapi": "3.1.0",
        "info": {"title": "relayd control socket", "version": version, "description": _INFO},
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "tags": [{"name": each} for each in _areas(paths)],
        "paths": paths,
        "components": {
            "schemas": {**FAILURES, "Problem": PROBLEM, **components},
            "responses": RESPONSES,
            "headers": HEADERS,
            "securitySchemes": _SIGNING_IN,
        },
    }


def _areas(paths: Mapping[str, Json]) -> list[str]:
    return sorted({tag for item in paths.values() for operation in item.values() for tag in operation["tags"]})


def _schemas(routes: Iterable[Route]) -> tuple[dict[int, Json], Json]:
    """Schemas by the identity of the declared type, and the components that they refer to."""
    types: list[Any] = []
    for route in routes:
        types += [each for each in (route.body, route.answer) if each is not bytes]
    found, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {id(declared): schema for declared, schema in zip(types, found, strict=True)}, components


def _operation(route: Route, path: str, schemas: Mapping[int, Json]) -> Json:
    operation: Json = {
        "tags": [route.area],
        "summary": route.summary,
        "operationId": _identifier(route.method, path),
        "x-permission": route.permission,
    }
    about = [inspect.getdoc(route.handler) or ""] if route.available else []
    if route.or_permission:
        operation["x-or-permission"] = route.or_permission
        about.append(f"Permission: `{route.permission}` or `{route.or_permission}`.")
    elif route.or_permissions:
        operation["x-or-permissions"] = list(route.or_permissions)
        about.append(f"Permission, by the type: {', '.join(f'`{each}`' for each in route.opened_by)}.")
    else:
        about.append(f"Permission: `{route.permission}`.")
    if route.operation:
        operation["x-operation"] = route.operation
    if not route.available:
        operation["x-unavailable"] = True
        about.append("Not available in this version: the answer is the error `unsupported`.")
    operation["description"] = "\n\n".join(each for each in about if each)
    if route.media == EVENTS:
        operation["security"] = [{"basic": []}, {"bearer": []}, {"streamToken": []}]
    parameters = [*_elements(route), *_query(route), *_headers_read(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = _body(route, schemas)
    operation["responses"] = {"200": _success(route, schemas)} | _ranges(route) | _problems(*_COMMON)
    return operation


def _problems(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{described(status)}"} for status in statuses}


def _headers_read(route: Route) -> list[Json]:
    if route.media != OCTETS or route.method != "GET":
        return []
    schema = {"type": "string", "examples": ["bytes=0-1023"]}
    return [{"name": "Range", "in": "header", "description": "A part of the answer (RFC 9110).", "schema": schema}]


def _ranges(route: Route) -> Json:
    """What the answer to a Range header may be."""
    if route.media != OCTETS or route.method != "GET":
        return {}
    headers = {**_headers(), "Content-Range": {"required": True, "schema": {"type": "string", "pattern": "^bytes "}}}
    part = {"description": "The part that was asked for.", "headers": headers, "content": {OCTETS: {}}}
    return {"206": part, **_problems(416)}


def _identifier(method: str, path: str) -> str:
    return method.lower() + re.sub(r"[^a-z0-9]+", "-", path.lower()).rstrip("-")


def _elements(route: Route) -> list[Json]:
    found = []
    parts = route.path.split("/")
    for before, part in pairwise(parts):
        match = _ELEMENT.fullmatch(part)
        if match is None:
            continue
        name, pattern = match.groups()
        about = _ELEMENTS.get(f"{before}/{name}") or _ELEMENTS.get(name, name)
        element: Json = {"name": name, "in": "path", "required": True, "description": about}
        if pattern:
            element["description"] += " May be empty, and may hold slashes."
            element |= {"schema": {"type": "string"}, "x-wildcard": True}
        else:
            element["schema"] = {"type": "string", "minLength": 1}
        found.append(element)
    return found


def _query(route: Route) -> list[Json]:
    found = []
    for _, declared in parameters_of(cast(Any, route.query)):
        own, *others = declared.names
        found.append({"name": own, "in": "query", "description": declared.doc, "schema": dict(declared.kind.schema)})
        found += [
            {"name": each, "in": "query", "description": f"The same as `{own}`.", "schema": dict(declared.kind.schema)}
            for each in others
        ]
    return found


def _body(route: Route, schemas: Mapping[int, Json]) -> Json:
    if route.body is bytes:
        return {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
    return {"required": not _may_be_empty(route.body), "content": {JSON: {"schema": schemas[id(route.body)]}}}


def _may_be_empty(declared: Any) -> bool:
    """Whether no body at all is one of this type: it is read as an object without keys."""
    try:
        msgspec.json.decode(b"{}", type=declared)
    except msgspec.ValidationError:
        return False
    return True


def _success(route: Route, schemas: Mapping[int, Json]) -> Json:
    """The answer 200: what was asked for, or an error of form A."""
    failed: Json = {"$ref": "#/components/schemas/Failure"}
    answer: Json = {"description": "Done, or refused with `error`.", "headers": _headers()}
    if not route.available:
        unsupported = {"$ref": "#/components/schemas/Unsupported"}
        return answer | {"description": "Not available.", "content": {JSON: {"schema": unsupported}}}
    if route.method == "HEAD":
        return answer
    if route.media != JSON:
        # binary has no schema: OpenAPI 3.1 says so by leaving it out
        return answer | {"content": {route.media: {}, JSON: {"schema": failed}}}
    if route.bare:
        return answer | {"content": {JSON: {"schema": schemas[id(route.answer)]}}}
    success = {
        "type": "object",
        "properties": {"data": schemas[id(route.answer)]},
        "required": ["data"],
        "additionalProperties": False,
    }
    return answer | {"content": {JSON: {"schema": {"oneOf": [success, failed]}}}}


def _headers() -> Json:
    return {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
