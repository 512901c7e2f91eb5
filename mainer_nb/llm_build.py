"""Build llama_cpp.wasm, the LLM canister, from registry packages only.

    python -m mainer_nb.llm_build --fetch                       # at installation: get the sources (online)
    python -m mainer_nb.llm_build --out files/llama_cpp.wasm    # build (offline after --fetch)

What goes in: llama.cpp as the sdist of llama-cpp-python carries it, the few checked edits in `EDITS`, and the C++ glue
and the headers in canisters/llama_cpp. Compiler, libc and libc++ are those of the PyPI package ziglang. The same inputs
give the same bytes; objects and the finished wasm are kept in the cache by the hash of their inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import places, stopping

SOURCES = places.shipped() / "canisters" / "llama_cpp"
INTERFACE = places.shipped() / "files" / "llama_cpp.did"
INTERFACE_SECTION = "icp:public candid:service"  # where tools look for a canister's interface

SDIST = "llama-cpp-python"
SDIST_VERSION = "0.3.36"
SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
LLAMA_COMMIT = "0c1e57098"  # of llama.cpp, as vendored in that sdist
ZIG_VERSION = "0.17.1"

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, text) after each step of a build."""


class BuildError(Exception):
    """The wasm cannot be built; the text says why and what to do."""


@dataclass(frozen=True)
class BuildResult:
    """`path`: the wasm; `sha256`: of its bytes, hex; `size`: in bytes; `seconds`: what it took; `cached`: nothing
    had to be compiled or linked."""

    path: Path
    sha256: str
    size: int
    seconds: float
    cached: bool


@dataclass(frozen=True)
class Edit:
    """One mended place in llama.cpp: `old` stands in `file` exactly `count` times and becomes `new`."""

    file: str
    why: str
    old: str
    new: str
    count: int = 1


@dataclass(frozen=True)
class Unit:
    """One translation unit: `name` in messages; `source` to compile; `flags`; `inputs`: what its object depends on
    beside source and flags, as one string."""

    name: str
    source: Path
    flags: tuple[str, ...]
    inputs: str


# Model families with a use on this scale (below some 2 GB): class name = file name with "-" for "_".
MODELS = (
    "arcee", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3", "gemma3n", "gpt2", "granite", "hunyuan_dense",
    "hunyuan_vl", "lfm2", "llama", "minicpm", "mistral3", "olmo2", "phi2", "phi3", "qwen2", "qwen3", "smollm3",
    "stablelm",
)  # fmt: skip
MODELS_PER_UNIT = 6

EDITS = (
    Edit(
        "ggml/src/ggml-cpu/arch/wasm/quants.c",
        "quantize_row_q8_0 and q8_1 truncate on wasm; every other platform rounds to nearest",
        "const v128_t vi = wasm_i32x4_trunc_sat_f32x4(v);\n\n            y[i].qs[4*j + 0]",
        "const v128_t vi = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(v));\n\n            y[i].qs[4*j + 0]",
        count=2,
    ),
    Edit(
        "src/llama-vocab.cpp",
        "a vocabulary without a newline: no exceptions to catch here",
        "            linefeed_id = vocab.byte_to_token('\\n');",
        '            const bool has_newline = token_to_id.count("<0x0A>") || token_to_id.count("\\n");\n'
        "            linefeed_id = has_newline ? vocab.byte_to_token('\\n') : special_pad_id;",
    ),
    Edit(
        "src/llama-vocab.cpp",
        "a token with characters that stand for no byte: no exceptions to catch here",
        "        try {\n            decoded_text += unicode_utf8_to_byte(utf8);\n"
        "        } catch (const std::out_of_range & /*e*/) {\n",
        "        static const auto byte_characters = [] {\n"
        "            std::unordered_map<std::string, char> characters;\n"
        "            for (int b = 0; b < 256; b++) {\n"
        "                characters.emplace(unicode_byte_to_utf8(static_cast<uint8_t>(b)), static_cast<char>(b));\n"
        "            }\n"
        "            return characters;\n"
        "        }();\n"
        "        if (auto found = byte_characters.find(utf8); found != byte_characters.end()) {\n"
        "            decoded_text += found->second;\n"
        "        } else {\n",
    ),
    Edit(
        "src/llama-model-loader.cpp",
        "the header has been read already, when it was checked (src/model.cpp)",
        "metadata_ptr.reset(gguf_init_from_file(fname.c_str(), params));",
        "gguf_context * take_header(ggml_context ** tensors);\n        metadata_ptr.reset(take_header(&ctx));",
    ),
    Edit(
        "src/llama-model-loader.cpp",
        "every number of the vocabulary as text, for a log that is not kept: half of what loading took",
        "std::string value          = gguf_kv_to_str(metadata, i);",
        "std::string value;",
    ),
    Edit(
        "src/llama-model-loader.cpp",
        "weights are read in messages of their own (src/model.cpp)",
        "file->seek(weight->offs, SEEK_SET);\n                file->read_raw(cur->data, n_size);\n"
        "                if (check_tensors) {",
        "void read_later(void * target, size_t offset, size_t size);\n"
        "                read_later(cur->data, weight->offs, n_size);\n"
        "                if (check_tensors) {",
    ),
    Edit(
        "ggml/src/ggml-backend.cpp",
        "memory for buffers (src/buffers.cpp)",
        "    void * data = ggml_aligned_malloc(size);",
        "    void * take_pages(size_t bytes);\n    void * data = take_pages(size);",
    ),
    Edit(
        "ggml/src/ggml-backend.cpp",
        "memory of buffers (src/buffers.cpp)",
        "    ggml_aligned_free(buffer->context, buffer->size);",
        "    void give_back_pages(void * address, size_t bytes);\n    give_back_pages(buffer->context, buffer->size);",
    ),
    Edit(
        "ggml/src/ggml-backend.cpp",
        "buffers of a size for which there is room between what is in the heap already",
        "ggml_backend_cpu_buffer_type_get_alignment,\n"
        "            /* .get_max_size     = */ NULL, // defaults to SIZE_MAX",
        "ggml_backend_cpu_buffer_type_get_alignment,\n"
        "            /* .get_max_size     = */ [](ggml_backend_buffer_type_t) -> size_t { return size_t(256) << 20; },",
        count=2,
    ),
    Edit(
        "src/llama-grammar.cpp",
        "a grammar is put together from what src/grammar.cpp has read",
        "static void llama_grammar_advance_stack(",
        "void llama_grammar_advance_stack(",
    ),
    Edit(
        "src/llama-grammar.cpp",
        "a limit to the ways in which a text may go on (src/grammar.cpp)",
        "        llama_grammar_stack curr_stack_candidate = std::move(todo.back());",
        "        bool grammar_goes_on(size_t stacks, size_t depth);\n"
        "        if (!grammar_goes_on(seen.size() + 1, todo.back().size())) {\n"
        "            return;\n"
        "        }\n"
        "        llama_grammar_stack curr_stack_candidate = std::move(todo.back());",
    ),
    Edit(
        "src/llama-grammar.cpp",
        "after that limit there may be none",
        "    GGML_ASSERT(!stacks.empty()); // REVIEW\n\n    if (candidates.empty()) {\n        return {};\n    }",
        "    bool grammar_goes_on(size_t stacks, size_t depth);\n"
        "    if (candidates.empty()) {\n        return {};\n    }\n"
        "    if (stacks.empty() || !grammar_goes_on(0, 0)) {\n        return candidates;\n    }",
    ),
    Edit(
        "src/llama-grammar.cpp",
        "all tokens are compared with each way to go on, within that limit",
        "for (size_t i = 1, size = stacks.size(); i < size; ++i) {",
        "for (size_t i = 1, size = stacks.size(); i < size && grammar_goes_on(0, 0); ++i) {",
    ),
    Edit(
        "src/llama-grammar.cpp",
        "a text that cannot go on is seen by src/grammar.cpp; no exceptions here",
        '        throw std::runtime_error("Unexpected empty grammar stack after accepting piece: " + piece + " (" + '
        'std::to_string(token) + ")");',
        "        return;",
    ),
)

GGML_C = (
    "ggml.c", "ggml-alloc.c", "ggml-quants.c", "ggml-cpu/ggml-cpu.c", "ggml-cpu/quants.c",
    "ggml-cpu/arch/wasm/quants.c",
)  # fmt: skip
# Left out: ggml-backend-reg.cpp and ggml-cpu/tiled/, in whose place src/backends.cpp and src/kernels.cpp stand.
GGML_CPP = (
    "ggml-backend.cpp", "ggml-backend-meta.cpp", "ggml-opt.cpp", "ggml-threading.cpp", "gguf.cpp",
    "ggml-cpu/ggml-cpu.cpp", "ggml-cpu/binary-ops.cpp", "ggml-cpu/unary-ops.cpp", "ggml-cpu/ops.cpp",
    "ggml-cpu/vec.cpp", "ggml-cpu/traits.cpp",
)  # fmt: skip
LLAMA_EXCLUDED = ("llama-quant.cpp",)  # quantises models; nothing here does

OPTIMISE = ("-O3", "-g0", "-DNDEBUG", "-fno-strict-aliasing", "-fno-sanitize=undefined")
TARGET = ("-target", "wasm32-wasi", "-mcpu=generic+simd128")
DEFINES = (
    "-DGGML_USE_CPU", "-DGGML_SCHED_MAX_COPIES=1", "-D_WASI_EMULATED_SIGNAL", "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_GNU_SOURCE",
)  # fmt: skip
C_FLAGS = ("-std=gnu11",)
CPP_FLAGS = ("-std=c++17", "-fexceptions", "-fignore-exceptions", "-frtti")
# Rewriting loops for fewer registers keeps offsets out of loads and stores, where they cost no instruction.
FLAGS_OF = {"kernels.cpp": ("-mllvm", "-disable-lsr")}
LINK_FLAGS = (
    "-mexec-model=reactor", "-O3", "-s", "-Wl,--gc-sections", "-Wl,-z,stack-size=4194304", "-Wl,--wrap=abort",
    "-lwasi-emulated-signal", "-lwasi-emulated-process-clocks",
)  # fmt: skip


def sdist_path(cache: Path) -> Path:
    """Where the sdist is kept."""
    return cache / f"llama_cpp_python-{SDIST_VERSION}.tar.gz"


def fetch(cache: Path) -> Path:
    """Get the pinned sdist into the cache, through pip and its configuration; nothing happens if it is there.

    Raises:
        BuildError: pip cannot get it, or its sha256 differs.
    """
    target = sdist_path(cache)
    if target.is_file() and file_sha256(target) == SDIST_SHA256:
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        requirement = Path(scratch, "requirement.txt")
        requirement.write_text(f"{SDIST}=={SDIST_VERSION} --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
            "--no-binary", SDIST, "--dest", scratch, "--requirement", str(requirement),
        ]  # fmt: skip
        done = stopping.run(command)
        fetched = Path(scratch, target.name)
        if done.returncode != 0 or not fetched.is_file():
            raise BuildError(
                f"could not get {SDIST} {SDIST_VERSION} (the source of llama.cpp) with pip:\n{done.stderr.strip()}\n"
                f"Check pip's index configuration, or put the file {target.name} into {cache}."
            )
        fetched.replace(target)
    return target


def source_tree(cache: Path) -> Path:
    """llama.cpp, unpacked and mended."""
    tree = cache / "src" / file_sha256(Path(__file__))[:16]
    if tree.is_dir():
        return tree
    sdist = sdist_path(cache)
    if not sdist.is_file() or file_sha256(sdist) != SDIST_SHA256:
        raise BuildError(f"{sdist} is missing or damaged. Run: python -m mainer_nb.llm_build --fetch")
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent) as scratch:
        unpacked = Path(scratch, "llama.cpp")
        unpack(sdist, unpacked)
        for edit in EDITS:
            apply(edit, unpacked)
        keep_models(unpacked)
        write_versions(unpacked)
        try:
            unpacked.rename(tree)
        except OSError:
            if not tree.is_dir():  # another build was quicker
                raise
    return tree


def unpack(sdist: Path, target: Path) -> None:
    """The part of the sdist that is compiled: llama.cpp's src and include, ggml's core and CPU backend."""
    wanted = re.compile(r"[^/]+/vendor/llama\.cpp/((?:src|include|ggml/include|ggml/src|ggml/src/ggml-cpu)/.+)")
    backends = re.compile(r"ggml/src/ggml-(?!cpu/)[^/]+/")
    with tarfile.open(sdist) as archive:
        for member in archive:
            match = wanted.fullmatch(member.name)
            if not match or not member.isfile() or backends.match(match[1]):
                continue
            data = archive.extractfile(member)
            assert data is not None
            path = target / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.read())


def apply(edit: Edit, tree: Path) -> None:
    """Make an edit in the sources.

    Raises:
        BuildError: the place to mend is not there exactly as often as the edit says.
    """
    path = tree / edit.file
    text = path.read_text(encoding="utf-8")
    found = text.count(edit.old)
    if found != edit.count:
        raise BuildError(
            f"{edit.file}: expected {edit.count} time(s), found {found}: the place of the edit '{edit.why}'. "
            f"The edits in {Path(__file__).name} fit {SDIST} {SDIST_VERSION} only."
        )
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def keep_models(tree: Path) -> None:
    """Leave only `MODELS` in the switch that makes a model from its architecture; kept-models.h lists them for the
    canister's own check."""
    path = tree / "src/llama-model.cpp"
    text = path.read_text(encoding="utf-8")
    case = re.compile(r"        case (LLM_ARCH_\w+):\n            return new llama_model_(\w+)\(params\);\n")
    kept = [name for _, name in case.findall(text) if name in MODELS]
    if sorted(kept) != sorted(MODELS):
        raise BuildError(f"src/llama-model.cpp: no case for {', '.join(sorted(set(MODELS) - set(kept)))}")
    path.write_text(case.sub(lambda match: match[0] if match[2] in MODELS else "", text), encoding="utf-8")
    names = [arch for arch, name in case.findall(text) if name in MODELS]
    (tree / "src/kept-models.h").write_text(f"#define KEPT_MODELS {', '.join(names)}\n", encoding="utf-8")


def write_versions(tree: Path) -> None:
    """The two headers that llama.cpp's CMake would make."""
    for name in ("ggml", "llama"):
        text = f'#define {name.upper()}_VERSION "{SDIST_VERSION}"\n#define {name.upper()}_COMMIT "{LLAMA_COMMIT}"\n'
        (tree / f"{'ggml/src' if name == 'ggml' else 'src'}/{name}-version.h").write_text(text, encoding="utf-8")


def units(tree: Path, unity: Path) -> list[Unit]:
    """Everything to compile, the long ones first."""
    include = ("-Ishim", "-Illama.cpp/include", "-Illama.cpp/ggml/include", "-Illama.cpp/ggml/src",
               "-Illama.cpp/ggml/src/ggml-cpu", "-Illama.cpp/src")  # fmt: skip
    c = (*TARGET, *OPTIMISE, *DEFINES, *C_FLAGS, *include)
    cpp = (*TARGET, *OPTIMISE, *DEFINES, *CPP_FLAGS, *include)
    glue_key = directory_key(SOURCES / "src")
    ggml = tree / "ggml/src"
    of_llama = directory_key(tree) + directory_key(SOURCES / "shim")
    found = [Unit(name, ggml / name, cpp, of_llama) for name in GGML_CPP]
    found += [Unit(name, ggml / name, c, of_llama) for name in GGML_C]
    for path in sorted((tree / "src").glob("*.cpp")):
        if path.name not in LLAMA_EXCLUDED:
            found.append(Unit(path.name, path, cpp, of_llama))
    for path in unity_sources(unity):
        found.append(Unit(path.name, path, cpp, of_llama))
    found.sort(key=lambda unit: unit.source.stat().st_size, reverse=True)
    for path in sorted((SOURCES / "src").glob("*.cpp")):
        flags = (*cpp, "-Wall", "-Wextra", *FLAGS_OF.get(path.name, ()))
        found.append(Unit(path.name, path, flags, of_llama + glue_key))
    return found


def unity_sources(unity: Path) -> list[Path]:
    """The models' sources, a few to a translation unit: they share most of their headers' cost."""
    unity.mkdir(parents=True, exist_ok=True)
    sources = []
    for start in range(0, len(MODELS), MODELS_PER_UNIT):
        path = unity / f"models-{start // MODELS_PER_UNIT}.cpp"
        names = MODELS[start : start + MODELS_PER_UNIT]
        text = "".join(f'#include "models/{name.replace("_", "-")}.cpp"\n' for name in names)
        path.write_text(text, encoding="utf-8")
        sources.append(path)
    return sources


def build(out: Path, progress: Progress, cache: Path) -> BuildResult:
    """Build the wasm to `out`, compiling on all cores only what changed.

    Raises:
        BuildError: something is missing, which the error names, or does not compile, with the compiler's message.
    """
    started = time.monotonic()
    check_compiler()
    tree = source_tree(cache)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        # Sources are named relative to one directory, so that no path of this machine gets into the objects.
        work = Path(scratch)
        (work / "llama.cpp").symlink_to(tree)
        (work / "shim").symlink_to(SOURCES / "shim")
        (work / "glue").symlink_to(SOURCES / "src")
        all_units = units(tree, work / "unity")
        roots = {tree: "llama.cpp", SOURCES / "src": "glue", work / "unity": "unity"}
        objects = {unit: cache / "obj" / f"{object_key(unit)}.o" for unit in all_units}
        interface = INTERFACE.read_bytes()
        link_key = sha256_text(
            ZIG_VERSION, repr(LINK_FLAGS), interface.decode(), *(path.name for path in objects.values())
        )
        finished = cache / "wasm" / f"{link_key[:32]}.wasm"
        cached = finished.is_file()
        if not cached:
            compile_missing(objects, work, roots, cache, progress)
            link(list(objects.values()), interface, work, finished, cache)
            progress(len(objects) + 1, len(objects) + 1, f"linked {out.name}")
    out.parent.mkdir(parents=True, exist_ok=True)
    copy_atomically(finished, out)
    return BuildResult(out, file_sha256(out), out.stat().st_size, time.monotonic() - started, cached)


def check_compiler() -> None:
    """Check that the pinned ziglang is installed.

    Raises:
        BuildError: it is not.
    """
    try:
        found = version("ziglang")
    except PackageNotFoundError:
        found = "none"
    if found != ZIG_VERSION:
        raise BuildError(f"the compiler: ziglang {ZIG_VERSION} is wanted, {found} is installed. "
                         f"Run: pip install ziglang=={ZIG_VERSION}")  # fmt: skip


def compile_missing(
    objects: dict[Unit, Path], work: Path, roots: dict[Path, str], cache: Path, progress: Progress
) -> None:
    """Compile the units whose object is not in the cache, in parallel; the C library is built beside them."""
    missing = [unit for unit, path in objects.items() if not path.is_file()]
    done, total = len(objects) - len(missing), len(objects) + 1
    (cache / "obj").mkdir(parents=True, exist_ok=True)
    progress(done, total, "compiling")

    def compile_one(unit: Unit | None) -> None:
        if unit is None:
            warm_libraries(work, cache)
        else:
            compile_unit(unit, objects[unit], work, roots, cache)

    jobs = [None, *missing]
    for number, _ in stopping.parallel(compile_one, jobs, os.cpu_count() or 1):
        if unit := jobs[number]:
            done += 1
            progress(done, total, f"compiled {unit.name}")


def compile_unit(unit: Unit, target: Path, work: Path, roots: dict[Path, str], cache: Path) -> None:
    root = next(root for root in roots if unit.source.is_relative_to(root))
    source = f"{roots[root]}/{unit.source.relative_to(root)}"
    partial = target.with_suffix(f".{os.getpid()}.part")
    driver = "cc" if source.endswith(".c") else "c++"
    try:
        zig([driver, *unit.flags, "-c", source, "-o", str(partial)], work, cache, f"compiling {unit.name}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def warm_libraries(work: Path, cache: Path) -> None:
    """Have zig build its libc and libc++ for the target once, beside the compilation."""
    source = work / "empty.cpp"
    source.write_text("", encoding="utf-8")
    zig(["c++", *TARGET, *LINK_FLAGS, source.name, "-o", "empty.wasm"], work, cache, "building libc and libc++")


def link(objects: Iterable[Path], interface: bytes, work: Path, finished: Path, cache: Path) -> None:
    finished.parent.mkdir(parents=True, exist_ok=True)
    linked = work / "llama_cpp.wasm"
    zig(["c++", *TARGET, *LINK_FLAGS, *map(str, objects), "-o", linked.name], work, cache, "linking")
    check_imports(linked)
    with linked.open("ab") as file:
        file.write(custom_section(INTERFACE_SECTION, interface))
    copy_atomically(linked, finished)


def zig(arguments: list[str], work: Path, cache: Path, doing: str) -> None:
    environment = {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(cache / "zig"),
        "SOURCE_DATE_EPOCH": "0",
    }
    command = [sys.executable, "-m", "ziglang", *arguments]
    done = stopping.run(command, work, environment)
    if done.returncode != 0:
        raise BuildError(f"{doing} failed:\n{done.stderr.strip()[-4000:]}")


def check_imports(wasm: Path) -> None:
    """Check that the module imports nothing but the Internet Computer's system API.

    Raises:
        BuildError: it imports something else.
    """
    foreign = sorted(f"{module}.{name}" for module, name in imports(wasm.read_bytes()) if module != "ic0")
    if foreign:
        raise BuildError(f"{wasm.name} imports what no canister has: {', '.join(foreign)}")


def imports(wasm: bytes) -> list[tuple[str, str]]:
    """Module and name of each import of a wasm module (function imports only, as here)."""

    def leb(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = wasm[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    at, found = 8, []
    while at < len(wasm):
        section = wasm[at]
        size, at = leb(at + 1)
        if section == 2:
            count, here = leb(at)
            for _ in range(count):
                names = []
                for _ in range(2):
                    length, here = leb(here)
                    names.append(wasm[here : here + length].decode())
                    here += length
                if wasm[here] != 0:
                    raise BuildError(f"import {names} is not a function")
                _, here = leb(here + 1)
                found.append((names[0], names[1]))
        at += size
    return found


def custom_section(name: str, content: bytes) -> bytes:
    """A section of a wasm module that carries data for others."""

    def leb(value: int) -> bytes:
        out = b""
        while value >= 0x80:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])

    body = leb(len(name)) + name.encode() + content
    return b"\0" + leb(len(body)) + body


def object_key(unit: Unit) -> str:
    return sha256_text(ZIG_VERSION, unit.name, repr(unit.flags), unit.inputs)[:32]


def directory_key(directory: Path) -> str:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return sha256_text(*(f"{path.relative_to(directory)}:{file_sha256(path)}" for path in paths))


def sha256_text(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_atomically(source: Path, target: Path) -> None:
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def print_progress(done: int, total: int, text: str) -> None:
    print(f"llama_cpp.wasm [{done}/{total}] {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="build, and put the wasm here")
    parser.add_argument("--fetch", action="store_true", help="get the sources into the cache (needs the index)")
    parser.add_argument("--cache", type=Path, default=places.cache() / "llama_cpp", help="default: %(default)s")
    arguments = parser.parse_args()
    if not arguments.out and not arguments.fetch:
        parser.error("nothing to do: give --fetch, --out FILE or both")
    try:
        if arguments.fetch:
            print(f"source: {fetch(arguments.cache)}", flush=True)
        if arguments.out:
            built = build(arguments.out, print_progress, arguments.cache)
            print(f"{built.path}: {built.size:,} bytes, sha256 {built.sha256}, {built.seconds:.1f} s"
                  + (" (from the cache)" if built.cached else ""), flush=True)  # fmt: skip
    except BuildError as error:
        print(f"build of llama_cpp.wasm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("build of llama_cpp.wasm: stopped. Run it again: what is compiled is kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
