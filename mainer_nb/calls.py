"""Any method of any canister, called with text, as a person types it or a script makes it.

    canister = calls.find(net, "mainer_creator_canister")     # or an id, or a mAIner's name: "ShareAgent 2"
    method = calls.method(canister, "testCreateMainerControllerCanister")
    values = method.results(calls.arguments(method, "(variant {Own}, null)"))     # or JSON: '["Own", null]'
    calls.text(method, values), calls.as_json(method, values)

How values look as text and as JSON: `protocol.candid.values`, `protocol.candid.json_form`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import localnet, management, overview, places, population
from .canister import Canister, CanisterMethod
from .errors import ArgumentError, CallError, MainerError, TransportError
from .network import CREATOR, GAME_STATE, Network
from .operate import TRIGGER_TIMEOUT
from .protocol import candid, principal
from .protocol.candid import json_form, printing, values
from .upload import CONTROLLER

LLM = "llama_cpp"
INTERFACE_SECTION = "candid:service"  # the custom section of a wasm module that has its .did
MANAGEMENT_INTERFACE = Path(localnet.__file__).with_name("management") / "management.did"
CANDID_BEGINNINGS = r"\(|//|/\*|(record|variant|vec|opt|blob|principal|service|func)\b"


def find(net: Network, who: str, interface: Path | None = None) -> Canister:
    """The canister that somebody names.

    Args:
        who: its id; a role, such as "game_state_canister", or another name that icp-cli or dfx knows an id of on this
            network; a mAIner's or an LLM's name as the tables show it: "ShareAgent 2", "Own 1, LLM 2".
        interface: a .did; None: that in files/ for the project's canisters, else the one in the canister itself.

    Raises:
        ArgumentError: there is no such canister; the error lists those that have names.
        PreconditionError: it was not deployed here.
    """
    canister_id, shipped = _found(net, who)
    if interface is None and shipped is None:
        return Canister(net.agent, canister_id, told(net, canister_id), who)
    return Canister(net.agent, canister_id, interface or shipped or "", who)


def find_id(net: Network, who: str) -> str:
    """The id of the canister that somebody names. Arguments and errors as of `find`."""
    return _found(net, who)[0]


def _found(net: Network, who: str) -> tuple[str, Path | None]:
    """The id, and the path of the interface if it is one of the project's canisters."""
    if who in (GAME_STATE, CREATOR):
        return net.canister_id(who), places.files() / f"{who}.did"
    if who == management.MANAGEMENT:
        return who, MANAGEMENT_INTERFACE
    known = _mainers(net)
    if _is_id(who):
        for role in (GAME_STATE, CREATOR):
            if net.ids.get(role) == who:
                return who, places.files() / f"{role}.did"
        for mainer in known:
            if who in mainer.canister_ids:
                name = CONTROLLER if who == mainer.controller_id else LLM
                return who, places.files() / f"{name}.did"
        return who, None
    for mainer in known:
        if _plain(mainer.name) == _plain(who):
            return mainer.controller_id, places.files() / f"{CONTROLLER}.did"
        for number, llm_id in enumerate(mainer.llm_ids, 1):
            if _plain(overview.llm_name(mainer, number)) == _plain(who):
                return llm_id, places.files() / f"{LLM}.did"
    if known_id := net.ids.get(who):
        return known_id, None
    names = ", ".join([GAME_STATE, CREATOR, *(repr(mainer.name) for mainer in known)])
    raise ArgumentError(f"no canister {who!r} on network {net.name}: give an id, or one of {names}")


def mainer_id(net: Network, who: str) -> str:
    """The id of the canister of the mAIner with this name or id.

    Raises:
        ArgumentError: there is none.
    """
    known = population.mainers(net)
    for mainer in known:
        if who == mainer.controller_id or _plain(mainer.name) == _plain(who):
            return mainer.controller_id
    names = ", ".join(mainer.name for mainer in known) or "none"
    raise ArgumentError(f"no mAIner {who!r} on network {net.name}; there are: {names}")


def _plain(name: str) -> str:
    """A name as people may type it: "ShareAgent 2" is "shareagent2" too."""
    return re.sub(r"[\s,_-]", "", name).lower()


def _is_id(text: str) -> bool:
    try:
        principal.from_text(text)
    except ValueError:
        return False
    return True


def _mainers(net: Network) -> list[population.Mainer]:
    """The mAIners, as far as there is a creator that tells of them."""
    try:
        return population.mainers(net)
    except MainerError:
        return []


def told(net: Network, canister_id: str) -> str:
    """The interface that a canister has in its own module, a .did.

    Raises:
        ArgumentError: it has none, does not tell it to the caller, or there is no such canister.
    """
    remedy = "Give its interface: --did FILE"
    try:
        section = net.agent.read_metadata(canister_id, INTERFACE_SECTION)
    except TransportError as error:
        raise ArgumentError(f"{canister_id} does not tell its interface to {net.caller} ({error}). {remedy}") from error
    if section is None:
        if not management.exists(net.agent, canister_id):
            raise ArgumentError(f"there is no canister {canister_id} on network {net.name} ({net.url})")
        raise ArgumentError(f"{canister_id} has no code with an interface ({INTERFACE_SECTION}). {remedy}")
    return section.decode(errors="replace")


def method(canister: Canister, name: str) -> CanisterMethod:
    """A method by its name.

    Raises:
        ArgumentError: there is none; the error lists those there are.
    """
    if name not in canister.methods:
        raise ArgumentError(f"{canister.name} has no method {name!r}; it has {', '.join(sorted(canister.methods))}")
    return CanisterMethod(canister, canister.methods[name])


def arguments(method: CanisterMethod, text: str) -> list[Any]:
    """The arguments for a method in a text: Candid if it begins as a Candid value does, else JSON; "" for none.

    Raises:
        ArgumentError: the text is neither, or does not fit; the error names the method and the argument.
    """
    declared = method.method
    try:
        if re.match(CANDID_BEGINNINGS, text.strip()) or not text.strip():
            in_parentheses = text if re.match(r"\(|/", text.strip()) else f"({text})"
            return values.parse(declared.args, in_parentheses, "what is given", declared.arg_names)
        return json_form.arguments_from_json(declared.args, json.loads(text, object_pairs_hook=_object))
    except json.JSONDecodeError as error:
        what = f"{error.msg} at line {error.lineno}, column {error.colno}"
        problem = f"the arguments are no JSON ({what}), and Candid text stands in parentheses: '({text[:40]})'"
    except RecursionError:
        problem = "the arguments are nested too deeply"
    except ValueError as error:  # Candid's, and Python's of a number with too many digits
        problem = str(error)
    signature = ", ".join(
        f"{name} : {type_}" if name else str(type_)
        for name, type_ in zip(declared.arg_names, declared.args, strict=True)
    )
    raise ArgumentError(f"{method.canister.name}.{declared.name}: {problem}. Its arguments: ({signature})")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose names are distinct."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise candid.CandidError(f"the field {name!r} is given twice in one object")
        fields[name] = value
    return fields


def call(method: CanisterMethod, values: Sequence[Any], timeout: float = TRIGGER_TIMEOUT) -> list[Any]:
    """Call a method; its results as they are, an Err among them. A method of the management canister is routed to the
    canister that it is about. Errors as of `canister.CanisterMethod`.

    Args:
        timeout: how long to wait for the answer of an update, in seconds.
    """
    if method.canister.canister_id != management.MANAGEMENT:
        return method.results(values, timeout)
    about = values[0] if values and isinstance(values[0], dict) else {}
    target = about.get("canister_id") or about.get("target_canister")
    agent = method.canister.agent
    return method.results(values, timeout, target or agent.client.default_effective_canister_id())


def failure(method: CanisterMethod, values: Sequence[Any]) -> CallError | None:
    """The error that a result `Err` (of Motoko's Result, `err`) is; None if it is none."""
    if len(values) != 1 or not isinstance(values[0], dict) or len(values[0]) != 1:
        return None
    try:
        method.ok(values[0])
    except CallError as error:
        return error
    if "err" in values[0]:
        return CallError(f"{method.canister.name}.{method.method.name} answered err {values[0]['err']}")
    return None


def text(method: CanisterMethod, values: Sequence[Any]) -> str:
    """Results as Candid text."""
    return printing.show(method.method.results, values)


def as_json(method: CanisterMethod, values: Sequence[Any]) -> str:
    """Results as JSON: one as it is, several or none in a list."""
    written = [json_form.to_json(type_, value) for type_, value in zip(method.method.results, values, strict=True)]
    return json.dumps(written[0] if len(written) == 1 else written, indent=2, ensure_ascii=False)
