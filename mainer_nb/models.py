"""What a model file says of itself: name, architecture, size, and the format of its prompts.

    model = models.describe(Path("files/qwen2.5-0.5b-instruct-q8_0.gguf"))
    model.name, model.variant, model.prompt.prefix

Variants are plain Python as the canister proxy takes them: "Qwen2_5_500M", "Gemma3_270M" or {"Other": text}. gguf and
jinja2 are imported when a file is described: most notebooks only need the names here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ArtifactCorrupt

if TYPE_CHECKING:
    from .gguf_header import Header

ModelVariant = str | dict[str, str]

# What stands for the user's text while the template is rendered.
USER_TEXT = "\u2402user text\u2403"

VOCABULARY = "tokenizer.ggml.tokens"
SPECIAL_TOKENS = ("bos", "eos", "unk", "pad")
TOKEN_KEYS = {"unk": "unknown", "pad": "padding"}  # where the key in a gguf is not the token's usual name
THOUGHTS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))  # where a model's thoughts begin and end
MOST_NAME_BYTES = 200  # as the creator keeps them
MOST_PROMPT_BYTES = 20_000  # before the question and after it, as creator and mAIners keep them
MOST_SHOWN = 1_000  # characters of a text in a message


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

    Attributes:
        size: bytes.
        parameters: how many numbers it has.
        context: tokens that it was trained for.
        variant: its AvailableModels value.
        chat: whether it has a chat template; else it is a base model.
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

    Raises:
        ArtifactMissing: there is no such file.
        ArtifactCorrupt: it is not a whole gguf file, or has a chat template that cannot be used.
    """
    from . import gguf_header

    header = gguf_header.read(path)
    architecture = header.text("general.architecture")
    if not architecture:
        raise ArtifactCorrupt(f"{path} does not say its architecture, so it is not a language model that can be used")
    name = header.text("general.name") or path.stem
    if len(name.encode()) > MOST_NAME_BYTES:
        raise ArtifactCorrupt(f"the name (general.name) in {path} has more than {MOST_NAME_BYTES} bytes")
    template = header.text("tokenizer.chat_template")
    return Model(
        file=path,
        name=name,
        architecture=architecture,
        size=header.size,
        parameters=header.parameters,
        context=header.number(f"{architecture}.context_length") or 0,
        quantization=_file_type(header.number("general.file_type")),
        variant=_variant(name, architecture, header.number(f"{architecture}.embedding_length"), header.parameters),
        chat=bool(template),
        prompt=_chat_format(path, template, header) if template else BASE_MODEL,
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


def _chat_format(path: Path, template: str, header: Header) -> PromptFormat:
    """Render the template around a user message and split it there.

    The beginning-of-text token is left out when the tokeniser adds it by itself. Thoughts that the template begins are
    ended at once: there is room for a brief answer only.
    """
    from . import loadable

    tokens = {f"{kind}_token": _special_token(path, header, kind) for kind in SPECIAL_TOKENS}
    text = _rendered(path, template, tokens)
    prefix, found, suffix = text.partition(USER_TEXT)
    if not found or USER_TEXT in suffix or not suffix.strip():
        raise ArtifactCorrupt(
            f"the chat template in {path} does not put one user message between a beginning and a cue to answer; "
            f"it gave {_brief(text)!r}. Use another conversion of this model, or a base model, which has no template."
        )
    if (bos := tokens["bos_token"]) and loadable.adds_bos(header):
        prefix = prefix.removeprefix(bos)
    for begin, end in THOUGHTS:
        if suffix.rstrip().endswith(begin):
            suffix = f"{suffix.rstrip()}\n\n{end}\n\n"
    for what, part in (("before", prefix), ("after", suffix)):
        if len(part.encode()) > MOST_PROMPT_BYTES:
            raise ArtifactCorrupt(
                f"the chat template in {path} puts {len(part.encode())} bytes {what} the question, more than the "
                f"{MOST_PROMPT_BYTES} that a mAIner keeps. Use a model with a shorter template."
            )
    return PromptFormat(prefix, suffix)


def _special_token(path: Path, header: Header, kind: str) -> str:
    from . import gguf_header

    index, vocabulary = header.number(f"tokenizer.ggml.{TOKEN_KEYS.get(kind, kind)}_token_id"), header.texts(VOCABULARY)
    if index is None or vocabulary is None or index >= vocabulary.length:
        return ""
    return gguf_header.string_at(path, vocabulary, index)


def _rendered(path: Path, template: str, tokens: dict[str, str]) -> str:
    """What the template makes of one user message. Its content is a text, or for templates that want it, a list of
    parts.
    """
    from . import chat_templates

    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    error: Exception | None = None
    text = ""
    for content in (USER_TEXT, [{"type": "text", "text": USER_TEXT}]):
        try:
            text = chat_templates.render(template, [{"role": "user", "content": content}], tokens, written)
        except chat_templates.TemplateFault as fault:
            error = error or fault
            continue
        if USER_TEXT in text:
            return text
    if error:
        raise ArtifactCorrupt(
            f"the chat template in {path} cannot be rendered: {_brief(str(error))}. "
            "Use another conversion of this model, or a base model, which has no template."
        ) from error
    return text


def _brief(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
