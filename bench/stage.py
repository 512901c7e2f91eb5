"""The steps of the mission that measures need done, and what they are done with."""

from __future__ import annotations

import sys
from pathlib import Path

from measure import BENCH

from mainer_nb import artifacts, create, deploy, upload
from mainer_nb.artifacts import Artifact
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.network import CREATOR, Network

sys.path.append(str(BENCH.parent))  # where the tiny model is made
from tests import tiny_gguf

T = 10**12


def model(folder: Path, quick: bool, width: int = 64) -> Artifact:
    """The default model, or with `quick` one of random weights, made in `folder`: of `width` 64 it has 0.5 MB, of 512
    21 MB.
    """
    return (
        artifacts.model(tiny_gguf.write(folder / "tiny.gguf", context=2048, width=width))
        if quick
        else artifacts.model()
    )


def deployed(net: Network) -> Canister:
    """The creator, once both canisters are deployed."""
    deploy.deploy(net)
    return net.canister(CREATOR)


def uploaded(net: Network, gguf: Artifact) -> Canister:
    """The creator, once it has all that mAIners are made of."""
    creator = deployed(net)
    upload.upload_all(net, gguf.path)
    return creator


def own_mainer(net: Network, gguf: Artifact, llms: int) -> Mainer:
    """A mAIner of type Own with so many LLMs on a new network."""
    uploaded(net, gguf)
    return create.ensure(net, Plan(own=1, llms_per_own=llms, services=0, agents=0))[0]


def llm(net: Network, canister_id: str) -> Canister:
    """An LLM canister, as many tokens a call as the instruction limit allows."""
    canister = net.canister_at(canister_id, "llama_cpp")
    canister.set_max_tokens({"max_tokens_update": 0, "max_tokens_query": 0})
    return canister
