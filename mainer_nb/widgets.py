"""For people who would rather click: choosing network and model, creating a mAIner, asking a question.

    chosen = widgets.choose_network(network, identity)     # shows two lists, set to the notebook's parameters
    net = connect(chosen.network, chosen.identity)         # in the next cell, when the choice is made

Nothing here waits: in a headless run the choices stay what the parameters say, and the buttons are not pressed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
from IPython.display import display

from . import artifacts, create, identity, network, operate, progress, tables
from .create import Mainer
from .errors import MainerError
from .network import Network

LABEL = {"description_width": "9em"}
WIDE: Any = {"style": LABEL, "layout": {"width": "38em"}}


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
        fields = [child for child in self.children if getattr(child, "description", "") and hasattr(child, "value")]
        return ", ".join(f"{field.description}: {getattr(field, 'label', field.value)}" for field in fields)


class NetworkChoice:
    """Two lists; `network` and `identity` are what is chosen in them."""

    def __init__(self, network_name: str, identity_name: str | None) -> None:
        networks = [(f"{config.name}  ({config.url or 'embedded'})", config.name) for config in network.known()]
        identities = [(f"{entry.name}  ({entry.tool})", entry.name) for entry in identity.known() if entry.path]
        self._network = _list("network", networks, network_name)
        self._identity = _list("identity", identities, identity_name or identity.DEVELOPMENT)
        self._given = identity_name

    @property
    def network(self) -> str:
        return str(self._network.value)

    @property
    def identity(self) -> str | None:
        """None, if the parameter was and nothing else was chosen: the network's default."""
        chosen = str(self._identity.value)
        return None if self._given is None and chosen == identity.DEVELOPMENT else chosen

    def _ipython_display_(self) -> None:
        display(Form([self._network, self._identity]))


class ModelChoice:
    """A list; `model` is what is chosen in it."""

    def __init__(self, name: str | Path | None) -> None:
        unusable = artifacts.unusable_models()
        names = [(f"{name} (cannot be used)" if name in unusable else name, name) for name in artifacts.model_names()]
        self._model = _list("model", names, str(name or artifacts.DEFAULT_MODEL))

    @property
    def model(self) -> str:
        return str(self._model.value)

    def _ipython_display_(self) -> None:
        display(Form([self._model]))


def choose_network(network_name: str, identity_name: str | None) -> NetworkChoice:
    """The networks and identities known here, to choose from; at first those given."""
    return NetworkChoice(network_name, identity_name)


def choose_model(name: str | Path | None) -> ModelChoice:
    """The models in files/ and the default one, to choose from; at first the one given."""
    return ModelChoice(name)


def creator(net: Network) -> Form:
    """A form that creates a mAIner of a chosen type with so many LLMs, and lists all mAIners after it."""
    kind = ipywidgets.Dropdown(description="type", options=create.KINDS, **WIDE)
    llms = ipywidgets.BoundedIntText(description="LLMs", value=1, min=0, max=8, **WIDE)
    service = ipywidgets.Dropdown(description="ShareService", options=_services(net), **WIDE)

    def suit(change: dict[str, Any]) -> None:
        llms.disabled, service.disabled = change["new"] == "ShareAgent", change["new"] != "ShareAgent"

    kind.observe(suit, "value")
    suit({"new": kind.value})

    def make() -> None:
        agent = kind.value == "ShareAgent"
        made = create.create_mainer(net, kind.value, service.value if agent else None, progress.auto())
        for _ in range(0 if agent else llms.value):
            create.add_llm(net, made.controller_id, progress=progress.auto())
        service.options = _services(net)
        print(f"Created {made.name} ({made.controller_id}).")
        display(tables.mainers(create.mainers(net)))

    return _form([kind, llms, service], "Create mAIner", make)


def asker(net: Network, mainers: Sequence[Mainer]) -> Form:
    """A form that opens a challenge with a question of one's own and has an Own mAIner answer one."""
    answering = [(mainer.name, mainer.controller_id) for mainer in mainers if mainer.kind == "Own"]
    topic = ipywidgets.Text(description="topic", value="geography", **WIDE)
    question = ipywidgets.Text(description="question", value="What is the capital of Italy?", **WIDE)
    mainer = ipywidgets.Dropdown(description="mAIner", options=answering, **WIDE)

    def ask() -> None:
        before = operate.submission_ids(net)
        operate.make_room(net, challenges=1, submissions=1)
        operate.open_challenge(net, topic.value, question.value)
        print(operate.answer(net, mainer.value, progress.auto()))
        display(tables.submissions(operate.new_submissions(net, before), mainers))

    return _form([topic, question, mainer], "Ask", ask)


def _services(net: Network) -> list[tuple[str, str]]:
    services = [service for service in create.mainers(net) if service.kind == "ShareService"]
    return [(f"{service.name}  ({service.controller_id})", service.controller_id) for service in services]


def _list(description: str, options: list[tuple[str, str]], value: str) -> ipywidgets.Dropdown:
    """A list of choices, to which a value that is not among them (an address, a path) is added."""
    if value not in [choice for _, choice in options]:
        options = [(value, value), *options]
    return ipywidgets.Dropdown(description=description, options=options, value=value, **WIDE)


def _form(fields: Sequence[ipywidgets.Widget], label: str, action: Callable[[], None]) -> Form:
    """Fields and a button that carries out `action`; what that prints or raises is shown below."""
    button = ipywidgets.Button(description=label, button_style="primary")
    output = ipywidgets.Output()

    def pressed(_: object) -> None:
        button.disabled = True
        output.clear_output()
        with output:
            try:
                action()
            except MainerError as error:
                print(f"{type(error).__name__}: {error}")
            finally:
                button.disabled = False

    button.on_click(pressed)
    return Form([*fields, button, output])
