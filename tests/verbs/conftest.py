"""Networks at the mission's stages."""

from __future__ import annotations

from tests.stages import *  # noqa: F403
