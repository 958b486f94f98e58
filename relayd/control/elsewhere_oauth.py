"""The endpoints of OAuth that are no `Route`, for the description."""

from __future__ import annotations

from typing import Any

from relayd.control.openapi_errors import described

Json = dict[str, Any]

_HEADERS: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_NUMBER: Json = {"type": "integer"}


def _problems(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{described(status)}"} for status in statuses}


def _operation(name: str, summary: str, answer: Json, required: list[str], **rest: Any) -> Json:
    schema = {"type": "object", "properties": answer, "required": required, "additionalProperties": False}
    return {
        "tags": ["oauth"],
        "summary": summary,
        "operationId": name,
        "responses": {
            "200": {"description": "Done.", "headers": _HEADERS, "content": {"application/json": {"schema": schema}}},
            **_problems(401, 402, 403, 404, 408, 413, 417, 421, 429, 431, 500),
            "400": {
                "description": "The reason.",
                "headers": _HEADERS,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"error": _TEXT},
                            "required": ["error"],
                            "additionalProperties": False,
                        }
                    },
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
                },
            },
        },
        **rest,
    }


def _form(required: str, about: str) -> Json:
    schema = {"type": "object", "properties": {required: {**_TEXT, "description": about}}, "required": [required]}
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


_OPEN: Json = {"security": []}
_SIGNED_IN: Json = {"x-permission": "authenticate"}

_ENDPOINTS: Json = {
    "issuer": _TEXT,
    "authorization_endpoint": _TEXT,
    "token_endpoint": _TEXT,
    "device_authorization_endpoint": _TEXT,
    "introspection_endpoint": _TEXT,
    "grant_types_supported": _TEXTS,
    "response_types_supported": _TEXTS,
    "scopes_supported": _TEXTS,
    "token_endpoint_auth_methods_supported": _TEXTS,
}

_OPENID: Json = {
    **_ENDPOINTS,
    "userinfo_endpoint": _TEXT,
    "jwks_uri": _TEXT,
    "subject_types_supported": _TEXTS,
    "id_token_signing_alg_values_supported": _TEXTS,
    "claims_supported": _TEXTS,
}

_DEVICE: Json = {
    "device_code": {**_TEXT, "description": "To poll with, at `/auth/token`."},
    "user_code": {**_TEXT, "description": "To show; operation 1 lets the device in."},
    "verification_uri": _TEXT,
    "verification_uri_complete": _TEXT,
    "expires_in": {**_NUMBER, "description": "Seconds."},
    "interval": {**_NUMBER, "description": "Seconds between two polls."},
}

_TOKEN: Json = {
    "active": {"type": "boolean"},
    "client_id": _TEXT,
    "username": _TEXT,
    "token_type": _TEXT,
    "exp": _NUMBER,
    "iat": _NUMBER,
}

_USER: Json = {
    "sub": _TEXT,
    "preferred_username": _TEXT,
    "name": _TEXT,
    "email": _TEXT,
    "email_verified": {"type": "boolean"},
}

OAUTH: dict[str, Json] = {
    "/auth/device": {
        "post": _operation(
            "post-auth-device",
            "Codes for a device that has no keyboard (RFC 8628)",
            _DEVICE,
            list(_DEVICE),
            requestBody=_form("client_id", "At most 20 characters."),
            **_OPEN,
        )
    },
    "/auth/introspect": {
        "post": _operation(
            "post-auth-introspect",
            "Whether a token is good, and whose (RFC 7662)",
            _TOKEN,
            ["active"],
            requestBody=_form("token", "An access or refresh token."),
            **_SIGNED_IN,
        )
    },
    "/auth/userinfo": {
        "get": _operation("get-auth-userinfo", "Who asks", _USER, ["sub", "preferred_username", "name"], **_SIGNED_IN),
    },
    "/auth/jwks.json": {
        "get": _operation(
            "get-auth-jwks",
            "Keys of what is signed: none",
            {"keys": {"type": "array", "items": _TEXT}},
            ["keys"],
            **_OPEN,
        ),
    },
    "/.well-known/oauth-authorization-server": {
        "get": _operation(
            "get-oauth-authorization-server",
            "Where the endpoints are (RFC 8414)",
            _ENDPOINTS,
            list(_ENDPOINTS),
            **_OPEN,
        ),
    },
    "/.well-known/openid-configuration": {
        "get": _operation("get-openid-configuration", "Where the endpoints are", _OPENID, list(_OPENID), **_OPEN),
    },
}
"""Path -> method -> operation."""
