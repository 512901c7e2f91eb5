"""The header of a gguf file, read without the tensors and without the vocabulary.

A model's vocabulary is an array of some hundred thousand strings; `gguf.GGUFReader` makes an object of each. Here
arrays are stepped over, so that a header takes milliseconds. The file is checked on the way: a truncated or damaged
file does not get through. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
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
class Header:
    """`metadata`: key to value, arrays as their `ArrayAt`; `parameters`: numbers in all tensors; `size`: bytes of the
    file.
    """

    metadata: dict[str, Any]
    parameters: int
    tensors: int
    size: int


@dataclass(frozen=True)
class ArrayAt:
    """An array that was stepped over: of what, how many, and where in the file its elements begin."""

    kind: GGUFValueType
    length: int
    offset: int


def read(path: Path) -> Header:
    """The header of the gguf file at `path`.

    Raises ArtifactMissing if there is no such file, ArtifactCorrupt if it is not a whole gguf file.
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


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ArtifactMissing(f"no model file {path}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise ArtifactCorrupt(f"{path} is empty; get the model file again") from error
    except OSError as error:
        raise ArtifactMissing(f"cannot read the model file {path}: {error.strerror}") from error


class _Cursor:
    """A position in the file, moving forward."""

    def __init__(self, data: mmap.mmap, path: Path, at: int = 0) -> None:
        self.data, self.path, self.at = data, path, at

    def corrupt(self, reason: str) -> ArtifactCorrupt:
        return ArtifactCorrupt(f"{self.path} is not a usable gguf file: {reason}. Get the model file again.")

    def skip(self, length: int) -> None:
        if self.at + length > len(self.data):
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
        here = ArrayAt(kind, length, self.at)
        if kind in SCALARS:
            self.skip(struct.calcsize(SCALARS[kind]) * length)
        elif kind == GGUFValueType.STRING:
            self.skip_strings(length)
        else:
            for _ in range(length):
                self.array()
        return here

    def skip_strings(self, count: int) -> None:
        """Step over `count` strings; without a function call each, as vocabularies are long."""
        at, data, length_at, last = self.at, self.data, struct.Struct("<Q").unpack_from, len(self.data) - 8
        for _ in range(count):
            at += 8 + length_at(data, min(at, last))[0]
        self.skip(at - self.at)

    def header(self) -> Header:
        if self.data[:4] != MAGIC:
            raise self.corrupt(f"it begins with {self.data[:4]!r} instead of {MAGIC!r}")
        self.skip(4)
        version = self.scalar("<I")
        if version not in VERSIONS:
            raise self.corrupt(f"its version is {version}; versions {VERSIONS} can be used")
        tensors, entries = self.count("tensors"), self.count("metadata entries")
        metadata = {self.string(): self.value(self.kind()) for _ in range(entries)}
        infos = [self.tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        start = -(-self.at // alignment) * alignment
        for name, _, offset, size in infos:
            if start + offset + size > len(self.data):
                raise self.corrupt(
                    f"tensor {name} ends at byte {start + offset + size}, the file at {len(self.data)} (truncated?)"
                )
        return Header(metadata, sum(info[1] for info in infos), tensors, len(self.data))

    def tensor(self) -> tuple[str, int, int, int]:
        """Name, number of elements, offset in the data section, size in bytes."""
        name, dimensions = self.string(), self.scalar("<I")
        elements = 1
        for _ in range(dimensions):
            elements *= self.scalar("<Q")
        number, offset = self.scalar("<I"), self.scalar("<Q")
        try:
            block, block_size = GGML_QUANT_SIZES[GGMLQuantizationType(number)]
        except (ValueError, KeyError) as error:
            raise self.corrupt(f"tensor {name} is of the unknown type {number}") from error
        return name, elements, offset, elements // block * block_size
