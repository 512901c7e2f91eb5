"""Upload of the model into the creator, checked by sha256, against stock clients in the original way.

    python bench/uploads.py [--quick]

The original way: start_upload_mainer_llm, then upload_mainer_llm_bytes_chunk with 1.9 MB at a time, each awaited before
the next. Stock ic-py is measured on the first chunks only, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import clients
import measure
import stage
from clients import EncodeBlob, Key, Update
from inside import Inside, bare_call, served
from measure import Figure

from mainer_nb import network, upload
from mainer_nb.artifacts import Artifact
from mainer_nb.canister import Canister
from mainer_nb.protocol import candid

CHUNK = 1_900_000


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    ic_py_chunks, core_chunks = (1, 3) if chosen.quick else (8, 40)
    with measure.own_places() as folder:
        gguf = stage.model(folder, chosen.quick, width=512)
        with served(folder) as inside:
            bare = _bare(inside, gguf, core_chunks)
        key = Key()
        net = network.connect(identity=key.save(folder / "key.pem"))
        creator = stage.deployed(net)
        ours = upload.upload_model(net, gguf)
        stock = _original_way(creator, gguf, key.ic_py(net).update_raw, clients.ic_py_blob, ic_py_chunks)
        core = _original_way(creator, gguf, key.icp_py_core_update(net), clients.icp_py_core_blob, core_chunks)
        net.close()
    rate = ours.bytes_per_second / 1e6
    whole = f"{ours.size / 1e6:.0f} MB in {ours.seconds:.1f} s"
    figures = [
        Figure(
            "upload of the model, sha256 checked", rate, "MB/s", "stock ic-py, the original way", stock / 1e6,
            target=100, note=f"{whole}; ic-py measured on the first {ic_py_chunks} chunks of {CHUNK} bytes",
        ),
        Figure(
            "upload of the model, sha256 checked", rate, "MB/s", "stock icp-py-core, the original way", core / 1e6,
            target=3, note=f"icp-py-core measured on the first {core_chunks} chunks",
        ),
        Figure("upload of the model, sha256 checked", rate, "MB/s", "the bare wasm calls, in-process", bare / 1e6),
    ]  # fmt: skip
    measure.report("uploads", "Upload into the creator", figures, chosen)


def _bare(inside: Inside, gguf: Artifact, calls: int) -> float:
    """Bytes per second of the creator's wasm alone, hashing included, which no network can do without."""
    creator = stage.deployed(inside.net)
    with gguf.path.open("rb") as file:
        chunk = file.read(CHUNK)
    announced = {"target": {"LlmModel": {"Other": "for the bare calls"}}, "sha256": bytes.fromhex(gguf.sha256)}
    creator.uploadBegin({**announced, "size": gguf.size})
    arg = candid.encode(creator.methods["uploadChunk"].args, [{**announced, "offset": 0, "chunk": chunk}])
    call = bare_call(inside, creator.canister_id, "canister_update uploadChunk", arg, "U")
    call()
    return len(chunk) * calls / sum(measure.latencies(call, calls))


def _original_way(creator: Canister, gguf: Artifact, update: Update, encode: EncodeBlob, chunks: int) -> float:
    """Bytes per second."""
    creator.start_upload_mainer_llm()
    with gguf.path.open("rb") as file:
        parts = [file.read(CHUNK) for _ in range(chunks)]

    def send() -> None:
        for part in parts:
            update(creator.canister_id, "upload_mainer_llm_bytes_chunk", encode(part))

    return sum(map(len, parts)) / measure.seconds_of(send)


if __name__ == "__main__":
    main()
