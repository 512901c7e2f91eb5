"""No number of a gguf file is used before it is checked: whatever is wrong with a file, the error names it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import artifacts, gguf_header, loadable, models
from mainer_nb.errors import ArtifactCorrupt, ArtifactError

Write = Callable[..., Path]
ALIGNMENT = "general.alignment"
LAST_NAME = b"blk.0.attn_q.weight"  # in the header
UINT8, UINT32, STRING, ARRAY, UINT64 = 0, 4, 8, 9, 10
TEMPLATE = "{% for m in messages %}<u>{{ m.content }}<a>{% endfor %}"
ABSURD = (0, 1, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 60, 1 << 62, 1 << 63, (1 << 64) - 1)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, length: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, length) + content


def tensor(name: str = "t", shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(entries: list[bytes], tensors: list[bytes] = [], n: tuple[int, int] | None = None) -> bytes:  # noqa: B006
    tensor_count, entry_count = n or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", 3, tensor_count, entry_count) + b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(64)


def aligned(number: int) -> bytes:
    return entry(ALIGNMENT, UINT64, struct.pack("<Q", number))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(gguf([entry("a", ARRAY, array(STRING, 1 << 62))]), "claims to have", id="2^62 texts"),
        pytest.param(gguf([entry("a", ARRAY, array(UINT8, 1 << 62))]), "ends at byte", id="2^62 bytes"),
        pytest.param(gguf([entry("a", ARRAY, array(UINT64, (1 << 64) - 1))]), "ends at byte", id="2^64 numbers"),
        pytest.param(gguf([entry("a", ARRAY, array(ARRAY, 1 << 62))]), "array of arrays", id="nested"),
        pytest.param(gguf([entry("a", ARRAY, array(ARRAY, 1, array(UINT8, 1)))]), "array of arrays", id="small nested"),
        pytest.param(gguf([entry("a", ARRAY, array(77, 1))]), "unknown value type 77", id="array of what"),
        pytest.param(gguf([entry("a", 99, b"")]), "unknown value type 99", id="value of what"),
        pytest.param(gguf([struct.pack("<Q", 1 << 63)]), "a key at byte", id="endless key"),
        pytest.param(gguf([struct.pack("<Q", 70_000) + bytes(100_000)]), "a key at byte", id="long key"),
        pytest.param(gguf([entry("a", UINT8, b"1"), entry("a", UINT8, b"2")]), "key 'a' twice", id="key twice"),
        pytest.param(gguf([], [tensor(), tensor()]), "tensor 't' twice", id="tensor twice"),
        pytest.param(b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + bytes(99), "it is big-endian", id="big-endian"),
        pytest.param(gguf([], n=(1 << 60, 0)), "claims to have 1152921504606846976 tensors", id="2^60 tensors"),
        pytest.param(gguf([], n=(0, 1 << 60)), "1152921504606846976 metadata entries", id="2^60 entries"),
        pytest.param(gguf([], [tensor(shape=(4, 0))]), "impossible shape", id="no rows"),
        pytest.param(gguf([], [tensor(shape=())]), "has 0 dimensions", id="no dimensions"),
        pytest.param(gguf([], [tensor(shape=(1,) * 5)]), "has 5 dimensions", id="five dimensions"),
        pytest.param(gguf([], [text("t") + struct.pack("<I", (1 << 32) - 1)]), "4294967295 dim", id="2^32 dims"),
        pytest.param(gguf([], [tensor(shape=(1 << 40, 1 << 40))]), "impossible shape", id="overflow"),
        pytest.param(gguf([], [tensor(shape=(1 << 32, 1 << 32))]), "impossible shape", id="overflow to 0"),
        pytest.param(gguf([], [tensor(shape=(31,), kind=8)]), "no multiple of 32", id="part of a block"),
        pytest.param(gguf([], [tensor(kind=1234)]), "unknown type 1234", id="type"),
        pytest.param(gguf([], [tensor(offset=1 << 63)]), "the file at", id="offset"),
        pytest.param(gguf([], [tensor(offset=5)]), "no multiple of 32", id="odd offset"),
        *(
            pytest.param(gguf([aligned(n)], [tensor()]), "power of two", id=f"alignment {n}")
            for n in (0, 3, 48, 1 << 40, (1 << 64) - 1)
        ),
        pytest.param(gguf([entry(ALIGNMENT, STRING, text("32"))]), "power of two", id="alignment in words"),
        pytest.param(gguf([entry(ALIGNMENT, 7, b"\1")]), "power of two", id="alignment true"),
        pytest.param(gguf([entry(ALIGNMENT, ARRAY, array(UINT8, 1, b" "))]), "power of two", id="alignments"),
        pytest.param(gguf([entry(ALIGNMENT, 6, struct.pack("<f", 32.0))]), "power of two", id="alignment 32.0"),
    ],
)  # fmt: skip
def test_absurd_numbers_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=says) as caught:
        gguf_header.read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "key", ["general.architecture", "general.name", "general.file_type", "tokenizer.chat_template"]
)
@pytest.mark.parametrize(
    "value",
    [(UINT8, b"\7"), (STRING, text("x" * 300)), (ARRAY, array(UINT8, 3, b"abc")), (6, struct.pack("<f", float("nan")))],
    ids=["number", "text", "array", "nan"],
)
def test_values_of_another_type_are_no_raw_errors(tmp_path: Path, key: str, value: tuple[int, bytes]) -> None:
    path = tmp_path / "odd.gguf"
    others = [entry("general.architecture", STRING, text("llama"))] if key != "general.architecture" else []
    path.write_bytes(gguf([*others, entry(key, *value)], [tensor()]))
    outcome(path)


def outcome(path: Path) -> str:
    """What all that reads a gguf says of it: "" if it can be used, else the error, which names the file."""
    try:
        header = gguf_header.read(path)
        assert isinstance(loadable.problem(header, path), str)
        models.describe(path)
        artifacts.model(path)
    except ArtifactError as error:
        said = str(error)
    else:
        return ""
    assert path.name in said
    return said


def test_every_truncation_is_an_error_that_names_the_file(project: Path, write_gguf: Write) -> None:
    whole = write_gguf(
        project / "files/small.gguf", "{% for m in messages %}<u>{{ m.content }}<a>{% endfor %}"
    ).read_bytes()
    path = project / "files/cut.gguf"
    path.write_bytes(whole)
    assert outcome(path) == ""
    header = whole.index(LAST_NAME) + 100
    for length in (*range(header), *range(header, len(whole), 501), len(whole) - 1):
        path.write_bytes(whole[:length])
        assert outcome(path), f"cut at {length}"


def test_mutations_are_used_or_refused_but_never_a_raw_error(project: Path, write_gguf: Write) -> None:
    whole = write_gguf(
        project / "files/small.gguf", "{% for m in messages %}<u>{{ m.content }}<a>{% endfor %}"
    ).read_bytes()
    header = whole.index(LAST_NAME) + 60
    path, chance, refused = project / "files/mutated.gguf", random.Random(8), 0
    for _ in range(1_500):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(4, header)
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at : at + 8] = struct.pack("<Q", chance.choice(ABSURD))
                case 2:
                    data[at : at + 4] = struct.pack("<I", chance.choice(ABSURD) & 0xFFFFFFFF)
                case 3:
                    del data[at : at + chance.randint(1, 9)]
        path.write_bytes(data)
        refused += outcome(path) != ""
    assert 500 < refused < 1_500
