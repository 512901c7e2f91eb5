"""What a model file says of itself: name, architecture, size, and the form in which it wants to be asked.

    model = models.describe(Path("files/qwen2.5-0.5b-instruct-q8_0.gguf"))
    model.name, model.variant, model.prompt.prefix

Variants are plain Python as the canister proxy takes them: "Qwen2_5_500M", "Gemma3_270M" or {"Other": text}. gguf and
jinja2 are imported when a file is described: most notebooks only need the names here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ArtifactCorrupt

ModelVariant = str | dict[str, str]

# What stands for the user's text while the template is rendered.
USER_TEXT = "\u2402user text\u2403"


@dataclass(frozen=True)
class PromptFormat:
    """A prompt is prefix + the user's text + suffix; generation stops at the model's own end tokens or at one of
    `stop`.
    """

    prefix: str
    suffix: str
    stop: tuple[str, ...] = ()

    def candid(self) -> dict[str, Any]:
        """As the record that the creator takes."""
        return {"prefix": self.prefix, "suffix": self.suffix, "stop": list(self.stop)}


# For a base model, which only continues text: the answer is what it writes up to the end of the line. The example has
# the words in which mAIners ask; without one, Gemma 3 270M writes nothing in one case of ten.
BASE_MODEL = PromptFormat(
    "Question: Give as brief an answer as possible to this question about nature: What do bees make?\n"
    "Answer: Honey\n"
    "Question: ",
    "\nAnswer:",
    ("\n",),
)


@dataclass(frozen=True)
class Model:
    """A gguf file described.

    `size`: bytes; `parameters`: how many numbers; `context`: tokens it was trained for; `variant`: its AvailableModels
    value; `chat`: whether it has a chat template, else it is a base model.
    """

    file: Path
    name: str
    architecture: str
    size: int
    parameters: int
    context: int
    quantization: str
    variant: ModelVariant
    chat: bool
    prompt: PromptFormat


def describe(path: Path) -> Model:
    """Describe the gguf file at `path`.

    Raises ArtifactMissing, ArtifactCorrupt (not a whole gguf file, or a chat template that cannot be used).
    """
    from . import gguf_header

    header = gguf_header.read(path)
    data = header.metadata
    architecture = str(data.get("general.architecture", ""))
    if not architecture:
        raise ArtifactCorrupt(f"{path} does not say its architecture, so it is not a language model that can be used")
    name = str(data.get("general.name") or path.stem)
    template = data.get("tokenizer.chat_template")
    return Model(
        file=path,
        name=name,
        architecture=architecture,
        size=header.size,
        parameters=header.parameters,
        context=int(data.get(f"{architecture}.context_length", 0)),
        quantization=_file_type(data.get("general.file_type")),
        variant=_variant(name, architecture, data.get(f"{architecture}.embedding_length"), header.parameters),
        chat=bool(template),
        prompt=_chat_format(path, str(template), data) if template else BASE_MODEL,
    )


def variant_text(variant: ModelVariant | dict[str, None]) -> str:
    """A variant for people: its case, or for Other its text."""
    if isinstance(variant, str):
        return variant
    ((case, value),) = variant.items()
    return value or case


def _variant(name: str, architecture: str, width: int | None, parameters: int) -> ModelVariant:
    """The two named models are known by architecture and shape; any other goes by its name."""
    if architecture == "qwen2" and width == 896 and parameters > 4e8:
        return "Qwen2_5_500M"
    if architecture == "gemma3" and width == 640 and parameters > 2e8:
        return "Gemma3_270M"
    return {"Other": name}


def _file_type(number: int | None) -> str:
    if number is None:
        return ""
    from gguf.constants import LlamaFileType

    try:
        return LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return f"type {number}"


def _chat_format(path: Path, template: str, data: dict[str, Any]) -> PromptFormat:
    """Render the template around a user message and split it there.

    The beginning-of-text token is left out when the tokeniser adds it by itself.
    """
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from . import gguf_header

    def token(kind: str) -> str:
        index, vocabulary = data.get(f"tokenizer.ggml.{kind}_token_id"), data.get("tokenizer.ggml.tokens")
        if index is None or not isinstance(vocabulary, gguf_header.ArrayAt) or not 0 <= index < vocabulary.length:
            return ""
        return gguf_header.string_at(path, vocabulary, index)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    bos, eos = token("bos"), token("eos")
    try:
        text = environment.from_string(template).render(
            messages=[{"role": "user", "content": USER_TEXT}], add_generation_prompt=True, bos_token=bos, eos_token=eos
        )
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(
            f"the chat template in {path} cannot be rendered: {error}. "
            "Use another conversion of this model, or a base model, which has no template."
        ) from error
    prefix, found, suffix = text.partition(USER_TEXT)
    if not found or USER_TEXT in suffix or not suffix.strip():
        raise ArtifactCorrupt(
            f"the chat template in {path} does not put one user message between a beginning and a cue to answer; "
            f"it gave {text!r}. Use another conversion of this model, or a base model, which has no template."
        )
    if bos and data.get("tokenizer.ggml.add_bos_token", _adds_bos_by_default(data)):
        prefix = prefix.removeprefix(bos)
    return PromptFormat(prefix, suffix)


def _adds_bos_by_default(data: dict[str, Any]) -> bool:
    """llama.cpp's choice for a file that does not say `add_bos_token`: SentencePiece vocabularies have it."""
    return data.get("tokenizer.ggml.model") == "llama"
