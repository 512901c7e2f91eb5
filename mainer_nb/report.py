"""The report of a run: all executed notebooks in one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import nbformat

MOST_LINES_OF_ERROR = 12
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page(executed: Sequence[Path], summary: Mapping[str, Any]) -> str:
    """All executed notebooks in one HTML page that needs nothing else, with a table of contents."""
    from nbconvert import HTMLExporter

    whole = nbformat.v4.new_notebook()
    whole.cells.append(nbformat.v4.new_markdown_cell(_opening(summary)))
    for path in executed:
        if path.exists():
            whole.cells.append(nbformat.v4.new_markdown_cell(f'<a id="{path.stem}"></a>\n\n---'))
            whole.cells += [_printed(cell) for cell in nbformat.read(path, as_version=4).cells if _is_printed(cell)]
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
    return re.sub(r'<script src="">\s*</script>', "", html)


def _opening(summary: Mapping[str, Any]) -> str:
    """The page's head: what ran, with links to it, and what failed."""
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
    net, model = summary["network"], summary["model"] or {}
    where = f"Network {net['name']} at {net['url']}" if net["url"] else f"Network {net['name']}, which is not running"
    return (
        f"# mAIner workbench\n\n"
        f"Run of {summary['started']}, {summary['seconds']} seconds: **{summary['status']}**. "
        f"{where}; model {model.get('file') or 'none'}.\n\n"
        f"<table><tr><th>notebook</th><th>status</th><th>time</th></tr>{rows}</table>\n{failures}"
    )


def _is_printed(cell: Any) -> bool:
    """Not papermill's own error notes: the opening says the same in fewer words."""
    return "papermill-error-cell-tag" not in cell.metadata.get("tags", [])


def _printed(cell: Any) -> Any:
    """A cell as it is printed: links lead to places in the page; no widgets, which a page cannot have; errors without
    the way they took.
    """
    if cell.cell_type != "code":
        return nbformat.v4.new_markdown_cell(re.sub(r"\]\((\w+)\.ipynb\)", r"](#\1)", cell.source))
    outputs = []
    for output in cell.outputs:
        if WIDGET_VIEW in output.get("data", {}):
            output = nbformat.v4.new_output("display_data", {"text/html": "<em>(interactive in JupyterLab)</em>"})
        elif output.output_type == "error":
            output.traceback = [last_message(output.ename, output.evalue)]
        outputs.append(output)
    return nbformat.v4.new_code_cell(cell.source, outputs=outputs)


def last_message(name: str, text: str) -> str:
    """An error in a few lines, without colours."""
    lines = ANSI.sub("", f"{name}: {text}").strip().splitlines()
    return "\n".join(lines[:MOST_LINES_OF_ERROR])
