"""How current small instruct families are asked. The templates have the constructs of each family's own, in little."""

# ruff: noqa: E501 - families write their templates in long lines

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy
import pytest

from mainer_nb import chat_templates, models
from mainer_nb.errors import ArtifactCorrupt

WRITTEN = datetime(2026, 3, 7, 12, tzinfo=UTC)
QUESTION = "What do bees make?"


class Family(NamedTuple):
    """`pre`: its pre-tokenizer, "" for a SentencePiece vocabulary; `bos`: its beginning-of-text token, which its
    tokenizer adds or not as llama.cpp has it for that pre-tokenizer."""

    template: str
    pre: str
    bos: str
    eos: str
    prefix: str
    suffix: str


FAMILIES = {
    "Qwen2.5": Family(
        """{%- if tools %}
    {{- '<|im_start|>system\\n# Tools' }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}""",
        "qwen2",
        "",
        "<|im_end|>",
        "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
    "Qwen3": Family(
        """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
        "qwen2",
        "",
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "Llama 3.2": Family(
        """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one tool call at a time") }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}""",
        "llama-bpe",
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|start_header_id|>system<|end_header_id|>\n\nToday Date: 07 Mar 2026\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "Gemma 3": Family(
        """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}""",
        "",
        "<bos>",
        "<end_of_turn>",
        "<start_of_turn>user\n",
        "<end_of_turn>\n<start_of_turn>model\n",
    ),
    "Phi-4-mini": Family(
        """{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}""",
        "gpt-4o",
        "<|endoftext|>",
        "<|end|>",
        "<|user|>",
        "<|end|><|assistant|>",
    ),
    "SmolLM2": Family(
        """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are SmolLM.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
        "smollm",
        "<|im_start|>",
        "<|im_end|>",
        "<|im_start|>system\nYou are SmolLM.<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
    "SmolLM3": Family(
        """{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\\n" -}}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "Today Date: " ~ today ~ "\\n" -}}
{{- "Reasoning Mode: " + reasoning_mode + "\\n\\n" -}}
{{- "<|im_end|>\\n" -}}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>" + message.role + "\\n"  + content + "<|im_end|>\\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}{{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}{% endgeneration %}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {%- if reasoning_mode == "/think" -%}
        {{ "<|im_start|>assistant\\n" }}
    {%- else -%}
        {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n"  }}
    {%- endif -%}
{%- endif -%}""",
        "smaug-bpe",
        "",
        "<|im_end|>",
        "<|im_start|>system\nToday Date: 07 March 2026\nReasoning Mode: /no_think\n\n<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n",
    ),
    "Ministral": Family(
        """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}{{- "[AVAILABLE_TOOLS]" + tools | tojson(indent=None) + "[/AVAILABLE_TOOLS]" }}{%- endif %}
        {{- "[INST]" + message["content"] + "[/INST]" }}
    {%- elif message["role"] == "assistant" %}
        {{- message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}""",
        "tekken",
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
    ),
    "Granite": Family(
        """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Today's Date: " + strftime_now('%B %d, %Y') + "." %}
    {%- if thinking %}{%- set system_message = system_message + " Think first." %}{%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\\n' }}
{%- if documents %}{{- '<|start_of_role|>documents<|end_of_role|>' }}{{- documents | tojson(indent=4) }}{%- endif %}
{%- for message in loop_messages %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' }}
        {%- if controls %}{{- ' ' + controls | tojson() }}{%- endif %}
        {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}""",
        "refact",
        "<|end_of_text|>",
        "<|end_of_text|>",
        "<|start_of_role|>system<|end_of_role|>Today's Date: March 07, 2026.<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>",
        "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    ),
    "DeepSeek R1 distilled": Family(
        """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}""",
        "deepseek-r1-qwen",
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜begin▁of▁sentence｜><｜User｜>",
        "<｜Assistant｜><think>\n\n</think>\n\n",
    ),
    "TinyLlama": Family(
        """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
        "",
        "<s>",
        "</s>",
        "<|user|>\n",
        "</s>\n<|assistant|>\n",
    ),
    "LFM2": Family(
        """{{- bos_token -}}
{%- set system_prompt = "" -%}
{%- set ns = namespace(system_prompt="") -%}
{%- if messages[0]["role"] == "system" -%}
    {%- set ns.system_prompt = messages[0]["content"] -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {%- for tool in tools -%}
        {%- if tool is not string -%}{%- set tool = tool | tojson -%}{%- endif -%}
        {%- set ns.system_prompt = ns.system_prompt + tool -%}
        {%- if not loop.last -%}{%- set ns.system_prompt = ns.system_prompt + ", " -%}{%- endif -%}
    {%- endfor -%}
{%- endif -%}
{%- if ns.system_prompt -%}{{- "<|im_start|>system\\n" + ns.system_prompt + "<|im_end|>\\n" -}}{%- endif -%}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" -}}
    {%- set content = message["content"] -%}
    {%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}
    {{- content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}""",
        "lfm2",
        "<|startoftext|>",
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
    "with macros and loop controls": Family(
        """{%- macro turn(role, text) -%}<{{ role }}>{{ text }}</{{ role }}>{%- endmacro -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}{%- continue -%}{%- endif -%}
    {{- turn(message.role, message.content) -}}
    {%- if loop.index > 5 -%}{%- break -%}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<assistant>{%- endif -%}""",
        "qwen2",
        "",
        "</assistant>",
        "<user>",
        "</user><assistant>",
    ),
    "with a list of parts only": Family(
        """{% for message in messages %}<|{{ message.role }}|>{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}""",
        "smollm",
        "",
        "<end>",
        "<|user|>",
        "<end><|assistant|>",
    ),
}


def write(path: Path, family: Family) -> Path:
    """A gguf with the template and special tokens of a family, last changed on a known day."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2" if family.pre else "llama")
    if family.pre:
        writer.add_tokenizer_pre(family.pre)
    writer.add_token_list(["word", family.bos or "unused", family.eos])
    if family.bos:
        writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(family.template)
    writer.add_tensor("token_embd.weight", numpy.zeros((3, 64), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.utime(path, (WRITTEN.timestamp(), WRITTEN.timestamp()))
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_asked_in_its_own_form(tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    prompt = models.describe(write(tmp_path / "model.gguf", family)).prompt
    assert prompt == models.PromptFormat(family.prefix, family.suffix)


def render(template: str, **tokens: str) -> str:
    return chat_templates.render(template, [{"role": "user", "content": QUESTION}], tokens, WRITTEN)


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        ("{{ x | tojson }}", '{"ü": "<b>&\'", "a": [1, 2]}'),
        ("{{ x | tojson(ensure_ascii=True) }}", '{"\\u00fc": "<b>&\'", "a": [1, 2]}'),
        ("{{ x | tojson(separators=(',', ':')) }}", '{"ü":"<b>&\'","a":[1,2]}'),
        ("{{ x | tojson(sort_keys=true) }}", '{"a": [1, 2], "ü": "<b>&\'"}'),
        ("{{ x.a | tojson(indent=2) }}", "[\n  1,\n  2\n]"),
    ],
)
def test_json_is_written_as_transformers_does(filtered: str, expected: str) -> None:
    value: dict[str, Any] = {"ü": "<b>&'", "a": [1, 2]}
    assert json.loads(expected) in (value, value["a"])
    assert render("{% set x = " + repr(value) + " %}" + filtered) == expected


def test_what_is_set_in_a_generation_block_stays_in_it() -> None:
    assert render("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}") == "21"


@pytest.mark.parametrize(
    "template",
    [
        "{% generation %}",
        "{% endgeneration %}",
        "{% break %}",
        "{{ raise_exception('a system message is wanted') }}",
        "{{ messages[7].content }}",
        "{{ 1 // 0 }}",
        "{{ 'a' + 1 }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{{ strftime_now(7) }}",
        "{{ ''.__class__.__mro__ }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ x | tojson(indent={}) }}",
        "{% include 'other' %}",
        "{% import 'os' as os %}{{ os }}",
        "{{ cycler.__init__.__globals__ }}",
        "(" * 500 + "{{" + "(" * 500 + "}}",
    ],
)
def test_a_faulty_template_is_refused_with_the_file(tmp_path: Path, template: str) -> None:
    path = write(tmp_path / "faulty.gguf", FAMILIES["Qwen2.5"]._replace(template=template))
    with pytest.raises(ArtifactCorrupt, match=r"chat template in .*faulty\.gguf"):
        models.describe(path)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "takes more than 1 s"),
        ("{{ 9**(9**9) }}", "takes more than 1 s"),
        ("{{ 'x' * 9000000000 }}", "MemoryError"),
        ("{{ '%999999999999d' % 1 }}", "MemoryError"),
        ("{{ messages[0].content }}{{ 'x' * 2000000 }}", f"makes {2_000_000 + len(models.USER_TEXT)} characters"),
    ],
)
def test_a_template_that_takes_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, reason: str
) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 1)
    path = write(tmp_path / "hostile.gguf", FAMILIES["Qwen2.5"]._replace(template=template))
    with pytest.raises(ArtifactCorrupt, match=rf"chat template in .*hostile\.gguf cannot be rendered: .*{reason}"):
        models.describe(path)


def test_a_template_that_a_mainer_cannot_keep_is_refused(tmp_path: Path, write_gguf: Callable[..., Path]) -> None:
    path = write_gguf(tmp_path / "long.gguf", "x" * 20_001 + "{{ messages[0].content }}<a>")
    with pytest.raises(ArtifactCorrupt, match="puts 20001 bytes before the question, more than the 20000"):
        models.describe(path)
