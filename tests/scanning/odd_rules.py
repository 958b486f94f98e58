"""Rules that misbehave when a message's Subject is "odd"."""

from __future__ import annotations

import ctypes
import os
import time

from relayd.spam.view import View


def _is_odd(view: View) -> bool:
    return view.subject == "odd"


def spin(view: View) -> None:
    """Takes CPU time without end."""
    while _is_odd(view):
        pass


def crash(view: View) -> None:
    """Reads where nothing is."""
    if _is_odd(view):
        ctypes.string_at(0)


def eat(view: View) -> None:
    """Takes memory without end."""
    if not _is_odd(view):
        return
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def end(view: View) -> None:
    """Ends the process."""
    if _is_odd(view):
        os._exit(3)


def wait(view: View) -> None:
    """Does nothing, for long."""
    if _is_odd(view):
        time.sleep(60)


def fail(view: View) -> None:
    """Has a bug."""
    raise ValueError("no")


def place(view: View) -> None:
    """Says where the client is."""
    view.tags.add("PLACE", "as the facts have it", f"{view.facts.address} {view.facts.origin}")
