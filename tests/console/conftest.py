"""The console's files come from the control socket, so its fixtures are what is needed."""

from tests.control.conftest import control, options, rig, setting, world

__all__ = ["control", "options", "rig", "setting", "world"]
