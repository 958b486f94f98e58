"""The answers of the DirectMail dialect: JSON or XML around the same names, and its error codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import msgspec
from aiohttp import web

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class DirectMailError(Exception):
    """A request is answered with an error.  code: the dialect's.  status: of HTTP."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def missing(parameter: str) -> DirectMailError:
    """A mandatory parameter is not there."""
    return DirectMailError(f"Missing{parameter}", f"{parameter} is mandatory for this action.")


def wants_json(format: str, accept: str) -> bool:
    """By the parameter Format, else by the Accept header; XML when neither says JSON."""
    if format:
        return format.strip().lower() == "json"
    return any(each.partition(";")[0].strip().lower() == "application/json" for each in accept.split(","))


def answer(body: Mapping[str, Any], root: str, *, json: bool, status: int = 200) -> web.Response:
    """An answer.  root: the name of the XML element around it."""
    if json:
        return web.Response(
            status=status, body=msgspec.json.encode(body), content_type="application/json", charset="utf-8"
        )
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{"".join(_elements(body))}</{root}>'
    return web.Response(status=status, body=text.encode(), content_type="text/xml", charset="utf-8")


def _elements(body: Mapping[str, Any]) -> list[str]:
    """Each name as an element, a list as one element for each of its items."""
    found = []
    for name, value in body.items():
        for each in value if isinstance(value, list) else [value]:
            inner = "".join(_elements(each)) if isinstance(each, Mapping) else escape(_NO_XML.sub("\ufffd", str(each)))
            found.append(f"<{name}>{inner}</{name}>")
    return found
