"""Properties are about answers, not about speed: no deadline.  The profile "long" tries many more examples."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("relayd", deadline=None)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile("relayd")
