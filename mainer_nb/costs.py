"""What the steps of the mission cost, in instructions and cycles as the network counts them.

    measured = costs.measure()                       # with the default model, on a network of its own
    costs.usd(measured.of("generated token").cycles, usd_per_xdr=1.35)

Everything is done once on an embedded network that is made for it and removed afterwards, so nothing is left behind on
any other. Cycles are differences of balances, at the prices of a 13-node subnet of mainnet (localnet's `cycles`); there
an instruction costs one cycle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import artifacts, create, deploy, management, templates, upload
from .agent import Agent
from .artifacts import Artifact
from .canister import Canister
from .identity import Identity
from .localnet import cycles as prices
from .localnet import server
from .network import CREATOR, CanisterIds, IdsFile, Network
from .progress import Progress, amount

MB = 10**6
CYCLES_PER_XDR = 10**12  # by definition of a cycle
DAYS_PER_MONTH = 30
COPIED, OF_TEMPLATE = "LLM canister, the model copied", "LLM canister of a template"
TEMPLATE, STORAGE = "template", "template kept for a month"
QUESTION = "What is the capital of France?"


@dataclass(frozen=True)
class Cost:
    """What one `unit` costs.

    Attributes:
        instructions: wasm instructions; None where only the balance tells.
        cycles: spent.
        kept: cycles given along that stay a balance.
        note: what is in it.
        rounds: of messages between canisters, of an LLM's creation.
    """

    unit: str
    instructions: float | None
    cycles: float
    kept: float = 0.0
    note: str = ""
    rounds: int | None = None


@dataclass(frozen=True)
class Costs:
    """The costs of one model: its file's name and size in bytes, and an entry for each unit."""

    model: str
    size: int
    entries: tuple[Cost, ...]

    def of(self, unit: str) -> Cost:
        """The cost of a unit.

        Raises:
            KeyError: there is no such unit.
        """
        for entry in self.entries:
            if entry.unit == unit:
                return entry
        raise KeyError(unit)


def usd(cycles: float, usd_per_xdr: float) -> float:
    """What cycles cost on mainnet, where 10^12 of them cost one XDR."""
    return cycles / CYCLES_PER_XDR * usd_per_xdr


@dataclass(frozen=True)
class Budget:
    """What something whole costs: `what`, and the cycles that are spent and that stay a balance."""

    what: str
    spent: float
    kept: float = 0.0


def budget(costs: Costs, prompt_tokens: int, answer_tokens: int) -> list[Budget]:
    """The upload of the model, a mAIner with one LLM of it, and a challenge of so many tokens answered."""
    upload_, mainer, llm = costs.of("MB uploaded"), costs.of("mAIner canister"), costs.of(COPIED)
    tokens = prompt_tokens * costs.of("prompt token").cycles + answer_tokens * costs.of("generated token").cycles
    return [
        Budget(f"upload of {costs.model} ({amount(costs.size, 'B')})", upload_.cycles * costs.size / MB),
        Budget("a mAIner of type Own with one LLM", mainer.cycles + llm.cycles, mainer.kept + llm.kept),
        Budget(f"an answer: {prompt_tokens} tokens of prompt, {answer_tokens} generated", tokens),
    ]


def template_pays_from(costs: Costs, months: float = 1) -> int | None:
    """The number of LLMs from which a template that is kept so long costs less than copying the model into each.

    Returns:
        None: it never does.
    """
    saved = costs.of(COPIED).cycles - costs.of(OF_TEMPLATE).cycles
    whole = costs.of(TEMPLATE).cycles + months * costs.of(STORAGE).cycles
    return int(whole // saved) + 1 if saved > 0 else None


def measure(model: str | Path | None = None, progress: Progress | None = None) -> Costs:
    """Upload a model, make a mAIner and its LLM, ask it, and see what each took.

    Args:
        model: None: the default one.

    Raises:
        ArtifactError: the model is missing or damaged.
        NetworkError: no network can be started.
    """
    gguf = artifacts.model(model, progress)
    with _own_network() as net:
        deploy.deploy(net)
        upload.upload_controller(net, artifacts.canister_wasm(upload.CONTROLLER), progress)
        upload.upload_llm_wasm(net, artifacts.llm_wasm(progress), artifacts.describe(gguf).variant, progress)
        uploaded = _uploading(net, gguf, progress)
        mainer, controller_id = _making(
            net, "mAIner canister", lambda: create.create_mainer(net, "Own", progress=progress).controller_id
        )
        copied, llm_id = _llm(net, controller_id, COPIED, False, progress)
        of_template = _of_template(net, controller_id, progress)
        return Costs(gguf.name, gguf.size, (uploaded, mainer, copied, *of_template, *_tokens(net, llm_id, gguf)))


@contextmanager
def _own_network() -> Iterator[Network]:
    """An embedded network with nothing on it, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mainer-nb-costs-") as name:
        folder = Path(name)
        info = server.start(folder / "state")
        try:
            root_key = bytes.fromhex(info.root_key)
            agent = Agent(Identity(Ed25519PrivateKey.generate(), "costs"), info.url, root_key)
            ids = CanisterIds((IdsFile(folder / "ids.json", "icp-cli", "costs"),))
            net = Network("costs", "embedded", info.url, root_key, False, agent, ids)
            yield net
            net.close()
        finally:
            server.stop(folder / "state")


def _balance(net: Network, canister_id: str) -> int:
    return management.status(net.agent, canister_id).cycles


def _spent(net: Network, canister_id: str, action: Callable[[], str]) -> tuple[int, str]:
    """By how much the action lowered the canister's balance, and what it returned."""
    before = _balance(net, canister_id)
    result = action()
    return before - _balance(net, canister_id), result


def _uploading(net: Network, gguf: Artifact, progress: Progress | None) -> Cost:
    spent, _ = _spent(net, net.canister_id(CREATOR), lambda: upload.upload_model(net, gguf, progress).sha256)
    received = gguf.size * prices.INGRESS_BYTE
    return Cost(
        "MB uploaded",
        (spent - received) / gguf.size * MB,
        spent / gguf.size * MB,
        note="receiving it, storing it in stable memory, hashing it; instructions are what is spent beyond receiving",
    )


def _making(net: Network, unit: str, make: Callable[[], str], note: str = "") -> tuple[Cost, str]:
    """What making a canister takes from the creator, and its id."""
    spent, canister_id = _spent(net, net.canister_id(CREATOR), make)
    kept = _balance(net, canister_id)
    return Cost(unit, None, spent - kept, kept, note), canister_id


def _llm(net: Network, controller_id: str, unit: str, of_template: bool, progress: Progress | None) -> tuple[Cost, str]:
    """What an LLM takes from the creator, the template included if it is made for it; and its id."""
    cost, llm_id = _making(
        net,
        unit,
        lambda: create.add_llm(net, controller_id, progress=progress, of_template=of_template),
        "with the model loaded",
    )
    making = {llm.canister_id: llm.making for llm in create.mainer(net, controller_id).llms}[llm_id]
    return replace(cost, rounds=making.rounds if making else None), llm_id


def _of_template(net: Network, controller_id: str, progress: Progress | None) -> tuple[Cost, ...]:
    """What an LLM of a template costs, the template itself, and keeping it for a month."""
    before = _balance(net, net.canister_id(CREATOR))
    _llm(net, controller_id, TEMPLATE, True, progress)
    llm, _ = _llm(net, controller_id, OF_TEMPLATE, True, progress)
    (template,) = [file.template for file in upload.stored(net) if file.template]
    templates.use(net, False)  # the balance of its canister comes back
    spent = before - _balance(net, net.canister_id(CREATOR)) - 2 * (llm.cycles + llm.kept)
    return (
        llm,
        Cost(TEMPLATE, None, spent, note="made once for a model: a canister that loads it, and a snapshot of that"),
        Cost(STORAGE, None, template.cycles_per_day * DAYS_PER_MONTH, note=f"{amount(template.size, 'B')} in memory"),
    )


def _tokens(net: Network, llm_id: str, gguf: Artifact) -> tuple[Cost, ...]:
    """Tokens by the canister's own performance counter, and one answer by its balance."""
    llm = net.canister_at(llm_id, "llama_cpp")
    cost = llm.measure_token_cost()
    prompt, generated = cost["instructions_per_prompt_token"], cost["instructions_per_generated_token"]
    spent, _ = _spent(net, llm_id, lambda: _answer(llm, gguf))
    return (
        Cost("prompt token", prompt, prompt * prices.CYCLES_PER_INSTRUCTION),
        Cost("generated token", generated, generated * prices.CYCLES_PER_INSTRUCTION),
        Cost("answer", None, spent, note=f"one call, at most 8 tokens: {QUESTION}"),
    )


def _answer(llm: Canister, gguf: Artifact) -> str:
    form = artifacts.describe(gguf).prompt
    stops = [word for stop in form.stop for word in ("--reverse-prompt", stop)]
    prompt = f"{form.prefix}{QUESTION}{form.suffix}"
    return str(llm.run_update({"args": ["--temp", "0", *stops, "-n", "8", "-p", prompt]})["output"])
