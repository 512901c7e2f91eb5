"""Make docs/tour.md, its pictures and docs/result.png of a run of all notebooks, with the default model.

    make tour

The run has a project, a network and a key of its own in build/tour. The tour names the sha256 of each notebook that it
was made of, so a test says when it must be made again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from mainer_nb import init, places, progress, run
from mainer_nb.localnet import server

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
TOUR, PICTURES, RESULT = ROOT / "docs" / "tour.md", ROOT / "docs" / "tour", ROOT / "docs" / "result.png"
WORK = ROOT / "build" / "tour"
LARGEST = 1_500_000  # bytes of the tour with its pictures
IN_RESULT = ("plots.relations(", "plots.timeline(")  # the calls whose pictures are in docs/result.png
COLOURS = 64  # of a picture
# Whose networks and identities would be in the lists: those of the tools on this machine.
OTHER_TOOLS = ("ICP_HOME", "DFX_CONFIG_ROOT", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
OPENING = """# A tour

What the notebooks show when they run, from the first one to the last: on the embedded network, with the default model,
on a small machine. `make tour` made this page; to see it live, `make lab`.
"""


def main() -> int:
    """Run the notebooks and write the tour; the exit status. If a notebook fails, the old tour stays."""
    names = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    result = _run(names)
    if not result.ok:
        print(f"tour: {result.failure}", file=sys.stderr)
        return 1
    pages = [_Page(result.folder / f"{name}.ipynb") for name in names]
    files = {PICTURES / name: data for page in pages for name, data in page.pictures.items()}
    text = "\n".join([OPENING, _contents(pages), *(page.text for page in pages), stamp(NOTEBOOKS)])
    result_png = _stacked([page.pictures[name] for page in pages for name in page.in_result])
    size = len(text.encode()) + len(result_png) + sum(map(len, files.values()))
    if size > LARGEST:
        print(f"tour: it would have {size:,} bytes, but may have {LARGEST:,}", file=sys.stderr)
        return 1
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    for path, data in files.items():
        path.write_bytes(data)
    RESULT.write_bytes(result_png)
    TOUR.write_text(text, encoding="utf-8")
    print(f"{TOUR.relative_to(ROOT)}: {len(files)} pictures, {size:,} bytes in all")
    return 0


def stamp(notebooks: Path) -> str:
    """What the tour says it was made of: the sha256 of what stands in the cells of each notebook."""
    lines = [f"{path.stem} {_sha256(path)}" for path in sorted(notebooks.glob("*.ipynb"))]
    return "<!-- made of\n" + "\n".join(lines) + "\n-->\n"


def _sha256(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return hashlib.sha256("\0".join(cell.source for cell in cells).encode()).hexdigest()


def _run(names: Sequence[str]) -> run.Result:
    shutil.rmtree(WORK, ignore_errors=True)
    init.project(WORK / "project")
    os.environ |= {"MAINER_NB_PROJECT": str(WORK / "project"), "MAINER_NB_STATE": str(WORK / "state")}
    os.environ |= {"MAINER_NB_CONFIG": str(WORK / "config"), "MAINER_NB_CACHE": str(places.cache())}
    os.environ |= {name: str(WORK / "nothing") for name in OTHER_TOOLS}
    face = progress.auto()
    os.environ["MAINER_NB_PROGRESS"] = "silent"  # in the notebooks
    try:
        return run.run(names, output=WORK / "runs", progress=face)
    finally:
        server.stop(WORK / "state")


class _Page:
    """An executed notebook as Markdown. `pictures`: PNG by file name; `in_result`: the names of those in RESULT."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.pictures: dict[str, bytes] = {}
        self.in_result: list[str] = []
        cells = nbformat.read(path, as_version=4).cells
        self.title = cells[0].source.splitlines()[0].removeprefix("# ")
        self.text = f'<a id="{self.name}"></a>\n\n' + "\n".join(block for cell in cells for block in self._blocks(cell))

    def _blocks(self, cell: Any) -> Iterator[str]:
        """A cell with what it shows, as blocks of Markdown; code that shows nothing is left out, but for
        the parameters.
        """
        if cell.cell_type == "markdown":
            text = re.sub(r"\]\((\w+)\.ipynb\)", r"](#\1)", cell.source)
            yield re.sub(r"^#", "##", text, flags=re.MULTILINE) + "\n"
            return
        shown = [block for output in cell.get("outputs", []) for block in self._shown(output, cell.source)]
        if shown or "parameters" in cell.metadata.get("tags", []):
            yield f"```python\n{cell.source}\n```\n"
            yield from shown

    def _shown(self, output: Any, source: str) -> Iterator[str]:
        data = output.get("data", {})
        if "image/png" in data:
            name = f"{self.name}-{len(self.pictures) + 1}.png"
            self.pictures[name] = _small(b64decode(data["image/png"]))
            self.in_result += [name] if source.startswith(IN_RESULT) else []
            text = output.metadata["image/png"]["alt"].replace("[", "(").replace("]", ")")
            yield f"![{text}]({PICTURES.name}/{name})\n"
        elif "text/html" in data:
            yield _plain(data["text/html"]) + "\n"
        elif text := (output.get("text") or data.get("text/plain", "")).strip():
            yield f"```text\n{text}\n```\n"


def _plain(html: str) -> str:
    """A table without the styles, which pages of repositories drop, in lines of its own."""
    html = re.sub(r' (?:style|class|tabindex)="[^"]*"', "", html)
    return re.sub(r"</?div>|\n\s*(?=\n)|<wbr>", "", html).strip()


def _small(png: bytes) -> bytes:
    """A picture in few colours, which is enough for a plot."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _stacked(pictures: Sequence[bytes]) -> bytes:
    """Pictures below each other, as one."""
    images = [Image.open(BytesIO(picture)).convert("RGB") for picture in pictures]
    whole = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    buffer = BytesIO()
    whole.save(buffer, "PNG")
    return _small(buffer.getvalue())


def _contents(pages: Sequence[_Page]) -> str:
    return "\n".join(f"- [{page.title}](#{page.name})" for page in pages) + "\n"


if __name__ == "__main__":
    sys.exit(main())
