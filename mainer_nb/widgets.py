"""For people who would rather click: choosing network and model, creating a mAIner, asking a question.

    chosen = widgets.choose_network(network, identity)     # shows two lists, set to the notebook's parameters
    net = chosen.connect()                                 # in the next cell, when the choice is made

Nothing here waits: in a headless run the choices stay what the parameters say, and the buttons are not pressed.

A press counts once. The browser itself shows that it was taken and takes no other one until the kernel is done with
it (`Press`), so neither a double click nor a press while the kernel is busy does anything twice. A wrong field says
beside it what is wrong (`CheckedField`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
from IPython.display import display

from . import artifacts, choice, create, identity, network, operate, progress, stopping, tables
from .create import Mainer
from .errors import MainerError
from .network import Network

LABEL = {"description_width": "9em"}
WIDE: Any = {"style": LABEL, "layout": {"width": "38em"}}
REFUSED = "color: var(--jp-error-color1, #c62828)"  # JupyterLab's, which follows its theme
# A button that is pressed says so itself: the browser draws this while the kernel may be busy with something else.
PRESSED = """<style>
.mainer-press { width: auto; padding: 0 1em; margin-left: 9.4em; align-self: flex-start }
.mainer-press.mod-active { pointer-events: none; opacity: 1 !important }
.mainer-press.mod-active::after { content: ": taken, under way …" }
.mainer-field > :first-child { flex-shrink: 0 }
.mainer-field.mainer-refused :is(input, select) { border-color: var(--jp-error-color1, #c62828) !important }
</style>"""


class Form(ipywidgets.VBox):
    """Fields below each other; where widgets cannot be shown, a hint where they can."""

    def __repr__(self) -> str:
        return f"{self._fields()} (interactive: run this cell in JupyterLab)".strip()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The form, and what was in it for whoever has no kernel. Where nobody can click, only the latter: JupyterLab
        shows no form that belongs to another kernel.
        """
        shown = {"text/html": f"<em>{escape(repr(self))}</em>", "text/plain": repr(self)}
        return {**super()._repr_mimebundle_(**kwargs), **shown} if progress.watched() else shown

    def _fields(self) -> str:
        """What is in the fields."""
        inner = [child.field if isinstance(child, CheckedField) else child for child in self.children]
        fields = [child for child in inner if getattr(child, "description", "") and hasattr(child, "value")]
        shown = [field for field in fields if not isinstance(field, Press)]
        return ", ".join(f"{field.description}: {getattr(field, 'label', field.value)}" for field in shown)


class CheckedField(ipywidgets.HBox):
    """A field, and beside it why what is in it would not work.

    Args:
        problem: the reason; "" if there is none.
    """

    def __init__(self, field: Any, problem: Callable[[], str]) -> None:
        self.field, self.problem, self.note = field, problem, ipywidgets.HTML()
        super().__init__([field, self.note])
        self.add_class("mainer-field")

    def check(self) -> bool:
        """Whether what is in the field would work; if not, the reason is shown."""
        reason = "" if self.field.disabled else self.problem()
        self.note.value = f'<span role="alert" style="{REFUSED}">✗ {escape(reason)}</span>' if reason else ""
        (self.add_class if reason else self.remove_class)("mainer-refused")
        return not reason


class Press(ipywidgets.ToggleButton):
    """A button whose press counts once.

    It is down from the press until `action` is done. As long as it is down the browser gives it no other click, which
    needs no answer from the kernel. What arrives all the same (by the keyboard, from a second window) is dropped until
    the browser has sent back a number twice: by then everything that was pressed before has arrived, also what the
    browser held back until the kernel was done.
    """

    def __init__(self, label: str, action: Callable[[], None]) -> None:
        super().__init__(description=label, button_style="primary")
        self.add_class("mainer-press")
        self._action, self._free = action, True
        self._sent, self._back = ipywidgets.IntText(), ipywidgets.IntText()
        self._link = ipywidgets.jsdlink((self._sent, "value"), (self._back, "value"))
        self.observe(self._pressed, "value")
        self._back.observe(self._came_back, "value")

    def press(self) -> None:
        """As if it was clicked, for instance by Enter in a field."""
        if self._free:
            self.value = True

    def _pressed(self, change: dict[str, Any]) -> None:
        if change["new"] and self._free:
            self._free, self.disabled = False, True
            try:
                self._action()
            finally:
                self._sent.value += 1

    def _came_back(self, change: dict[str, Any]) -> None:
        if change["new"] != self._sent.value:
            return
        if change["new"] % 2:
            self._sent.value += 1
        else:
            self.value, self.disabled, self._free = False, False, True


class NetworkChoice:
    """Two lists; `choice` is what is chosen in them, which the other notebooks follow."""

    def __init__(self, network_name: str | None, identity_name: str | None) -> None:
        self._first = choice.find(network_name, identity_name)
        networks = [(f"{config.name}  ({config.url or 'embedded'})", config.name) for config in network.known()]
        identities = [(f"{entry.name}  ({entry.tool})", entry.name) for entry in identity.known() if entry.path]
        self._network = _list("network", networks, self._first.network)
        self._identity = _list("identity", identities, self._first.identity or identity.DEVELOPMENT)
        self._fields = [
            CheckedField(self._network, lambda: ""),
            CheckedField(self._identity, self._problem_of_identity),
        ]
        for field in self._fields:
            field.field.observe(self._chosen, "value")
            field.check()

    @property
    def choice(self) -> choice.Choice:
        """The network and the identity; None for the network's default, unless another one was asked for."""
        name = str(self._identity.value)
        default = self._first.identity is None and name == identity.DEVELOPMENT
        chosen = choice.Choice(str(self._network.value), None if default else name)
        same = (chosen.network, chosen.identity) == (self._first.network, self._first.identity)
        return self._first if same else chosen

    def connect(self) -> Network:
        """Connect to what is chosen; errors as of `network.connect`. If that fails, the notebook has no network."""
        choice.keep(self.choice)
        return choice.connect_to(self.choice)

    def _chosen(self, _: object) -> None:
        for field in self._fields:
            field.check()
        choice.keep(self.choice)

    def _problem_of_identity(self) -> str:
        config = {known.name: known for known in network.known()}.get(str(self._network.value))
        if config and config.mainnet and self.choice.identity is None:
            return "on mainnet an identity of your own is needed, which has the canisters and the cycles"
        return ""

    def _ipython_display_(self) -> None:
        display(Form([ipywidgets.HTML(PRESSED), *self._fields]))


class ModelChoice:
    """A list; `model` is what is chosen in it."""

    def __init__(self, name: str | Path | None) -> None:
        unusable = artifacts.unusable_models()
        names = [(f"{name} (cannot be used)" if name in unusable else name, name) for name in artifacts.model_names()]
        self._model = _list("model", names, str(name or artifacts.DEFAULT_MODEL))
        self._field = CheckedField(self._model, lambda: "this file cannot be used" if self.model in unusable else "")
        self._model.observe(lambda _: self._field.check(), "value")
        self._field.check()

    @property
    def model(self) -> str:
        return str(self._model.value)

    def _ipython_display_(self) -> None:
        display(Form([ipywidgets.HTML(PRESSED), self._field]))


def choose_network(network_name: str | None, identity_name: str | None) -> NetworkChoice:
    """The networks and identities known here, to choose from; at first those given, or those chosen last."""
    return NetworkChoice(network_name, identity_name)


def choose_model(name: str | Path | None) -> ModelChoice:
    """The models in files/ and the default one, to choose from; at first the one given."""
    return ModelChoice(name)


def creator(net: Network) -> Form:
    """A form that creates a mAIner of a chosen type with so many LLMs, and lists all mAIners after it."""
    known = create.mainers(net)
    kind = ipywidgets.Dropdown(description="type", options=create.KINDS, **WIDE)
    llms = ipywidgets.IntText(description="LLMs", value=1, **WIDE)
    service = ipywidgets.Dropdown(description="ShareService", options=_services(known), **WIDE)

    def suit(change: dict[str, Any]) -> None:
        llms.disabled, service.disabled = change["new"] == "ShareAgent", change["new"] != "ShareAgent"

    kind.observe(suit, "value")
    suit({"new": kind.value})

    interrupted = False

    def make() -> None:
        nonlocal known, interrupted
        if interrupted:  # nothing can be asked of the network while something stops
            known, interrupted = create.mainers(net), False
        agent = kind.value == "ShareAgent"
        number, of = (0, service.value) if agent else (llms.value, None)
        try:
            made = create.create_one(net, kind.value, number, of, known, progress.auto())
            print(f"Created {made.name} ({made.controller_id}).")
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if not interrupted:
                known = create.mainers(net)
                service.options = _services(known)
                display(tables.mainers(known))

    fields = [
        CheckedField(kind, lambda: ""),
        CheckedField(llms, lambda: create.problem_of_llms(kind.value, llms.value)),
        CheckedField(service, lambda: create.problem_of_service(service.value, known)),
    ]
    return _form(fields, "Create mAIner", make)


def asker(net: Network, mainers: Sequence[Mainer]) -> Form:
    """A form that asks a mAIner a question of one's own and shows its answer, and what it answered before that."""
    answering = [(mainer.name, mainer.controller_id) for mainer in mainers if mainer.kind != "ShareService"]
    topic = ipywidgets.Text(description="topic", value="geography", **WIDE)
    question = ipywidgets.Text(description="question", value="What is the capital of Italy?", **WIDE)
    mainer = ipywidgets.Dropdown(description="mAIner", options=answering, **WIDE)

    def ask() -> None:
        before = operate.submission_ids(net)
        answer = operate.ask(net, question.value, mainer.value, topic.value, progress=progress.auto())
        display(tables.submissions([answer], mainers))
        others = [submission for submission in operate.new_submissions(net, before) if submission != answer]
        if others:
            print("Answered in the meantime, since the Game State hands out its open challenges at random:")
            display(tables.submissions(others, mainers))

    fields = [
        CheckedField(topic, lambda: "" if topic.value.strip() else "is empty: write what the question is about"),
        CheckedField(question, lambda: "" if question.value.strip() else "is empty: write a question"),
        CheckedField(mainer, lambda: "" if mainer.value else f"there is none: run {create.CREATE_STEP}"),
    ]
    return _form(fields, "Ask", ask)


def _services(mainers: Sequence[Mainer]) -> list[tuple[str, str]]:
    services = [mainer for mainer in mainers if mainer.kind == "ShareService"]
    return [(f"{service.name}  ({service.controller_id})", service.controller_id) for service in services]


def _list(description: str, options: list[tuple[str, str]], value: str) -> ipywidgets.Dropdown:
    """A list of choices, to which a value that is not among them (an address, a path) is added."""
    if value not in [choice for _, choice in options]:
        options = [(value, value), *options]
    return ipywidgets.Dropdown(description=description, options=options, value=value, **WIDE)


def _form(fields: Sequence[CheckedField], label: str, action: Callable[[], None]) -> Form:
    """Fields and a button that carries out `action`, if what is in the fields would work; Enter in a line of text does
    what the button does. What the action prints or raises is shown below.
    """
    output = ipywidgets.Output()

    def check(_: object = None) -> bool:
        checked = [field.check() for field in fields]  # all of them, so that each says what is wrong with it
        return all(checked)

    def act() -> None:
        output.clear_output()
        if not check():
            return
        with output, stopping.by_interrupt():
            try:
                action()
            except (MainerError, KeyboardInterrupt) as error:
                print("\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]))

    button = Press(label, act)
    for field in fields:
        field.field.observe(check, "value")
        if isinstance(field.field, ipywidgets.Text):
            field.field.on_msg(lambda _, content, __: button.press() if content.get("event") == "submit" else None)
    check()
    return Form([ipywidgets.HTML(PRESSED), *fields, button, output])
