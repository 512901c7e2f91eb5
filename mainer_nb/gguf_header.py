"""The header of a gguf file, read without the tensors and without the vocabulary.

A model's vocabulary is an array of some hundred thousand strings; `gguf.GGUFReader` makes an object of each. Here
arrays are skipped, so that a header takes milliseconds. The file is checked at the same time: a truncated or damaged
file is refused. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from .errors import ArtifactCorrupt, ArtifactMissing

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MOST_ENTRIES = 1 << 20  # of metadata or tensors; more means a damaged file
MOST_NAME_BYTES = 1 << 16  # of a key or a tensor's name
MOST_DIMENSIONS = 4
MOST_ALIGNMENT = 1 << 20
MOST_SHOWN = 100  # characters of a value in a message

SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}


@dataclass(frozen=True)
class Tensor:
    """`shape`: the row's length first; `offset` in the data section and `size`: bytes."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class ArrayAt:
    """An array that was stepped over: of what, how many, and where in the file its elements begin."""

    kind: GGUFValueType
    length: int
    offset: int


@dataclass(frozen=True)
class Header:
    """`metadata`: key to value, arrays as their `ArrayAt`, of whatever type the file has: see `text`, `number`,
    `flag`, `texts`, which give a value if it is of that type; `size`: bytes of the file.
    """

    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    size: int

    @property
    def parameters(self) -> int:
        """How many numbers all tensors have."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    def text(self, key: str) -> str | None:
        """The text at `key`; None if there is none, or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """The whole number at `key`, at least 0; None if there is none, or something else."""
        value = self.metadata.get(key)
        return value if type(value) is int and value >= 0 else None

    def flag(self, key: str) -> bool | None:
        """The truth value at `key`; None if there is none, or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, bool) else None

    def texts(self, key: str) -> ArrayAt | None:
        """The array of texts at `key`; None if there is none, or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, ArrayAt) and value.kind == GGUFValueType.STRING else None


def read(path: Path) -> Header:
    """The header of the gguf file at `path`.

    Raises:
        ArtifactMissing: there is no such file.
        ArtifactCorrupt: it is not a whole gguf file.
    """
    with _mapped(path) as data:
        return _Cursor(data, path).header()


def string_at(path: Path, array: ArrayAt, index: int) -> str:
    """The element `index` of an array of strings."""
    with _mapped(path) as data:
        cursor = _Cursor(data, path, array.offset)
        for _ in range(index):
            cursor.skip(cursor.scalar("<Q"))
        return cursor.string()


def invalid_text(path: Path, header: Header) -> str:
    """The key of a text, or of an array with a text, that is not UTF-8; "" if there is none."""
    with _mapped(path) as data:
        for key, value in header.metadata.items():
            if isinstance(value, str) and "\ufffd" in value and not _is_utf8(data, value):
                return key
            if isinstance(value, ArrayAt) and value.kind == GGUFValueType.STRING and not _are_utf8(data, value):
                return key
    return ""


def _is_utf8(data: mmap.mmap, value: str) -> bool:
    """Whether a text with replacement characters has them in the file as well."""
    return data.find(value.encode()) >= 0


def _are_utf8(data: mmap.mmap, array: ArrayAt) -> bool:
    at, length_at = array.offset, struct.Struct("<Q").unpack_from
    try:
        for _ in range(array.length):
            end = at + 8 + length_at(data, at)[0]
            data[at + 8 : end].decode("utf-8")
            at = end
    except UnicodeDecodeError:
        return False
    return True


def _mapped(path: Path) -> mmap.mmap:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe waits for somebody who writes to it
            raise ArtifactMissing(f"{path} is not a file, but a folder, pipe or device; give the path of a gguf file")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ArtifactMissing(f"no model file {path}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise ArtifactCorrupt(f"{path} is empty; get the model file again") from error
    except OSError as error:
        raise ArtifactMissing(f"cannot read the model file {path}: {error.strerror}") from error


class _Cursor:
    """A position in the file, moving forward. No number of the file is used before it is checked against its size."""

    def __init__(self, data: mmap.mmap, path: Path, at: int = 0) -> None:
        self.data, self.path, self.at = data, path, at

    def corrupt(self, reason: str) -> ArtifactCorrupt:
        return ArtifactCorrupt(f"{self.path} is not a usable gguf file: {reason}. Get the model file again.")

    def skip(self, length: int) -> None:
        if length > len(self.data) - self.at:
            raise self.corrupt(f"it ends at byte {len(self.data)}, in the middle of its header (truncated?)")
        self.at += length

    def scalar(self, form: str) -> Any:
        at = self.at
        self.skip(struct.calcsize(form))
        return struct.unpack_from(form, self.data, at)[0]

    def string(self) -> str:
        length = self.scalar("<Q")
        at = self.at
        self.skip(length)
        return self.data[at : self.at].decode("utf-8", errors="replace")

    def name(self, what: str) -> str:
        """A string that must be short, as a key."""
        length = self.scalar("<Q")
        if length > MOST_NAME_BYTES:
            raise self.corrupt(f"{what} at byte {self.at} claims to have {length} bytes")
        self.at -= 8
        return self.string()

    def count(self, what: str) -> int:
        count = self.scalar("<Q")
        if count > MOST_ENTRIES:
            raise self.corrupt(f"it claims to have {count} {what}")
        return int(count)

    def kind(self) -> GGUFValueType:
        number = self.scalar("<I")
        try:
            return GGUFValueType(number)
        except ValueError as error:
            raise self.corrupt(f"unknown value type {number} at byte {self.at - 4}") from error

    def value(self, kind: GGUFValueType) -> Any:
        if kind == GGUFValueType.STRING:
            return self.string()
        if kind == GGUFValueType.ARRAY:
            return self.array()
        return self.scalar(SCALARS[kind])

    def array(self) -> ArrayAt:
        kind, length = self.kind(), self.scalar("<Q")
        if kind == GGUFValueType.ARRAY:
            raise self.corrupt(f"it has an array of arrays at byte {self.at}, which gguf readers do not take")
        here = ArrayAt(kind, length, self.at)
        if kind == GGUFValueType.STRING:
            self.skip_strings(length)
        else:
            self.skip(struct.calcsize(SCALARS[kind]) * length)
        return here

    def skip_strings(self, count: int) -> None:
        """Step over `count` strings; without a function call each, as vocabularies are long."""
        at, data, length_at, last = self.at, self.data, struct.Struct("<Q").unpack_from, len(self.data) - 8
        if count > (len(data) - at) // 8:  # the length alone of each takes eight bytes
            raise self.corrupt(f"an array at byte {at} claims to have {count} texts, more than fit into the file")
        for _ in range(count):
            if at > last:
                break
            at += 8 + length_at(data, at)[0]
        self.skip(at - self.at)

    def header(self) -> Header:
        if self.data[:4] != MAGIC:
            raise self.corrupt(f"it begins with {self.data[:4]!r} instead of {MAGIC!r}")
        self.skip(4)
        version = self.scalar("<I")
        if version and version % (1 << 16) == 0:  # the low bytes are at the other end
            raise self.corrupt("it is big-endian; convert the model for little-endian machines, or get such a file")
        if version not in VERSIONS:
            raise self.corrupt(f"its version is {version}; versions {VERSIONS} can be used")
        tensors, entries = self.count("tensors"), self.count("metadata entries")
        metadata = self.metadata(entries)
        infos = self.tensor_infos(tensors)
        self.check_tensors(infos, alignment=metadata.get("general.alignment", DEFAULT_ALIGNMENT))
        return Header(metadata, tuple(infos), len(self.data))

    def metadata(self, entries: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(entries):
            key = self.name("a key")
            if key in found:
                raise self.corrupt(f"it has the key {key!r} twice")
            found[key] = self.value(self.kind())
        return found

    def tensor_infos(self, tensors: int) -> list[Tensor]:
        found: dict[str, Tensor] = {}
        for _ in range(tensors):
            tensor = self.tensor()
            if tensor.name in found:
                raise self.corrupt(f"it has the tensor {tensor.name!r} twice")
            found[tensor.name] = tensor
        return list(found.values())

    def tensor(self) -> Tensor:
        name, dimensions = self.name("the name of a tensor"), self.scalar("<I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self.corrupt(f"tensor {name!r} has {dimensions} dimensions; 1 to {MOST_DIMENSIONS} are possible")
        shape = tuple(int(self.scalar("<Q")) for _ in range(dimensions))
        number, offset = self.scalar("<I"), self.scalar("<Q")
        try:
            kind = GGMLQuantizationType(number)
            block, block_bytes = GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError) as error:
            raise self.corrupt(f"tensor {name!r} is of the unknown type {number}") from error
        elements = math.prod(shape)
        if not 0 < elements < 1 << 63:
            raise self.corrupt(f"tensor {name!r} has the impossible shape {shape}")
        if shape[0] % block:
            raise self.corrupt(
                f"tensor {name!r} has rows of {shape[0]} numbers, no multiple of {block}, a block of {kind.name}"
            )
        return Tensor(name, kind, shape, offset, elements // block * block_bytes)

    def check_tensors(self, tensors: list[Tensor], alignment: object) -> None:
        """The alignment is a power of two, as it multiplies offsets; every tensor lies in the file."""
        if not (type(alignment) is int and 0 < alignment <= MOST_ALIGNMENT and alignment & (alignment - 1) == 0):
            raise self.corrupt(f"its general.alignment is {_shown(alignment)}; it must be a power of two")
        start = -(-self.at // alignment) * alignment
        for tensor in tensors:
            end = start + tensor.offset + tensor.size
            if tensor.offset % alignment:
                raise self.corrupt(f"tensor {tensor.name!r} begins at {tensor.offset}, no multiple of {alignment}")
            if end > len(self.data):
                raise self.corrupt(
                    f"tensor {tensor.name!r} ends at byte {end}, the file at {len(self.data)} (truncated?)"
                )


def _shown(value: object) -> str:
    """A value of a file, for a message, where it may be anything."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
