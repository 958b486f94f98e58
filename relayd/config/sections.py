"""Every section of the configuration, gathered from the packages that declare them."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from relayd.control import options as control
from relayd.delivery import options as delivery
from relayd.directory import options as directory
from relayd.filters import options as filters
from relayd.listener import options as listener
from relayd.mail import options as mail
from relayd.mailauth import options as mailauth
from relayd.mailauth import signature_options as signing
from relayd.options import Raw, Section, section_of
from relayd.queue import options as queue
from relayd.reception import options as reception
from relayd.reputation import options as reputation
from relayd.resolver import options as resolver
from relayd.routing import options as routing
from relayd.routing import source_options as sources
from relayd.routing.shaping import options as shaping
from relayd.spam import dnsbl_options as dnsbl
from relayd.spam import geo_options as geo
from relayd.spam import options as spam
from relayd.telemetry import options as telemetry
from relayd.webhooks import options as webhooks

MODULES: tuple[ModuleType, ...] = (
    mail,
    listener,
    control,
    directory,
    reputation,
    reception,
    mailauth,
    signing,
    spam,
    filters,
    dnsbl,
    geo,
    queue,
    routing,
    sources,
    shaping,
    resolver,
    delivery,
    telemetry,
    webhooks,
)
"""The modules of declarations, in the order of the generated file."""


def sections_in(module: ModuleType) -> list[type[Any]]:
    """The classes that `module` itself declares as sections, in the order of its text."""
    found = []
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__ and is_section(value):
            found.append(value)
    return found


def is_section(cls: type[Any]) -> bool:
    """Whether a class was declared with `@section`."""
    try:
        section_of(cls)
    except KeyError:
        return False
    return True


ALL_SECTIONS: tuple[type[Any], ...] = tuple(cls for module in MODULES for cls in sections_in(module))

DEFAULT_RECORDS: Mapping[str, Mapping[str, Mapping[str, Raw]]] = {
    "server.listener.<id>": {
        "smtp": {"bind": ["127.0.0.1:2525"], "protocol": "smtp"},
        "http": {"bind": ["127.0.0.1:8080"], "protocol": "http"},
    },
    "tracer.<id>": {
        "stdout": {"type": "stdout", "level": "info"},
        "log": {"type": "log", "level": "info"},
    },
}
"""Records that are there while the file has no table of their section: one written record replaces them all."""


def declared(classes: tuple[type[Any], ...] = ALL_SECTIONS) -> tuple[Section, ...]:
    """The sections of `classes`."""
    return tuple(section_of(cls) for cls in classes)
