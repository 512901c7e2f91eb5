"""Templates: the creator keeps a snapshot of an LLM canister that has loaded its model, and makes further LLMs of it.

    templates.use(net, True)
    upload.stored(net)[-1].template      # the one of the model, once an LLM was made

Making an LLM of a template takes no copy of the model. The snapshot takes memory, which costs cycles on mainnet.
"""

from __future__ import annotations

from .errors import RejectError
from .network import CREATOR, Network


def use(net: Network, wanted: bool | None) -> bool:
    """Have the creator make LLMs of templates, or not; then it deletes those that it has and keeps their cycles.

    Args:
        wanted: None: where cycles are made from nothing; on mainnet as it is.

    Returns:
        Whether templates are used from now on; never by a creator that does not offer them.

    Raises:
        CanisterError: Unauthorized, if the caller is not a controller of the creator.
    """
    creator = net.canister(CREATOR)
    try:
        now = bool(creator.getTemplates())
        if wanted is None:
            wanted = now or not net.mainnet
        if wanted != now:
            creator.setTemplates(wanted)
    except RejectError as error:
        if not error.not_offered:
            raise
        return False
    return wanted
