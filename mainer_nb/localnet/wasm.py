"""Canister modules as bytes: what a module declares, and the form in which it is executed.

Two things are done here, both on the binary format (https://webassembly.github.io/spec/core/binary):

* `inspect` reads what the IC interface specification, section "Canister module format", asks of a
  module: its exports, imports, custom sections, whether its memory is 32- or 64-bit.
* `instrument` returns the same module with its memory, first table, mutable globals and start
  function exported under names that no canister can use, and with the start section removed. The
  engine needs them to save, restore and enter a canister's state.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ..protocol.leb128 import leb128

MAGIC = b"\0asm\x01\0\0\0"
GZIP_MAGIC = b"\x1f\x8b"
#: Limit on the size of an uncompressed module (mainnet: 100 MiB).
MAX_MODULE = 100 * 1024 * 1024
#: Further limits of the IC ("Canister resource limits").
MAX_CODE = 10 * 1024 * 1024
MAX_FUNCTIONS = 50_000
MAX_GLOBALS = 1_000
MAX_METHODS = 1_000
MAX_METHOD_NAMES = 20_000
MAX_CUSTOM_SECTIONS = 16
MAX_CUSTOM_SIZE = 1024 * 1024
MAX_NAME = 1024 * 1024
#: Names that are longer are too long for the engine.
_MAX_ENGINE_NAME = 100_000
#: Limits of this network, since each costs time: sections of a module, and its data segments.
MAX_SECTIONS = 10_000
MAX_DATA_SEGMENTS = 10_000

#: Counts the changes of what `instrument` makes of a module.
INSTRUMENTED = 2
EXPORT_PREFIX = "ic:"
EXPORT_MEMORY = "ic:memory"
EXPORT_TABLE = "ic:table"
EXPORT_START = "ic:start"

_CUSTOM, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _GLOBAL, _EXPORT, _START, _CODE, _DATA = 0, 2, 3, 4, 5, 6, 7, 8, 10, 11
_NUMBERS = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_FUNC_KIND, _TABLE_KIND, _MEMORY_KIND, _GLOBAL_KIND, _TAG_KIND = range(5)

_HOOKS = (
    "canister_init",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_inspect_message",
    "canister_heartbeat",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
)


class InvalidModule(ValueError):
    """The bytes are not a canister module; the text says why."""


class MethodKind(StrEnum):
    """How a public method of a canister can be called."""

    UPDATE = "update"
    QUERY = "query"
    COMPOSITE_QUERY = "composite_query"

    def export(self, method: str) -> str:
        """The name of the exported function that implements a method of this kind."""
        return "canister_" + self + " " + method


#: What the names of exported functions begin with that implement methods.
_METHOD_PREFIXES = tuple((kind.export(""), kind) for kind in MethodKind)


class Global(NamedTuple):
    """A global variable: its number in the module, its type (``i32`` and so on), and whether it can change."""

    number: int
    kind: str
    mutable: bool


@dataclass(frozen=True)
class ModuleInfo:
    """What a module declares.

    Attributes:
        memory64: its memory (if any) has 64-bit addresses.
        memory_pages: (minimum, maximum or None) of its memory in wasm pages; None without memory.
        exports: names of the exported functions.
        imports: (module, name) of the imported functions.
        custom: custom sections by name, e.g. ``icp:public candid:service``.
        globals: its mutable globals and its exported ones, in order: what a snapshot keeps.
        start: index of its start function.
    """

    memory64: bool = False
    memory_pages: tuple[int, int | None] | None = None
    has_table: bool = False
    exports: frozenset[str] = frozenset()
    imports: tuple[tuple[str, str], ...] = ()
    custom: dict[str, bytes] = field(default_factory=dict)
    globals: tuple[Global, ...] = ()
    start: int | None = None

    def method_kind(self, method: str) -> MethodKind | None:
        """The kind of the public method of this name; None if the module has no such method."""
        for prefix, kind in _METHOD_PREFIXES:
            if prefix + method in self.exports:
                return kind
        return None

    def custom_size(self) -> int:
        """Bytes of the custom sections that are visible on the network (``icp:…``)."""
        return sum(len(content) for name, content in self.custom.items() if name.startswith("icp:"))

    def metadata(self) -> dict[str, tuple[bool, bytes]]:
        """Custom sections ``icp:public …`` and ``icp:private …`` as {name: (is public, content)}."""
        found = {}
        for name, content in self.custom.items():
            for prefix, public in (("icp:public ", True), ("icp:private ", False)):
                if name.startswith(prefix):
                    found[name[len(prefix) :]] = (public, content)
        return found


def decompress(module: bytes) -> bytes:
    """The module itself: unpacked if it is gzipped, as `install_code` accepts it.

    Raises:
        InvalidModule: neither wasm nor gzipped wasm.
    """
    if module.startswith(GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(module)) as stream:
                module = stream.read(MAX_MODULE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidModule(f"cannot unpack the gzipped module: {error}") from error
        if len(module) > MAX_MODULE:
            raise InvalidModule(f"the unpacked module is larger than {MAX_MODULE} bytes")
    _check_magic(module)
    return module


def check_whole(module: bytes) -> None:
    """Looks at the frame of an uncompressed module only: its sections must add up to its length.

    Raises:
        InvalidModule: it is not wasm, or has been cut short, or something follows it.
    """
    _check_magic(module)
    try:
        _sections(module)
    except IndexError as error:
        raise InvalidModule("it ends within the header of a section") from error


def _check_magic(module: bytes) -> None:
    if not module.startswith(MAGIC):
        raise InvalidModule(f"it does not start with the wasm magic and version 1 (first bytes: {module[:8].hex()!r})")


def inspect(module: bytes) -> ModuleInfo:
    """What the (uncompressed) `module` declares.

    Raises:
        InvalidModule: it is malformed, or not what the specification allows for a canister.
    """
    with _malformed_is_invalid():
        return _inspect(module)


@contextmanager
def _malformed_is_invalid() -> Iterator[None]:
    """Reading past an end, or text that is none, is the module's fault."""
    try:
        yield
    except IndexError as error:
        raise InvalidModule("a section of the module ends too early") from error
    except UnicodeDecodeError as error:
        raise InvalidModule(f"a name in the module is not UTF-8: {error}") from error


def code_section(module: bytes) -> bytes:
    """The content of the code section of a module that `inspect` accepts; that of an empty one if it has none."""
    return next((module[start:end] for section, start, end in _sections(module) if section == _CODE), leb128(0))


def without_long_names(module: bytes) -> bytes:
    """`module` without exports whose names are too long for the engine: nobody can call them.

    Raises:
        InvalidModule: its export section is malformed.
    """
    out = [MAGIC]
    with _malformed_is_invalid():
        for section, start, end in _sections(module):
            content = module[start:end]
            out.append(_section(section, _short_exports(content) if section == _EXPORT else content))
    return b"".join(out)


def _short_exports(content: bytes) -> bytes:
    count, offset = read_uleb(content, 0)
    kept = []
    for _ in range(count):
        start = offset
        name, offset = _read_name(content, start)
        _, offset = read_uleb(content, offset + 1)
        if len(name.encode()) <= _MAX_ENGINE_NAME:
            kept.append(content[start:offset])
    return leb128(len(kept)) + b"".join(kept) + content[offset:]  # what follows the last is for the engine to refuse


def instrument(module: bytes, info: ModuleInfo, code: bytes) -> bytes:
    """`module` with `code` as its code, its state exported under ``ic:`` names and without its start section."""
    added = []
    if info.memory_pages is not None:
        added.append((EXPORT_MEMORY, _MEMORY_KIND, 0))
    if info.has_table:
        added.append((EXPORT_TABLE, _TABLE_KIND, 0))
    added += [(global_export(index), _GLOBAL_KIND, index) for index, _, _ in info.globals]
    if info.start is not None:
        added.append((EXPORT_START, _FUNC_KIND, info.start))
    extra = b"".join(_name(name) + bytes([kind]) + leb128(index) for name, kind, index in added)

    out = [MAGIC]
    exported = False
    for section, start, end in _sections(module):
        if section == _START:
            continue
        if section == _EXPORT:
            count, offset = read_uleb(module, start)
            out.append(_section(_EXPORT, leb128(count + len(added)) + module[offset:end] + extra))
            exported = True
            continue
        if not exported and section > _EXPORT and section not in (13,):
            out.append(_section(_EXPORT, leb128(len(added)) + extra))
            exported = True
        out.append(_section(section, code if section == _CODE else module[start:end]))
    if not exported:
        out.append(_section(_EXPORT, leb128(len(added)) + extra))
    return b"".join(out)


def global_export(index: int) -> str:
    """The name under which `instrument` exports the global `index`."""
    return f"{EXPORT_PREFIX}global {index}"


def _inspect(module: bytes) -> ModuleInfo:
    imports: list[tuple[str, str]] = []
    exports: list[str] = []
    exported_globals: set[int] = set()
    custom: dict[str, bytes] = {}
    globals_: list[Global] = []
    memory: tuple[bool, tuple[int, int | None]] | None = None
    has_table = False
    start_function: int | None = None
    for section, start, end in _sections(module):
        if section == _CUSTOM:
            name, offset = _read_name(module, start)
            if name.startswith("icp:") and name in custom:
                raise InvalidModule(f"two custom sections are named {name!r}")
            custom[name] = module[offset:end]
        elif section == _FUNCTION:
            _check_functions(read_uleb(module, start)[0])
        elif section == _CODE and end - start > MAX_CODE:
            raise InvalidModule(
                f"Wasm module code section size of {end - start} exceeds the maximum allowed size of {MAX_CODE}."
            )
        elif section == _DATA:
            _check_data(read_uleb(module, start)[0])
        elif section == _IMPORT:
            imports = _imports(module, start)
        elif section == _TABLE:
            has_table = module[start] > 0
        elif section == _MEMORY:
            count, offset = read_uleb(module, start)
            if count > 1:
                raise InvalidModule(f"it has {count} memories; a canister has at most one")
            if count:
                memory = _limits(module, offset)
        elif section == _GLOBAL:
            globals_ = _globals(module, start)
        elif section == _EXPORT:
            exports, exported_globals = _exports(module, start)
        elif section == _START:
            start_function, _ = read_uleb(module, start)
    _check_exports(exports)
    _check_custom(custom)
    return ModuleInfo(
        memory64=memory is not None and memory[0],
        memory_pages=memory[1] if memory else None,
        has_table=has_table,
        exports=frozenset(exports),
        imports=tuple(imports),
        custom=custom,
        globals=tuple(item for item in globals_ if item.mutable or item.number in exported_globals),
        start=start_function,
    )


def _check_functions(count: int) -> None:
    if count > MAX_FUNCTIONS:
        raise InvalidModule(
            f"Wasm module defined {count} functions which exceeds the maximum number allowed {MAX_FUNCTIONS}."
        )


def _check_data(count: int) -> None:
    if count > MAX_DATA_SEGMENTS:
        raise InvalidModule(
            f"Wasm module defined {count} data segments which exceeds the maximum number allowed {MAX_DATA_SEGMENTS}."
        )


def _check_custom(custom: dict[str, bytes]) -> None:
    visible = {name: content for name, content in custom.items() if name.startswith("icp:")}
    if len(visible) > MAX_CUSTOM_SECTIONS:
        raise InvalidModule(
            f"Wasm module has an invalid custom section. The number of custom sections exceeds {MAX_CUSTOM_SECTIONS}"
        )
    names = [name.removeprefix("icp:public ").removeprefix("icp:private ") for name in visible]
    for name, full in zip(names, visible, strict=True):
        if name == full:
            raise InvalidModule(
                f"Wasm module has an invalid custom section. Section {full!r} is neither icp:public nor icp:private"
            )
    if len(set(names)) < len(names):
        raise InvalidModule("Wasm module has an invalid custom section. A section is both icp:public and icp:private")
    if sum(len(name.encode()) for name in names) + sum(map(len, visible.values())) > MAX_CUSTOM_SIZE:
        raise InvalidModule(
            f"Wasm module has an invalid custom section. The size of custom sections exceeds {MAX_CUSTOM_SIZE} bytes"
        )


def _check_exports(exports: list[str]) -> None:
    methods: set[str] = set()
    for name in exports:
        if not name.startswith("canister_") or name in _HOOKS:
            continue
        for prefix, _ in _METHOD_PREFIXES:
            if name.startswith(prefix):
                method = name[len(prefix) :]
                if method in methods:
                    raise InvalidModule(
                        f"Wasm module has an invalid export section. Duplicate function '{method}' exported multiple"
                        " times with different call types: update, query, or composite_query."
                    )
                methods.add(method)
                break
        else:
            raise InvalidModule(f"exported function {name!r} is not a known canister entry point")
    kinds = "`canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>`"
    if len(methods) > MAX_METHODS:
        raise InvalidModule(
            "Wasm module has an invalid export section."
            f" The number of exported functions called {kinds} exceeds {MAX_METHODS}."
        )
    if sum(map(len, methods)) > MAX_METHOD_NAMES:
        raise InvalidModule(
            "Wasm module has an invalid export section."
            f" The sum of `<name>` lengths in exported functions called {kinds} exceeds {MAX_METHOD_NAMES}."
        )


def _imports(module: bytes, offset: int) -> list[tuple[str, str]]:
    count, offset = read_uleb(module, offset)
    found = []
    for _ in range(count):
        namespace, offset = _read_name(module, offset)
        name, offset = _read_name(module, offset)
        kind = module[offset]
        if kind != _FUNC_KIND:
            raise InvalidModule(f"it imports {namespace}.{name}, which is not a function")
        _, offset = read_uleb(module, offset + 1)
        found.append((namespace, name))
    return found


def _exports(module: bytes, offset: int) -> tuple[list[str], set[int]]:
    """The names of the exported functions, and the indices of the exported globals."""
    count, offset = read_uleb(module, offset)
    found, globals_ = [], set()
    for _ in range(count):
        name, offset = _read_name(module, offset)
        if name.startswith(EXPORT_PREFIX):
            raise InvalidModule(f"export name {name!r} is reserved")
        if len(name.encode()) > MAX_NAME:
            raise InvalidModule(f"the name of an export has more than {MAX_NAME} bytes")
        kind = module[offset]
        index, offset = read_uleb(module, offset + 1)
        if kind == _FUNC_KIND:
            found.append(name)
        elif kind == _GLOBAL_KIND:
            globals_.add(index)
    return found, globals_


def _globals(module: bytes, offset: int) -> list[Global]:
    """The globals that are numbers."""
    count, offset = read_uleb(module, offset)
    if count > MAX_GLOBALS:
        raise InvalidModule(
            f"Wasm module defined {count} globals which exceeds the maximum number allowed {MAX_GLOBALS}."
        )
    found = []
    for index in range(count):
        value_type, mutable = module[offset], module[offset + 1]
        offset = _skip_constant(module, offset + 2)
        if value_type in _NUMBERS:
            found.append(Global(index, _NUMBERS[value_type], bool(mutable)))
        elif mutable:
            raise InvalidModule(f"mutable global {index} is not a number")
    return found


def _skip_constant(module: bytes, offset: int) -> int:
    """The offset after a constant expression (its instructions and the `end`)."""
    while True:
        opcode = module[offset]
        offset += 1
        if opcode == 0x0B:
            return offset
        if opcode in (0x41, 0x42, 0x23, 0xD2):  # i32.const, i64.const, global.get, ref.func
            offset = _after_number(module, offset)
        elif opcode == 0x43:  # f32.const
            offset += 4
        elif opcode == 0x44:  # f64.const
            offset += 8
        elif opcode == 0xD0:  # ref.null
            offset += 1
        elif opcode == 0xFD:  # v128.const
            _, offset = read_uleb(module, offset)
            offset += 16
        elif opcode not in (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E):  # extended constant arithmetic
            raise InvalidModule(f"a global is initialised with instruction 0x{opcode:02x}")


def _after_number(module: bytes, offset: int) -> int:
    while module[offset] & 0x80:
        offset += 1
    return offset + 1


def _limits(module: bytes, offset: int) -> tuple[bool, tuple[int, int | None]]:
    flags = module[offset]
    minimum, offset = read_uleb(module, offset + 1)
    maximum = read_uleb(module, offset)[0] if flags & 1 else None
    if flags & 2:
        raise InvalidModule("its memory is shared between threads")
    return bool(flags & 4), (minimum, maximum)


def _sections(module: bytes) -> list[tuple[int, int, int]]:
    """(id, start of content, end of content) of each section."""
    offset = len(MAGIC)
    found = []
    while offset < len(module):
        section = module[offset]
        size, start = read_uleb(module, offset + 1)
        offset = start + size
        if offset > len(module):
            raise InvalidModule(
                f"section {section} at byte {start} claims {size} bytes,"
                f" but the module ends {offset - len(module)} bytes earlier"
            )
        found.append((section, start, offset))
        if len(found) > MAX_SECTIONS:
            raise InvalidModule(f"it has more than {MAX_SECTIONS} sections")
    return found


def read_uleb(data: bytes, offset: int) -> tuple[int, int]:
    """The number at `offset` (LEB128), and the offset behind it.

    Raises:
        InvalidModule: it has more than 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, offset
        shift += 7
        if shift > 63:
            raise InvalidModule(f"a number at byte {offset} is too long")


def _read_name(data: bytes, offset: int) -> tuple[str, int]:
    length, offset = read_uleb(data, offset)
    if offset + length > len(data):
        raise InvalidModule(f"a name at byte {offset} is longer than the module")
    return data[offset : offset + length].decode(), offset + length


def _name(text: str) -> bytes:
    raw = text.encode()
    return leb128(len(raw)) + raw


def _section(section: int, content: bytes) -> bytes:
    return bytes([section]) + leb128(len(content)) + content
