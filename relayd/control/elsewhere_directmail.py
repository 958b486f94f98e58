"""The DirectMail dialect, for the description: one path, where `Action` names the operation."""

from __future__ import annotations

from typing import Any

from relayd.control.openapi_errors import described

Json = dict[str, Any]

_HEADERS: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
_TEXT: Json = {"type": "string"}

_ACTIONS = (
    "CreateMailAddress",
    "QueryMailAddressByParam",
    "ModifyMailAddress",
    "DeleteMailAddress",
    "CheckReplyToMailAddress",
    "ApproveReplyMailAddress",
    "UpdateMailAddressMsgCallBackUrl",
    "GetMailAddressMsgCallBackUrl",
)

_PARAMETERS: Json = {
    "Action": {**_TEXT, "enum": list(_ACTIONS), "description": "The operation; `x-acs-action` with ACS3."},
    "AccessKeyId": {**_TEXT, "description": "Who signs; in `Authorization` with ACS3."},
    "Signature": {**_TEXT, "description": "HMAC-SHA1 version 1.0; with ACS3-HMAC-SHA256 in `Authorization`."},
    "SignatureNonce": {**_TEXT, "description": "Taken once; `x-acs-signature-nonce` with ACS3."},
    "Timestamp": {**_TEXT, "description": "At most 15 minutes off; `x-acs-date` with ACS3."},
    "Format": {**_TEXT, "description": "`JSON` or `XML`; else by `Accept`, else XML."},
    "AccountName": {**_TEXT, "description": "The address to make."},
    "Sendtype": {**_TEXT, "description": "`batch` or `trigger`."},
    "ReplyAddress": {**_TEXT, "description": "Where answers go."},
    "KeyWord": {**_TEXT, "description": "In the addresses to list."},
    "PageNo": {**_TEXT, "description": "From 1."},
    "PageSize": {**_TEXT, "description": "Addresses of a page, 10 by default."},
    "MailAddressId": {**_TEXT, "description": "The address that is meant."},
    "Password": {**_TEXT, "description": "With which the address signs in to SMTP."},
    "Ticket": {**_TEXT, "description": "That was mailed to the reply address."},
    "MailFrom": {**_TEXT, "description": "The address whose outcomes somebody is told of."},
    "NotifyUrl": {**_TEXT, "description": "Who is told; empty: nobody."},
}


def _forms(schema: Json) -> Json:
    return {"application/json": {"schema": schema}, "text/xml": {"schema": _TEXT}}


_ANSWER: Json = {"type": "object", "properties": {"RequestId": _TEXT}, "required": ["RequestId"]}
_ERROR: Json = {
    "type": "object",
    "properties": {"RequestId": _TEXT, "HostId": _TEXT, "Code": _TEXT, "Message": _TEXT},
    "required": ["RequestId", "HostId", "Code", "Message"],
    "additionalProperties": False,
}
_PROBLEM: Json = {"schema": {"$ref": "#/components/schemas/Problem"}}


def _error(description: str) -> Json:
    content = {**_forms(_ERROR), "application/problem+json": _PROBLEM}
    return {"description": description, "headers": _HEADERS, "content": content}


def _operation(method: str, more: Json, **parameters: Any) -> Json:
    """more: other forms that a good answer may have."""
    around = (401, 403, 408, 413, 417, 421, 429, 431, 500)
    return {
        "tags": ["dialects"],
        "summary": "Sending addresses in the manner of DirectMail",
        "operationId": f"{method}-directmail",
        "description": "Signed with an access key, which acts as its account (`relayd account access-key create`).",
        "security": [],
        "responses": {
            "200": {"description": "Done.", "headers": _HEADERS, "content": {**_forms(_ANSWER), **more}},
            "400": _error("Why it was not done."),
            "404": _error("No such access key, or no such operation."),
            "503": _error("Not now."),
            **{str(status): {"$ref": f"#/components/responses/{described(status)}"} for status in around},
        },
        **parameters,
    }


DIRECTMAIL: Json = {
    "get": _operation(
        "get",
        {"text/html": {"schema": {**_TEXT, "description": "The console, for who asks for no operation."}}},
        parameters=[
            {"name": name, "in": "query", "schema": {"type": "string"}, "description": each["description"]}
            for name, each in _PARAMETERS.items()
        ],
    ),
    "post": _operation(
        "post",
        {},
        requestBody={
            "content": {
                "application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": _PARAMETERS}},
            },
        },
    ),
}
"""Method -> operation, at `/`."""
