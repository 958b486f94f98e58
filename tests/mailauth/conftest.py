"""Properties here are tried as those of tests/fuzz are: its profile is loaded."""

from __future__ import annotations

import tests.fuzz.conftest  # noqa: F401
