"""The canisters of the mAIner protocol on an embedded network, for tests: a Game State, a mAIner Creator, and what is
made with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainer_nb import artifacts, management, places
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from mainer_nb.protocol import principal
from tests.forwarder import Forwarder

TRILLION = 10**12
BILLION = 10**9
CREATION_FEE = 500 * BILLION
SUBMISSION_CYCLES = 100 * BILLION
SHARE_CYCLES = 100 * BILLION
MINIMUM_BALANCE = 250 * BILLION
CHUNK = 1_900_000

CONTROLLER_WASM = {"MainerControllerWasm": None}
TINY = {"Other": "tiny"}
LLM_WASM = {"LlmWasm": TINY}
LLM_MODEL = {"LlmModel": TINY}

# The tiny model writes a token a character; so few tokens a call that prompt and answer each take several.
TOKENS_PER_CALL = 50
PROMPT_FORMAT = {"prefix": "Q: ", "suffix": "\nA:", "stop": ["\n"]}


def someone(running: server.Info) -> Agent:
    """Somebody new on the network."""
    return Agent(Identity(Ed25519PrivateKey.generate(), "someone"), running.url, bytes.fromhex(running.root_key))


def text_of(agent: Agent) -> str:
    """The principal an agent calls as."""
    return str(agent.identity.sender())


def did(name: str) -> Any:
    return places.files() / f"{name}.did"


def deploy(agent: Agent, name: str, cycles: int) -> Canister:
    """A new canister with the shipped code of `name`, such as game_state_canister."""
    canister_id = management.create_canister(agent, cycles)
    management.install_code(agent, canister_id, artifacts.canister_wasm(name).data(), "install")
    return Canister(agent, canister_id, did(name), name)


def next_id(canister_id: str) -> str:
    """The id that the network gives to the canister created after `canister_id`."""
    data = principal.from_text(canister_id)
    number = int.from_bytes(data[:8], "big") + 1
    return principal.to_text(number.to_bytes(8, "big") + data[8:])


def upload(
    creator: Canister, target: dict[str, Any], data: bytes, order: Callable[[list[int]], list[int]] = list
) -> Any:
    """Uploads what is missing of `data`, in the order that `order` makes of the chunk numbers; the final status."""
    sha256 = hashlib.sha256(data).digest()
    status = creator.uploadBegin({"target": target, "size": len(data), "sha256": sha256})
    for number in order(status["missing"]):
        status = send_chunk(creator, target, data, number)
    while not status["finished"]:
        status = creator.uploadFinish({"target": target, "sha256": sha256})
    return status


def send_chunk(creator: Canister, target: dict[str, Any], data: bytes, number: int) -> Any:
    """Uploads chunk `number` of `data`; the status after it."""
    chunk = data[number * CHUNK : (number + 1) * CHUNK]
    sha256 = hashlib.sha256(data).digest()
    return creator.uploadChunk({"target": target, "sha256": sha256, "offset": number * CHUNK, "chunk": chunk})


@dataclass
class Protocol:
    """A Game State and a creator that know each other, controlled by `owner`."""

    running: server.Info
    owner: Agent
    game_state: Canister
    creator: Canister

    @classmethod
    def deploy(cls, running: server.Info, creator_cycles: int = 200 * TRILLION) -> Protocol:
        owner = someone(running)
        game_state = deploy(owner, "game_state_canister", 100 * TRILLION)
        creator = deploy(owner, "mainer_creator_canister", creator_cycles)
        creator.setMasterCanisterId(game_state.canister_id)
        game_state.addOfficialCanister({"address": creator.canister_id, "canisterType": "MainerCreator"})
        game_state.setInitialChallengeTopics()
        return cls(running, owner, game_state, creator)

    def upload_artefacts(self, llm_wasm: bytes, model: bytes) -> None:
        upload(self.creator, CONTROLLER_WASM, artifacts.canister_wasm("mainer_ctrlb_canister").data())
        upload(self.creator, LLM_WASM, llm_wasm)
        upload(self.creator, LLM_MODEL, model)
        self.creator.setModelPromptFormat(TINY, PROMPT_FORMAT)

    def mainer(self, kind: str, share_service: Canister | None = None) -> Canister:
        """Creates a mAIner canister."""
        service = None if share_service is None else share_service.canister_id
        made = self.creator.testCreateMainerControllerCanister(kind, service)
        return Canister(self.owner, made["newCanisterId"], did("mainer_ctrlb_canister"), f"mAIner {kind}")

    def llm(self, mainer: Canister) -> Canister:
        """Creates an LLM for a mAIner, quick to answer."""
        made = self.creator.testCreateMainerLlmCanister(mainer.canister_id)
        llm = Canister(self.owner, made["newCanisterId"], did("llama_cpp"), "LLM")
        llm.set_max_tokens({"max_tokens_update": TOKENS_PER_CALL, "max_tokens_query": 1})
        return llm

    def as_official(self, role: str) -> Canister:
        """The Game State as a new Challenger, Judge or MainerCreator sees it."""
        agent = someone(self.running)
        self.game_state.addOfficialCanister({"address": text_of(agent), "canisterType": role})
        return self.seen_by(agent, self.game_state)

    def official_canister(self, name: str, *llm_ids: str) -> Canister:
        """A new challenger_canister or judge_canister, official at the Game State, with these LLMs."""
        canister = deploy(self.owner, name, 10 * TRILLION)
        role = {"challenger_canister": "Challenger", "judge_canister": "Judge"}[name]
        self.game_state.addOfficialCanister({"address": canister.canister_id, "canisterType": role})
        canister.setGameStateCanisterId(self.game_state.canister_id)
        for llm_id in llm_ids:
            canister.add_llm_canister({"canister_id": llm_id})
        return canister

    def open_challenge(self, question: str = "Why?") -> dict[str, Any]:
        """Opens a challenge as a Challenger does."""
        challenger = self.as_official("Challenger")
        topic = challenger.getRandomOpenChallengeTopic()
        challenge: dict[str, Any] = challenger.addChallenge(
            {**topic, "challengeQuestion": question, "challengeQuestionSeed": 1}
        )
        return challenge

    def registered_forwarder(self) -> Forwarder:
        """A canister that the Game State takes for a mAIner of the owner's."""
        forwarder = Forwarder(self.owner, 100 * TRILLION)
        self.game_state.addMainerAgentCanisterAdmin(self.registration(forwarder.canister_id, "Own"))
        return forwarder

    def submit(self, mainer: Forwarder, challenge: dict[str, Any], answer: str = "Because.") -> str:
        """Submits an answer to a challenge as a mAIner of the owner's; the id of the submission."""
        entry = queued(challenge, mainer.canister_id, mainer.canister_id)
        told = answered(entry, mainer.canister_id, answer)
        result, _ = mainer.call(self.game_state, "submitChallengeResponse", told, cycles=SUBMISSION_CYCLES)
        return str(result["Ok"]["submissionId"])

    def registration(self, address: str, kind: str) -> dict[str, Any]:
        """What registers a mAIner of the owner's."""
        return {
            "address": address,
            "canisterType": "MainerAgent",
            "ownedBy": text_of(self.owner),
            "mainerAgentCanisterType": kind,
        }

    def stable_memory(self, canister: Canister) -> int:
        """Bytes of stable memory a canister has."""
        ic = Canister(self.owner, "aaaaa-aa", MEMORY_STATUS, "management canister")
        target = {"canister_id": canister.canister_id}
        status = ic.canister_status(target, effective_canister_id=canister.canister_id)
        return int(status["memory_metrics"]["stable_memory_size"])

    def upgrade(self, canister: Canister) -> None:
        """Upgrades a canister with the shipped code it has, stopped so that no call of its own is under way."""
        wasm = artifacts.canister_wasm(INTERFACES[canister.name.split()[0]]).data()
        management.stop(self.owner, canister.canister_id)
        management.install_code(self.owner, canister.canister_id, wasm, "upgrade")
        management.start(self.owner, canister.canister_id)

    def seen_by(self, agent: Agent, canister: Canister) -> Canister:
        """The same canister, called by somebody else."""
        return Canister(agent, canister.canister_id, did(INTERFACES[canister.name.split()[0]]), canister.name)

    def stranger(self, canister: Canister) -> Canister:
        """The same canister, called by somebody unknown to it."""
        return self.seen_by(someone(self.running), canister)

    def cycles(self, canister: Canister | str) -> int:
        """The balance, as the network tells the owner."""
        canister_id = canister if isinstance(canister, str) else canister.canister_id
        return management.status(self.owner, canister_id).cycles


MEMORY_STATUS = """
service : {
  canister_status : (record { canister_id : principal }) ->
      (record { memory_metrics : record { stable_memory_size : nat } });
}
"""


def queued(challenge: dict[str, Any], by: str, to: str, number: int = 1) -> dict[str, Any]:
    """A challenge as it stands in a queue."""
    return {
        **challenge,
        "challengeQueuedId": f"queued-{number}",
        "challengeQueuedBy": by,
        "challengeQueuedTo": to,
        "challengeQueuedTimestamp": 1,
    }


def answered(entry: dict[str, Any], by: str, answer: str = "Because.") -> dict[str, Any]:
    """The answer to a queued challenge."""
    return {**entry, "challengeAnswer": answer, "challengeAnswerSeed": 2, "submittedBy": by}


INTERFACES = {
    "game_state_canister": "game_state_canister",
    "mainer_creator_canister": "mainer_creator_canister",
    "challenger_canister": "challenger_canister",
    "judge_canister": "judge_canister",
    "mAIner": "mainer_ctrlb_canister",
    "LLM": "llama_cpp",
}
