"""Give the creator what mAIners are made of: the wasm of mAIner canisters, that of LLMs, a model.

    upload.upload_all(net)                               # all three, with the default model
    upload.upload_model(net, artifacts.model("qwen2.5-0.5b-instruct-q8_0"))

An upload is announced with size and sha256, sent in chunks with several in flight, and taken into use by the creator
once it has computed the same sha256. An interrupted upload continues where it stopped; a file that is there is not
sent again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import artifacts, models, stopping
from .artifacts import Artifact
from .canister import Canister, case
from .errors import ArtifactCorrupt, CanisterError, TransportError
from .network import CREATOR, Network, alone
from .progress import Progress, ProgressTask, Silent

IN_FLIGHT = 4  # chunks under way at once

CONTROLLER = "mainer_ctrlb_canister"


@dataclass(frozen=True)
class Uploaded:
    """A file that the creator has verified and can use.

    Attributes:
        target: MainerControllerWasm, LlmWasm or LlmModel.
        model: the model that it is for; "" for the mAIner canister.
        size: bytes.
        sha256: hex, as the creator computed it.
        sent: bytes sent now; 0 if it was there already.
        seconds: for all of it.
    """

    target: str
    model: str
    file: str
    size: int
    sha256: str
    sent: int
    seconds: float

    @property
    def skipped(self) -> bool:
        """Whether it was there already."""
        return self.sent == 0

    @property
    def bytes_per_second(self) -> float:
        """Bytes sent per second of the whole, verification included."""
        return self.sent / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Template:
    """A snapshot of an LLM canister that has loaded a model; the creator makes LLMs of it.

    Attributes:
        canister_id: of the canister that the snapshot belongs to, and that has nothing else.
        size: bytes.
        cycles_per_day: what that canister pays for it.
        current: whether it was made of the files that the creator has now; if not, the next LLM replaces it.
    """

    canister_id: str
    size: int
    cycles_per_day: int
    current: bool


@dataclass(frozen=True)
class StoredFile:
    """A file at the creator.

    Attributes:
        target, model, size, sha256: as of `Uploaded`.
        created_at: nanoseconds since 1970.
        template: of a model, what LLMs with it are made of.
    """

    target: str
    model: str
    size: int
    sha256: str
    created_at: int
    template: Template | None = None


def upload_all(net: Network, model: str | Path | None = None, progress: Progress | None = None) -> list[Uploaded]:
    """Upload the wasm of mAIner canisters, that of LLMs and a model, with the form in which that model is asked.

    Every file is checked before anything is sent.

    Args:
        model: a name of `artifacts.model_names`, or a path; None: the default model.

    Raises:
        PreconditionError: the creator is not deployed.
        ArtifactError: a file is missing or damaged.
        CanisterError: Unauthorized, if the caller is not a controller of the creator.
        TransportError: the network does not answer.
    """
    net.canister_id(CREATOR)
    controller = artifacts.canister_wasm(CONTROLLER)
    gguf = artifacts.model(model, progress)
    variant = artifacts.describe(gguf).variant
    llm = artifacts.llm_wasm(progress)
    return [
        upload_controller(net, controller, progress),
        upload_llm_wasm(net, llm, variant, progress),
        upload_model(net, gguf, progress),
    ]


def upload_controller(net: Network, wasm: Artifact, progress: Progress | None = None) -> Uploaded:
    """Upload the wasm of which mAIner canisters are made; errors as of `upload_all`."""
    return _upload(net, {"MainerControllerWasm": None}, wasm, progress)


def upload_llm_wasm(
    net: Network, wasm: Artifact, variant: models.ModelVariant, progress: Progress | None = None
) -> Uploaded:
    """Upload the wasm of which the LLM canisters for a model are made; errors as of `upload_all`."""
    return _upload(net, {"LlmWasm": variant}, wasm, progress)


def upload_model(net: Network, gguf: Artifact, progress: Progress | None = None) -> Uploaded:
    """Upload a model and the form in which it is asked; errors as of `upload_all`."""
    model = artifacts.describe(gguf)
    creator = net.canister(CREATOR)
    uploaded = _upload(net, {"LlmModel": model.variant}, gguf, progress)
    creator.setModelPromptFormat(model.variant, model.prompt.candid())
    return uploaded


def stored(net: Network) -> list[StoredFile]:
    """What the creator has and can use."""
    records = net.canister(CREATOR).getArtefacts()
    return [
        StoredFile(
            *_target(record["target"]),
            record["size"],
            record["sha256"].hex(),
            record["createdAt"],
            _template(record["template"]),
        )
        for record in records
    ]


def _template(record: dict[str, Any] | None) -> Template | None:
    if record is None:
        return None
    return Template(record["canisterId"], record["size"], record["cyclesPerDay"], record["current"])


def _target(target: dict[str, Any]) -> tuple[str, str]:
    """Target and model of an UploadTarget."""
    kind = case(target)
    return kind, models.variant_text(target[kind]) if target[kind] else ""


def _upload(net: Network, target: dict[str, Any], artifact: Artifact, progress: Progress | None) -> Uploaded:
    with alone(net.name, "upload"):  # what another process is sending is there when it is done
        return _send_missing(net, target, artifact, progress)


def _send_missing(net: Network, target: dict[str, Any], artifact: Artifact, progress: Progress | None) -> Uploaded:
    begun = time.monotonic()
    creator = net.canister(CREATOR)
    announced = {"target": target, "size": artifact.size, "sha256": bytes.fromhex(artifact.sha256)}
    status = creator.uploadBegin(announced)
    sent = 0
    if not status["finished"]:
        with (progress or Silent()).task(
            f"upload {artifact.name}", artifact.size, "B", done=_received(status), steady=True
        ) as task:
            sent = _send(creator, announced, artifact, status, task)
            task.note("being verified")
            status = _finish(creator, announced)
    if status["sha256"].hex() != artifact.sha256:
        raise TransportError(f"the creator has another {artifact.name}: sha256 {status['sha256'].hex()}")
    return Uploaded(*_target(target), artifact.name, artifact.size, artifact.sha256, sent, time.monotonic() - begun)


def _received(status: dict[str, Any]) -> int:
    return int(min(status["chunksReceived"] * status["chunkSize"], status["size"]))


def _send(
    creator: Canister, announced: dict[str, Any], artifact: Artifact, status: dict[str, Any], task: ProgressTask
) -> int:
    """Send the chunks that are missing, several at once; the number of bytes sent."""
    chunk_size = status["chunkSize"]
    key = {"target": announced["target"], "sha256": announced["sha256"]}

    def send(number: int) -> int:
        with artifact.path.open("rb") as file:
            file.seek(number * chunk_size)
            chunk = file.read(chunk_size)
        if len(chunk) != min(chunk_size, artifact.size - number * chunk_size):
            raise ArtifactCorrupt(f"{artifact.path} changed while it was uploaded; run the upload again")
        creator.uploadChunk({**key, "offset": number * chunk_size, "chunk": chunk})
        return len(chunk)

    sent = 0
    while status["missing"]:
        for _, length in stopping.parallel(send, status["missing"], IN_FLIGHT):
            task.advance(length)
            sent += length
        status = creator.uploadStatus(announced["target"])
    return sent


def _finish(creator: Canister, announced: dict[str, Any]) -> dict[str, Any]:
    """Have the creator hash the whole, which takes it several messages; its last status."""
    key = {"target": announced["target"], "sha256": announced["sha256"]}
    hashed = -1
    while True:
        status: dict[str, Any] = creator.uploadFinish(key)
        if status["finished"]:
            return status
        if status["hashedBytes"] <= hashed:
            raise CanisterError(
                creator.canister_id, "uploadFinish", "Other", f"makes no progress after {hashed} bytes", creator.name
            )
        hashed = status["hashedBytes"]
