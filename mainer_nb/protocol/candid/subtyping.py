"""Which type can stand for which (spec, section "Subtyping")."""

from __future__ import annotations

from .types import (
    EMPTY,
    INT,
    NAT,
    PRINCIPAL,
    RESERVED,
    Func,
    Opt,
    Prim,
    Record,
    Service,
    Type,
    Variant,
    Vec,
    may_be_absent,
    resolve,
)


def is_subtype(type_: Type, of: Type, assumed: dict[tuple[int, int], bool] | None = None) -> bool:
    """Whether every value of `type_` can be used where `of` is expected (section "Rules").

    Args:
        assumed: the pairs that were or are being compared, by the ids of their types. Give the same one to several
            calls to share work, as long as the types live.
    """
    assumed = {} if assumed is None else assumed
    sub, sup = resolve(type_), resolve(of)
    if sub is sup or sup == RESERVED or sub == EMPTY or isinstance(sup, Opt):
        return True
    key = (id(sub), id(sup))
    if key not in assumed:
        assumed[key] = True
        assumed[key] = _is_subtype_by_structure(sub, sup, assumed)
    return assumed[key]


def _is_subtype_by_structure(sub: Type, sup: Type, assumed: dict[tuple[int, int], bool]) -> bool:
    match sub, sup:
        case Prim(), Prim():
            return sub == sup or (sub, sup) == (NAT, INT)
        case Vec(), Vec():
            return is_subtype(sub.of, sup.of, assumed)
        case Record(), Record():
            present = {f.id: f.type for f in sub.fields}
            return all(
                is_subtype(present[f.id], f.type, assumed) if f.id in present else may_be_absent(f.type)
                for f in sup.fields
            )
        case Variant(), Variant():
            tags = {f.id: f.type for f in sup.fields}
            return all(f.id in tags and is_subtype(f.type, tags[f.id], assumed) for f in sub.fields)
        case Func(), Func():
            return (
                set(sub.modes) == set(sup.modes)
                and _is_subsequence_type(sup.args, sub.args, assumed)
                and _is_subsequence_type(sub.results, sup.results, assumed)
            )
        case Service(), Service():
            methods = dict(sub.methods)
            return all(name in methods and is_subtype(methods[name], method, assumed) for name, method in sup.methods)
        case Service(), Prim():
            return sup == PRINCIPAL
    return False


def _is_subsequence_type(sub: tuple[Type, ...], sup: tuple[Type, ...], assumed: dict[tuple[int, int], bool]) -> bool:
    return all(is_subtype(sub[i], t, assumed) if i < len(sub) else may_be_absent(t) for i, t in enumerate(sup))
