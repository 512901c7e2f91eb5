"""Forms as people use them in JupyterLab: pressed twice, while the kernel is busy, in two tabs, with wrong values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from mainer_nb import create, network, operate, places, run
from mainer_nb.create import Mainer
from tests import jupyter_lab, needed

from .conftest import PARAMETERS

pytestmark = needed.CHROMIUM

CONNECT = "from mainer_nb import create, widgets\nfrom mainer_nb.choice import connect\n\nnet = connect()"
SOON = 60 * jupyter_lab.SECONDS
# What the browser shows of a button, each time that this changes: whether it is down.
WATCH = """button => {
    window.shown = [];
    const look = () => shown.push(button.classList.contains('mod-active'));
    new MutationObserver(look).observe(button, {attributes: true}) }"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def lab(
    first_run: tuple[run.Result, Path],
    use: Callable[[Path], None],
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """JupyterLab on a network on which all notebooks ran: the address of a notebook, with a place for {name}."""
    result, state = first_run
    use(state)
    assert result.ok, result.failure
    with jupyter_lab.serving(folder, tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture
def notebook(folder: Path, lab: str, after_first_run: run.Result) -> Callable[..., str]:
    """Writes a notebook of these cells; its address."""

    def write(name: str, *cells: str) -> str:
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        nbformat.write(made, folder / f"{name}.ipynb")
        return lab.format(name=name)

    return write


@pytest.fixture
def chooses(folder: Path, lab: str, after_first_run: run.Result) -> Iterator[Callable[..., str]]:
    """Makes one of the project's notebooks with these parameters; its address. Choices are forgotten after the test."""

    def prepare(name: str, **parameters: Any) -> str:
        (path,) = run.find([name])
        papermill.execute_notebook(str(path), str(folder / path.name), parameters, prepare_only=True)
        return lab.format(name=path.stem)

    yield prepare
    (places.state() / "chosen.json").unlink(missing_ok=True)


def field(page: Any, name: str) -> Any:
    """The field with this description, what is said beside it included."""
    return page.locator(f".mainer-field:has(label:text-is('{name}'))")


def cell(page: Any, source: str) -> Any:
    return page.locator(".jp-CodeCell").filter(has=page.locator(".jp-InputArea", has_text=source)).last


def run_cell(page: Any, source: str) -> None:
    cell(page, source).locator(".jp-InputPrompt").click()
    page.keyboard.press("Control+Enter")


def from_menu(page: Any, name: str) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=name).first.click()


def since(before: list[Mainer]) -> list[Mainer]:
    return [mainer for mainer in create.mainers(network.connect()) if mainer not in before]


def test_a_press_counts_once(notebook: Callable[..., str], page: Any) -> None:
    before = create.mainers(network.connect())
    busy = "import time\n\nworking = 'yes'\ntime.sleep(3)\nprint('worked')"
    jupyter_lab.open_and_run(page, notebook("creator", CONNECT, "widgets.creator(net)", busy))
    field(page, "type").locator("select").select_option("ShareAgent")
    button = page.get_by_role("button", name="Create mAIner")
    button.evaluate(WATCH)
    for made in (1, 2):
        if made == 2:
            run_cell(page, "working")
        button.dblclick()
        assert page.evaluate("shown[0]"), "a press is not seen at once"
        button.focus()
        for _ in range(3):
            page.keyboard.press("Space")
        page.wait_for_selector(f"text=Created {create.KINDS[2]}", timeout=SOON)
        page.wait_for_function("() => shown.at(-1) === false && !document.querySelector('.mainer-press').disabled")
        page.wait_for_selector("text=worked", timeout=SOON)
        for _ in range(int(SOON) // 100):  # what is on the page is of the first press, too
            if len(since(before)) >= made:
                break
            page.wait_for_timeout(100)
        assert len(since(before)) == made


def test_what_would_not_work_is_said_beside_the_field(notebook: Callable[..., str], page: Any, tmp_path: Path) -> None:
    net = network.connect()
    mainers, challenges = create.mainers(net), operate.challenges(net)
    address = notebook("wrong", CONNECT, "widgets.creator(net)", "widgets.asker(net, create.mainers(net))")
    jupyter_lab.open_and_run(page, address)
    for name, text, said in (
        ("LLMs", "0", "0 is too few: without an LLM it could answer nothing"),
        ("LLMs", "1000", "1000 is too many"),
        ("question", "  ", "is empty: write a question"),
        ("topic", "", "is empty: write what the question is about"),
    ):
        field(page, name).locator("input").fill(text)
        field(page, name).locator("input").blur()
        field(page, name).get_by_text(said).wait_for(timeout=SOON)
    page.screenshot(path=tmp_path / "light.png")
    for button in ("Create mAIner", "Ask"):
        page.get_by_role("button", name=button).click()
    page.wait_for_function("() => ![...document.querySelectorAll('.mainer-press')].some(button => button.disabled)")
    field(page, "LLMs").locator("input").fill("1")
    field(page, "LLMs").locator("input").blur()
    field(page, "LLMs").get_by_role("alert").wait_for(state="detached", timeout=SOON)
    assert (create.mainers(net), operate.challenges(net)) == (mainers, challenges)


def test_enter_asks_and_the_answer_is_to_that_question(notebook: Callable[..., str], page: Any) -> None:
    net = network.connect()
    operate.make_room(net, challenges=2, submissions=2)
    operate.open_challenge(net, "geography", "What is the capital of France?")
    jupyter_lab.open_and_run(page, notebook("asker", CONNECT, "widgets.asker(net, create.mainers(net))"))
    question = "What is the capital of Chile?"
    field(page, "question").locator("input").fill(question)
    for _ in range(3):
        page.keyboard.press("Enter")
    answer = page.locator(".jp-OutputArea-output table").first
    answer.wait_for(timeout=jupyter_lab.RUN_TIME)
    assert question in answer.inner_text()
    page.wait_for_function("() => !document.querySelector('.mainer-press').disabled")
    assert [challenge.question for challenge in operate.challenges(net)].count(question) == 1


def test_two_tabs_create_one_mainer(notebook: Callable[..., str], page: Any, browser: Any) -> None:
    before = create.mainers(network.connect())
    tabs = [page, browser.new_page()]
    for number, tab in enumerate(tabs):
        jupyter_lab.open_and_run(tab, notebook(f"tab {number}", CONNECT, "widgets.creator(net)"))
    for tab in tabs:
        tab.get_by_role("button", name="Create mAIner").click()
    for tab in tabs:
        tab.wait_for_selector("text=/Created Own|Nothing was created/", timeout=SOON)
    said = [tab.locator(".jp-Notebook").inner_text() for tab in tabs]
    assert sorted("Nothing was created" in text for text in said) == [False, True]
    assert len(since(before)) == 1
    tabs[1].close()


def test_a_failed_choice_leaves_no_network(chooses: Callable[..., str], page: Any) -> None:
    deploy = "canisters = deploy.deploy"
    jupyter_lab.open_and_run(page, chooses("01"))
    assert "game_state_canister" in cell(page, deploy).inner_text()
    field(page, "network").locator("select").select_option(label="dfx:local  (http://127.0.0.1:4943)")
    cell(page, "net = chosen.connect").locator(".jp-InputPrompt").click()
    from_menu(page, "Run Selected Cell and All Below")
    cell(page, "net = chosen.connect").get_by_text("NetworkNotRunning").wait_for(timeout=SOON)
    run_cell(page, deploy)
    cell(page, deploy).get_by_text("dfx:local, which was chosen after local, could not be connected to").wait_for()
    assert "game_state_canister" not in cell(page, deploy).locator(".jp-Cell-outputArea").inner_text()


def test_other_notebooks_follow_the_choice(chooses: Callable[..., str], page: Any) -> None:
    net = network.connect()
    jupyter_lab.open_and_run(page, chooses("01"))
    field(page, "network").locator("select").select_option(label="dfx:local  (http://127.0.0.1:4943)")
    page.goto(chooses("02", model=PARAMETERS["model"]))
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=SOON)
    from_menu(page, "Run All Cells")
    cell(page, "net = connect").get_by_text("The network was chosen in 01_deploy").wait_for(timeout=SOON)
    jupyter_lab.open_and_run(page, chooses("02", model=PARAMETERS["model"], network="local"))
    said = cell(page, "net = connect").inner_text()
    assert net.url in said
    assert "the parameter network; 01_deploy chose dfx:local" in said
    assert run.run(["02"], PARAMETERS).ok  # whoever runs them without a person is not affected
