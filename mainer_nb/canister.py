"""A canister as a Python object, made from its .did: its methods are the object's methods.

    creator = Canister(agent, "rrkah-fqaaa-aaaaa-aaaaq-cai", Path("files/mainer_creator_canister.did"))
    creator.health()                                                  # {'status_code': 200}
    creator.testCreateMainerControllerCanister("Own", None)           # {'creationResult': …, 'newCanisterId': …}

Arguments and results are plain Python as `protocol.candid` describes (record: dict, opt: None or the value, blob:
bytes, variant: {case: value}, a case without value also by its name alone), principals are text; `case` names a
variant's case. If a result is `variant { Ok; Err }`, the value of Ok is returned, and an Err is raised as
CanisterError. `dir(creator)` lists the methods, `help(creator.health)` shows a method's signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import places
from .agent import UPDATE_TIMEOUT, Agent, PrincipalLike, RequestMark, to_principal
from .errors import ArgumentError, ArtifactMissing, ArtifactOutdated, CanisterError, TransportError
from .protocol import candid, did, principal

_read_interface = lru_cache(maxsize=32)(did.parse)


def case(value: Any) -> str:
    """The name of a variant's case: "Own" for {"Own": None}, and for "Own"."""
    return value if isinstance(value, str) else str(next(iter(value)))


class Canister:
    """A canister on the agent's network, called through its interface.

    Args:
        interface: the text of a .did, or the path of a file with one.
        name: what to call the canister in errors.

    Raises:
        ArgumentError: the canister id or the interface is malformed.
        ArtifactMissing: the interface's file cannot be read.
    """

    def __init__(self, agent: Agent, canister_id: PrincipalLike, interface: str | Path, name: str = "") -> None:
        self.agent = agent
        self.canister_id = principal.to_text(to_principal(canister_id, f"id of {name or 'the canister'}"))
        self.name = name
        self._source = interface if isinstance(interface, Path) else None
        source = str(self._source or name or "the interface")
        try:
            text = interface.read_text(encoding="utf-8") if isinstance(interface, Path) else interface
            self.methods = _read_interface(text, source).methods
        except OSError as error:
            raise ArtifactMissing(f"cannot read the interface {interface}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ArgumentError(f"{source} is not an interface: it is not UTF-8 ({error})") from error
        except did.DidError as error:
            raise ArgumentError(str(error)) from error

    def __getattr__(self, name: str) -> CanisterMethod:
        methods = self.__dict__.get("methods", {})  # empty while the object is being made or copied
        if name not in methods:
            if methods and self._source and name in _shipped_methods(self._source.name):
                raise ArtifactOutdated(
                    f"{self._source} lacks the method {name}: it is of an older version of mainer_nb. "
                    f"Remedy: {places.newer_files(self._source.parent.parent)}."
                )
            who = self.__dict__.get("name") or "the canister"
            raise AttributeError(f"{who} has no method {name!r}; it has {', '.join(methods)}")
        return CanisterMethod(self, methods[name])

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self.methods]

    def __repr__(self) -> str:
        return f"Canister({self.name or 'unnamed'}, {self.canister_id})"


class CanisterMethod:
    """A method of a canister, to be called."""

    def __init__(self, canister: Canister, method: did.Method) -> None:
        self.canister = canister
        self.method = method
        self.__name__ = method.name
        self.__doc__ = f"{method}\n\nOf {canister!r}."

    def __call__(
        self,
        *args: Any,
        timeout: float = UPDATE_TIMEOUT,
        effective_canister_id: PrincipalLike | None = None,
        mark: RequestMark | None = None,
    ) -> Any:
        """Call the method.

        Args:
            args: a Python value for each argument.
            timeout: how long to wait for the answer of an update, in seconds.
            effective_canister_id: the canister whose subnet is asked, if it is another one.
            mark: of an update that may have been sent before.

        Returns:
            The result; a tuple of several; None if there is none; of a result `variant { Ok; Err }` what is in Ok.

        Raises:
            ArgumentError: an argument does not fit; the error names it.
            CanisterError: the canister answered Err.
            CallError: the call went wrong; see `agent.Agent.update_bytes`.
        """
        values = self.results(args, timeout, effective_canister_id, mark)
        if len(values) != 1:
            return tuple(values) or None
        return self.ok(values[0])

    def results(
        self,
        args: Sequence[Any],
        timeout: float = UPDATE_TIMEOUT,
        effective_canister_id: PrincipalLike | None = None,
        mark: RequestMark | None = None,
    ) -> list[Any]:
        """Call the method; its results as they are, an Err among them. Arguments and further errors as of a call."""
        canister, method = self.canister, self.method
        try:
            encoded = candid.encode(method.args, args)
        except candid.CandidError as error:
            raise ArgumentError(f"{canister.name or canister.canister_id}.{method}: {error}") from error
        reply = self.send(encoded, timeout, effective_canister_id, mark)
        try:
            return candid.decode(method.results, reply, principal.to_text)
        except candid.CandidError as error:
            raise TransportError(
                f"{canister!r} answered {method.name} with something else than its interface says: {error}. "
                "Is the .did in files/ the one of the installed wasm?"
            ) from error

    def send(
        self, arg: bytes, timeout: float, effective_canister_id: PrincipalLike | None, mark: RequestMark | None
    ) -> bytes:
        """Call the method with Candid; its reply as Candid. Arguments and errors as of a call."""
        canister_id, name, agent = self.canister.canister_id, self.method.name, self.canister.agent
        if self.method.mode in ("query", "composite_query"):
            return agent.query_bytes(canister_id, name, arg, effective_canister_id)
        return agent.update_bytes(canister_id, name, arg, effective_canister_id, timeout, mark)

    def ok(self, result: Any) -> Any:
        """What is in the Ok of a result `variant { Ok; Err }`; any other result as it is.

        Raises:
            CanisterError: it is an Err.
        """
        if not _is_result(self.method):
            return result
        if "Ok" in result:
            return result["Ok"]
        error = result["Err"]
        if isinstance(error, dict) and len(error) == 1:
            (variant, value), *_ = error.items()
        else:
            variant, value = "", error
        raise CanisterError(self.canister.canister_id, self.method.name, variant, value, self.canister.name)

    def __repr__(self) -> str:
        return f"<{self.method} of {self.canister!r}>"


def _shipped_methods(file: str) -> dict[str, did.Method]:
    """The methods in the interface of this name that comes with the package; none if there is none."""
    path = places.shipped() / "files" / file
    return _read_interface(path.read_text(encoding="utf-8"), str(path)).methods if path.is_file() else {}


def _is_result(method: did.Method) -> bool:
    """Whether the method's only result is `variant { Ok : …; Err : … }`."""
    result = candid.resolve(method.results[0])
    return isinstance(result, candid.Variant) and {field.label for field in result.fields} == {"Ok", "Err"}
