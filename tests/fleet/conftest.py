"""Networks at the mission's stages, with a fleet to operate."""

from __future__ import annotations

import pytest

from mainer_nb import fleet
from mainer_nb.create import Mainer
from mainer_nb.fleet import Fleet
from mainer_nb.network import CREATOR, GAME_STATE, Network
from tests.stages import *  # noqa: F403


@pytest.fixture
def whole(uploaded: Network, mainers: list[Mainer]) -> Fleet:
    """The protocol's canisters and these mAIners with their LLMs; other tests may have made more."""
    protocol = [uploaded.canister_id(role) for role in (GAME_STATE, CREATOR)]
    return fleet.of(uploaded).only([*protocol, *(each for mainer in mainers for each in mainer.canister_ids)])
