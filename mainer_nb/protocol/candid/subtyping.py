"""Which type can stand for which (spec, section "Subtyping"), and what an upgrade means to a service's clients (spec,
section "Upgrading and subtyping").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .types import (
    EMPTY,
    INT,
    NAT,
    NULL,
    PRINCIPAL,
    RESERVED,
    Field,
    Func,
    Opt,
    Prim,
    Record,
    Service,
    Type,
    Variant,
    Vec,
    label_text,
    may_be_absent,
    resolve,
)

LONGEST_TEXT = 80  # characters of a type in a reason

#: Why a type cannot stand for another: the way to the place, and what is wrong there. None: it can.
Reason = tuple[str, ...] | None
#: The pairs of types, by their ids, that were or are being compared.
Compared = dict[tuple[int, int], Reason]


@dataclass(frozen=True)
class ServiceChange:
    """What a new interface of a service means to clients of the old one; sentences begin with the method's name.

    Attributes:
        dropped: methods that are no longer there.
        broken: why the new type of a method cannot stand for the old one.
        lossy: what clients read as null, since the new type within an `opt` is another.
        added: methods that are new.
    """

    dropped: tuple[str, ...]
    broken: tuple[str, ...]
    lossy: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def compatible(self) -> bool:
        """Whether the new service is a subtype of the old one."""
        return not self.dropped and not self.broken


def service_change(new: Service, old: Service) -> ServiceChange:
    """Compare the interfaces of a service before and after an upgrade."""
    after, before = dict(new.methods), dict(old.methods)
    both = [(name, after[name], before[name]) for name in before if name in after]
    broken = {name: why_not(type_, was) for name, type_, was in both}
    lossy = {name: why_not(type_, was, nothing_lost=True) for name, type_, was in both if not broken[name]}
    return ServiceChange(
        dropped=tuple(name for name in before if name not in after),
        broken=tuple(_sentences(broken)),
        lossy=tuple(_sentences(lossy)),
        added=tuple(name for name in after if name not in before),
    )


def _sentences(reasons: dict[str, Reason]) -> Iterator[str]:
    for name, reason in reasons.items():
        if reason:
            yield f"{name}, {', '.join(reason[:-1])}: {reason[-1]}" if reason[1:] else f"{name}: {reason[0]}"


def is_subtype(type_: Type, of: Type, compared: Compared | None = None) -> bool:
    """Whether every value of `type_` can be used where `of` is expected (section "Rules").

    Args:
        compared: give the same one to several calls to share work, as long as the types live.
    """
    return why_not(type_, of, compared) is None


def why_not(type_: Type, of: Type, compared: Compared | None = None, nothing_lost: bool = False) -> Reason:
    """Why not every value of `type_` can be used where `of` is expected; None if it can.

    Args:
        compared: as of `is_subtype`; for one value of `nothing_lost` only.
        nothing_lost: also where an `opt` of something else would be read as null.
    """
    return _Comparison({} if compared is None else compared, nothing_lost).types(type_, of)


@dataclass(frozen=True)
class _Comparison:
    """Pairs under comparison are assumed to fit, as types may refer to themselves (the rules are coinductive)."""

    compared: Compared
    nothing_lost: bool

    def types(self, type_: Type, of: Type) -> Reason:
        sub, sup = resolve(type_), resolve(of)
        if sub is sup or sup == RESERVED or sub == EMPTY or (isinstance(sup, Opt) and not self.nothing_lost):
            return None
        key = (id(sub), id(sup))
        if key not in self.compared:
            self.compared[key] = None
            reason = self._by_structure(sub, sup)
            if reason:
                while self.compared.popitem()[0] != key:  # what was found by assuming this
                    pass
            self.compared[key] = reason
        return self.compared[key]

    def _by_structure(self, sub: Type, sup: Type) -> Reason:
        match sub, sup:
            case Prim(), Prim() if sub == sup or (sub, sup) == (NAT, INT):
                return None
            case (Prim(), Opt()) if sub in (NULL, RESERVED):
                return None
            case (Opt() | Vec(), Opt() | Vec()) if type(sub) is type(sup):
                return self.types(sub.of, sup.of)
            case _, Opt():
                return self.types(sub, sup.of)
            case Record(), Record():
                return self._records(sub.fields, sup.fields)
            case Variant(), Variant():
                return self._variants(sub.fields, sup.fields)
            case Func(), Func() if set(sub.modes) != set(sup.modes):
                return (f"{_kind(sub)} cannot stand for {_kind(sup)}",)
            case Func(), Func():
                return self._sequences("argument", sup.args, sub.args) or self._sequences(
                    "result", sub.results, sup.results
                )
            case Service(), Service():
                return self._services(dict(sub.methods), dict(sup.methods))
            case Service(), Prim() if sup == PRINCIPAL:
                return None
        return (f"{_short(sub)} cannot stand for {_short(sup)}",)

    def _records(self, sub: tuple[Field, ...], sup: tuple[Field, ...]) -> Reason:
        present = {field.id: field.type for field in sub}
        for field in sup:
            if field.id in present:
                if reason := self.types(present[field.id], field.type):
                    return (f"field {label_text(field.label)}", *reason)
            elif not may_be_absent(field.type):
                return (f"the field {label_text(field.label)} : {_short(field.type)} is missing",)
        return None

    def _variants(self, sub: tuple[Field, ...], sup: tuple[Field, ...]) -> Reason:
        tags = {field.id: field.type for field in sup}
        for field in sub:
            if field.id not in tags:
                return (f"the case {label_text(field.label)} is not expected",)
            if reason := self.types(field.type, tags[field.id]):
                return (f"case {label_text(field.label)}", *reason)
        return None

    def _services(self, sub: dict[str, Type], sup: dict[str, Type]) -> Reason:
        for name, method in sup.items():
            if name not in sub:
                return (f"the method {label_text(name)} is missing",)
            if reason := self.types(sub[name], method):
                return (f"method {label_text(name)}", *reason)
        return None

    def _sequences(self, what: str, sub: tuple[Type, ...], sup: tuple[Type, ...]) -> Reason:
        for number, expected in enumerate(sup):
            if number < len(sub):
                if reason := self.types(sub[number], expected):
                    return (f"{what} {number + 1}", *reason)
            elif not may_be_absent(expected):
                return (f"{what} {number + 1}", f"{_short(expected)} is missing")
        return None


def _kind(function: Func) -> str:
    """What a function is by its modes."""
    return {(): "an update", ("query",): "a query", ("composite_query",): "a composite query"}.get(
        function.modes, " ".join(function.modes)
    )


def _short(type_: Type) -> str:
    text = str(type_)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
