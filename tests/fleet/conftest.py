"""Networks at the mission's stages, with a fleet to operate."""

from __future__ import annotations

from tests.stages import *  # noqa: F403
