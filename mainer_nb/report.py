"""The report of a run: all executed notebooks in one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import nbformat

from . import population
from .costs import usd
from .progress import amount
from .table import dollars, how_many, trillions

STYLE = Path(__file__).with_suffix(".css")
MOST_LINES_OF_ERROR = 12
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/jpeg")
DARK_PICTURE = re.compile(r'<img class="mainer-dark"[^>]*>')
USD_PER_XDR = 1.35  # as 05_costs has it at first
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page(executed: Sequence[Path], summary: Mapping[str, Any]) -> str:
    """All executed notebooks in one HTML page that needs nothing else; at its head what ran and what came of it."""
    from nbconvert import HTMLExporter

    whole = nbformat.v4.new_notebook()
    whole.cells.append(nbformat.v4.new_markdown_cell(_head(summary)))
    there = [path for path in executed if path.exists()]
    names = {path.stem for path in there}
    for path in there:
        whole.cells.append(nbformat.v4.new_markdown_cell(f'<a id="{path.stem}"></a>\n\n---'))
        whole.cells += [_printed(cell, names) for cell in nbformat.read(path, as_version=4).cells if _is_printed(cell)]
    exporter = HTMLExporter(
        template_name="lab",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
        widget_renderer_url="",
    )
    for number, cell in enumerate(whole.cells):
        cell["id"] = f"cell-{number}"
    html, _ = exporter.from_notebook_node(whole, resources={"metadata": {"name": "mAIner workbench"}})
    html = re.sub(r'<script src="">\s*</script>', "", html)
    return html.replace("</head>", f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>", 1)


def _head(summary: Mapping[str, Any]) -> str:
    """What ran, on what, what came of it and what it cost, at a glance; then the notebooks, and what failed."""
    cards = "".join(f"<div class='{kind}'><dt>{name}</dt><dd>{text}</dd></div>" for name, text, kind in _cards(summary))
    rows, failures = "", ""
    for notebook in summary["notebooks"]:
        name, status = escape(notebook["name"]), escape(notebook["status"])
        link = f'<a href="#{name}">{name}</a>' if status != "not run" else name
        rows += f"<tr><td>{link}</td><td>{status}</td><td>{notebook['seconds']} s</td></tr>"
        if status == "failed":
            failures += (
                f"<p><strong>{link} failed in {escape(notebook['cell'])}</strong></p>"
                f"<pre>{escape(notebook['error'])}</pre>"
            )
    failures += "".join(f"<p>{escape(problem)}</p>" for problem in summary["problems"])
    return (
        f'# mAIner workbench\n\n<dl class="mainer-head">{cards}</dl>\n{failures}\n'
        f"<table><tr><th>notebook</th><th>status</th><th>time</th></tr>{rows}</table>\n"
    )


def _cards(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, text as HTML and kind of what is said first. What the network could not be asked is left out."""
    statuses = [notebook["status"] for notebook in summary["notebooks"]]
    ran, failed = len(statuses) - statuses.count("not run"), statuses.count("failed")
    started = summary["started"].replace("T", " ").replace("Z", " UTC")
    took = f"{how_many(ran, 'notebook')} in {summary['seconds']}&nbsp;s"
    kind = "ok" if summary["status"] == "ok" else "failed"
    yield "Run", f"<strong>{escape(summary['status'])}</strong>, {took}<br>{started}", kind
    net = summary["network"]
    if net:
        address = escape(net["url"] or "which could not be reached")
        yield "Network", f"<strong>{escape(net['name'])}</strong><br>{address}", ""
    model, mainers, answers = summary["model"], summary["mainers"] or (), summary["submissions"]
    if model:
        name = escape(model["file"] or f"sha256 {model['sha256'][:16]}…")
        yield "Model", f"<strong>{name}</strong><br>{amount(model['size'], 'B')}{_others(model, mainers)}", ""
    if mainers:
        kinds = Counter(mainer["type"] for mainer in mainers)
        llms = sum(len(mainer["llm_ids"]) for mainer in mainers)
        of_kinds = ", ".join(population.of_kind(number, kind) for kind, number in kinds.items())
        yield "mAIners", f"<strong>{len(mainers)}</strong> with {how_many(llms, 'LLM')}<br>{of_kinds}", ""
    if answers is not None:
        new = sum(submission["submitted"] >= summary["started"] for submission in answers)
        yield "Answers", f"<strong>{new}</strong> in this run<br>{len(answers)} at the Game State", ""
    yield "Failures", _failures(failed, mainers), "failed" if failed else ""
    if mainers:
        spent = sum(mainer["cycles_spent"] or 0 for mainer in mainers)
        rate = summary["parameters"].get("usd_per_xdr", USD_PER_XDR)
        price = f"on mainnet some {dollars(usd(spent, rate))}"
        yield "Cost", f"<strong>{trillions(spent)}</strong> cycles spent by the mAIners so far<br>{price}", ""


def _others(model: Mapping[str, Any], mainers: Sequence[Mapping[str, Any]]) -> str:
    """How many LLMs have not the model that was uploaded last, but which."""
    llms = [llm for mainer in mainers for llm in mainer["llms"]]
    counted = Counter(llm["model"] or "an unknown model" for llm in llms if llm["model_sha256"] != model["sha256"])
    return "".join(
        f"<br>but {number} of {how_many(len(llms), 'LLM')}: {escape(name)}" for name, number in counted.items()
    )


def _failures(notebooks: int, mainers: Sequence[Mapping[str, Any]]) -> str:
    steps = sum(mainer["failures"] or 0 for mainer in mainers)
    text = f"<strong>{notebooks or 'none'}</strong> of the notebooks"
    return text + (f"<br>{how_many(steps, 'step')} of mAIners failed lately" if steps else "")


def _is_printed(cell: Any) -> bool:
    """Not papermill's own error notes: the opening says the same in fewer words."""
    return "papermill-error-cell-tag" not in cell.metadata.get("tags", [])


def _printed(cell: Any, notebooks: Collection[str]) -> Any:
    """A cell as it is printed: links lead to the notebooks in the page; what a page cannot have is replaced."""
    if cell.cell_type != "code":

        def to_the_place(link: re.Match[str]) -> str:
            return f"[{link[1]}](#{link[2]})" if link[2] in notebooks else link[1]

        return nbformat.v4.new_markdown_cell(re.sub(r"\[([^\]]*)\]\((\w+)\.ipynb\)", to_the_place, cell.source))
    return nbformat.v4.new_code_cell(cell.source, outputs=[_output(output) for output in cell.outputs])


def _output(output: Any) -> Any:
    """An output as it is printed: of a widget what was chosen in it; pictures in the colours of a light page, with the
    text for those who cannot see them, which nbconvert leaves out; errors without the way they took.
    """
    data = output.get("data", {})
    if output.output_type == "error":
        output.traceback = [last_message(output.ename, output.evalue)]
    elif "text/html" in data:
        return _html(DARK_PICTURE.sub("", data["text/html"]))
    elif WIDGET_VIEW in data:
        return _html("<em>(interactive in JupyterLab)</em>")
    elif kind := next((kind for kind in PICTURES if kind in data), None):
        described = output.get("metadata", {}).get(kind, {})
        size = "".join(f' {name}="{escape(str(described[name]))}"' for name in ("width", "height") if name in described)
        text = escape(described.get("alt", "picture"))
        return _html(f'<img alt="{text}"{size} src="data:{kind};base64,{data[kind].strip()}">')
    return output


def _html(text: str) -> Any:
    return nbformat.v4.new_output("display_data", {"text/html": text})


def last_message(name: str, text: str) -> str:
    """An error in a few lines, without colours."""
    lines = ANSI.sub("", f"{name}: {text}").strip().splitlines()
    return "\n".join(lines[:MOST_LINES_OF_ERROR])
