"""Properties are about answers, not about speed: no deadline.  RELAYD_FUZZ=long tries many more examples."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("short", deadline=None)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("RELAYD_FUZZ", "short"))
