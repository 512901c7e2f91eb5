"""Ask every mAIner its helper endpoints, and the network for its canisters.

    for result in check.check_all(net):
        assert result.ok, result.problems

A call that fails is an answer too: what went wrong is in its text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import conditions, create, stopping
from .canister import case
from .create import Mainer
from .errors import CallError
from .network import Network
from .upload import CONTROLLER

AT_ONCE = 8


@dataclass(frozen=True)
class EndpointAnswer:
    """What an endpoint answered: `ok`, and in `text` the status code, the type, or what went wrong."""

    ok: bool
    text: str


@dataclass(frozen=True)
class Check:
    """The answers of one mAIner's helper endpoints; the fields bear the endpoints' names. `canisters`: whether its
    canisters are there and run, as the network says.
    """

    mainer: Mainer
    canisters: EndpointAnswer
    amiController: EndpointAnswer
    health: EndpointAnswer
    ready: EndpointAnswer
    checkAccessToLLMs: EndpointAnswer
    getMainerCanisterType: EndpointAnswer

    @property
    def answers(self) -> dict[str, EndpointAnswer]:
        """The answers by endpoint."""
        return {name: getattr(self, name) for name in ENDPOINTS}

    @property
    def ok(self) -> bool:
        """Whether every endpoint answered as it should."""
        return not self.problems

    @property
    def problems(self) -> dict[str, str]:
        """What went wrong, by endpoint."""
        return {name: answer.text for name, answer in self.answers.items() if not answer.ok}


ENDPOINTS = ("canisters", "amiController", "health", "ready", "checkAccessToLLMs", "getMainerCanisterType")


def check(net: Network, mainer: Mainer) -> Check:
    """Ask one mAIner. A call that fails is an answer that is not ok; nothing is raised for it."""
    controller = net.canister_at(mainer.controller_id, CONTROLLER)

    def status(endpoint: str) -> EndpointAnswer:
        code = getattr(controller, endpoint)()["status_code"]
        return EndpointAnswer(code == 200, str(code))

    def type_() -> EndpointAnswer:
        found = case(controller.getMainerCanisterType())
        return EndpointAnswer(found == mainer.kind, found)

    return Check(
        mainer,
        canisters=_answer(lambda: _canisters(net, mainer)),
        amiController=_answer(lambda: status("amiController")),
        health=_answer(lambda: status("health")),
        ready=_answer(lambda: status("ready")),
        checkAccessToLLMs=_answer(lambda: status("checkAccessToLLMs")),
        getMainerCanisterType=_answer(type_),
    )


def check_all(net: Network, mainers: list[Mainer] | None = None) -> list[Check]:
    """Ask several mAIners at once; errors as of `create.mainers`.

    Args:
        mainers: None: all there are.
    """
    asked = create.mainers(net) if mainers is None else mainers
    return stopping.every(lambda mainer: check(net, mainer), asked, AT_ONCE)


def _canisters(net: Network, mainer: Mainer) -> EndpointAnswer:
    wrong = [
        f"{'' if canister.canister_id == mainer.controller_id else 'LLM '}{canister.canister_id} {canister.problem}. "
        f"{canister.remedy}"
        for canister in conditions.of(net, mainer.canister_ids).values()
        if canister.problem
    ]
    return EndpointAnswer(not wrong, "; ".join(wrong) or "running")


def _answer(ask: Callable[[], EndpointAnswer]) -> EndpointAnswer:
    try:
        return ask()
    except CallError as error:
        return EndpointAnswer(False, str(error))
