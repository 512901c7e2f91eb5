"""A ShareService that is at an answer, for tests of what happens to it then."""

from __future__ import annotations

import threading
from contextlib import suppress

from mainer_nb import operate
from mainer_nb.errors import CallError
from mainer_nb.network import Network

TRIES = 20


def begun(net: Network, service_id: str, agent_id: str) -> tuple[threading.Thread, set[str]]:
    """A thread in which a ShareService is at the answer to a challenge of its ShareAgent's, and the ids of the
    submissions that there were before.

    An answer that was given before anybody could look is followed by another.
    """

    def answer() -> None:
        with suppress(CallError):  # if the ShareAgent is stopped when the answer comes
            operate.trigger(net, service_id)

    service = operate.mainer_canister(net, service_id)
    for number in range(TRIES):
        operate.make_room(net, challenges=1, submissions=2)
        operate.open_challenge(net, "arithmetic", f"What is one and {number}?", seed=7)
        operate.trigger(net, agent_id)
        known = operate.submission_ids(net)
        thread = threading.Thread(target=answer)
        thread.start()
        while thread.is_alive():
            if service.getWorkStatusAdmin()["answering"] is not None:
                return thread, known
        thread.join()
    raise AssertionError(f"{TRIES} answers were over before anybody could look")


def dropped(net: Network, *mainer_ids: str) -> int:
    """How many challenges these mAIners have given up."""
    return sum(failure.dropped for mainer_id in mainer_ids for failure in operate.failures(net, mainer_id) or [])
