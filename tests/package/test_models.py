"""What is read out of gguf files: description, prompt format, and refusal of files that are not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import gguf_header, models
from mainer_nb.errors import ArtifactCorrupt, ArtifactMissing

Write = Callable[..., Path]

CHATML = """{% for message in messages %}
{% if loop.first and messages[0]['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
WITH_BOS = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"


def test_a_base_model_is_described(write_gguf: Write, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    model = models.describe(path)
    assert model == models.Model(
        file=path,
        name="Small",
        architecture="llama",
        size=path.stat().st_size,
        parameters=64 * 100 + 64 * 64,
        context=512,
        quantization="F32",
        variant={"Other": "Small"},
        chat=False,
        prompt=models.BASE_MODEL,
    )


def test_a_file_without_a_name_goes_by_its_file_name(write_gguf: Write, tmp_path: Path) -> None:
    assert models.describe(write_gguf(tmp_path / "tiny-one.gguf", name=None)).variant == {"Other": "tiny-one"}


def test_the_prompt_format_is_the_files_own_chat_template(write_gguf: Write, tmp_path: Path) -> None:
    model = models.describe(write_gguf(tmp_path / "chat.gguf", CHATML))
    assert model.chat
    assert model.prompt.prefix == ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")
    assert model.prompt.suffix == "<|im_end|>\n<|im_start|>assistant\n"
    assert model.prompt.stop == ()


def test_the_bos_token_is_written_only_where_the_tokeniser_does_not_add_it(write_gguf: Write, tmp_path: Path) -> None:
    adds = models.describe(write_gguf(tmp_path / "adds.gguf", WITH_BOS, add_bos=True))
    silent = models.describe(write_gguf(tmp_path / "silent.gguf", WITH_BOS))
    not_adds = models.describe(write_gguf(tmp_path / "not_adds.gguf", WITH_BOS, add_bos=False))
    assert adds.prompt.prefix == silent.prompt.prefix == "[INST] "
    assert not_adds.prompt.prefix == "<s>[INST] "


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{% for m in messages %}", id="syntax"),
        pytest.param("{{ raise_exception('system message wanted') }}", id="refuses"),
        pytest.param("{{ messages[0].content.__class__.__mro__[1].__subclasses__() }}", id="attack"),
        pytest.param("constant", id="without the text"),
        pytest.param("{{ messages[0]['content'] }}", id="without a cue to answer"),
        pytest.param("{{ messages[0]['content'] }}A{{ messages[0]['content'] }}B", id="text twice"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(write_gguf: Write, tmp_path: Path, template: str) -> None:
    path = write_gguf(tmp_path / "chat.gguf", template)
    with pytest.raises(ArtifactCorrupt, match=r"chat template in .*chat\.gguf"):
        models.describe(path)


def test_arrays_are_stepped_over_and_read_on_demand(write_gguf: Write, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    tokens = gguf_header.read(path).metadata["tokenizer.ggml.tokens"]
    assert tokens.length == 100
    assert gguf_header.string_at(path, tokens, 2) == "</s>"
    assert gguf_header.string_at(path, tokens, 99) == "word96"


def test_every_truncation_is_noticed(write_gguf: Write, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "small.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in (*range(1, 4000, 97), len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactCorrupt, match=r"cut\.gguf is not a usable gguf file"):
            gguf_header.read(path)
    path.write_bytes(whole)
    assert len(gguf_header.read(path).tensors) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\3\4" + bytes(100), r"begins with b'PK\\x03\\x04'"),
        (b"GGUF" + (9).to_bytes(4, "little") + bytes(100), "version is 9"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 100, "claims to have"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=message):
        models.describe(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"nothing\.gguf"):
        models.describe(tmp_path / "nothing.gguf")
