"""Interface descriptions: the text of .did files (dfinity/candid, spec/Candid.md, section "Core Grammar").

    >>> service = parse('service : { greet : (name : text) -> (text) query }')
    >>> service.methods["greet"]
    Method(name='greet', args=(...), results=(...), mode='query', arg_names=('name',))

A named type that refers to itself becomes a `candid.Rec`; all other names are replaced by what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from . import candid
from .candid import Field, Func, Opt, Rec, Record, Service, Type, Variant, Vec
from .tokens import Token, Tokens


class DidError(ValueError):
    """A text that is not a valid interface description; says where (line and column, from 1) and why."""


@dataclass(frozen=True)
class Method:
    """A method of a service. `mode` is "update", "query", "composite_query" or "oneway"; arguments need no names."""

    name: str
    args: tuple[Type, ...]
    results: tuple[Type, ...]
    mode: str
    arg_names: tuple[str | None, ...]

    def __str__(self) -> str:
        return f"{self.name} : {self.type.signature()}"

    @property
    def type(self) -> Func:
        """Its type."""
        return Func(self.args, self.results, () if self.mode == "update" else (self.mode,))


@dataclass(frozen=True)
class Interface:
    """What a .did file says: methods by name, types of the installation argument, type definitions by name."""

    methods: dict[str, Method]
    init_args: tuple[Type, ...]
    types: dict[str, Type]

    @property
    def service(self) -> Service:
        """The methods as a type."""
        return Service(tuple((name, method.type) for name, method in self.methods.items()))


def parse(text: str, source: str = "the interface description") -> Interface:
    """The interface that `text` describes, without methods if it has only type definitions.

    Args:
        text: the content of a .did file.
        source: what to call the text in an error, for example the path of the file.

    Raises:
        DidError: `text` is not a valid description, or imports another one.
    """
    return _parsed(text, source, _Parser.description)


def parse_type(text: str, source: str = "the type") -> Type:
    """A type on its own, such as `vec record { text; nat }`; arguments and errors as of `parse`."""
    return _parsed(text, source, _Parser.only_type)


def type_reader(tokens: Tokens) -> Callable[[], Type]:
    """Reads the type that begins at the tokens' position, each time it is called; as those in annotations of values."""
    return _Parser(tokens).part


_T = TypeVar("_T")


def _parsed(text: str, source: str, rule: Callable[[_Parser], _T]) -> _T:
    try:
        return rule(_Parser(Tokens(text, source, DidError)))
    except RecursionError:
        raise DidError(f"{source}: the types are nested too deeply") from None


_MODES = ("query", "oneway", "composite_query")


@dataclass
class _Args:
    types: list[Type] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


class _Parser:
    """Recursive descent; a definition is parsed when its name is first needed."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._bodies = self._find_definitions()
        self._types: dict[str, Type] = {}
        self._ends: dict[str, int] = {}  # where parsing goes on after the definition of a name
        self._unfinished: dict[str, Rec | None] = {}  # names being defined, with the Rec that stands for them if needed
        self._method_types: list[tuple[int, str, Type]] = []  # position, method name, type
        self._arg_names: dict[int, tuple[str | None, ...]] = {}  # of function types, by id

    # Names

    def _find_definitions(self) -> dict[str, int]:
        """Where the body of each `type name = body` begins."""
        bodies: dict[str, int] = {}
        depth = 0
        for index, (token, name) in enumerate(zip(self._tokens.all, self._tokens.all[1:], strict=False)):
            depth += (token.kind in ("{", "(")) - (token.kind in ("}", ")"))
            if depth == 0 and token.kind == "id" and token.text == "type" and name.kind == "id":
                if name.text in bodies:
                    raise self._tokens.error(name.at, f"type {name.text} is defined twice")
                if self._tokens.all[index + 2].kind != "=":
                    raise self._tokens.error(self._tokens.all[index + 2].at, f"expected '=' after 'type {name.text}'")
                bodies[name.text] = index + 3
        return bodies

    def _named(self, token: Token) -> Type:
        """What a name stands for."""
        name = token.text
        if name in self._types:
            return self._types[name]
        if name not in self._bodies:
            raise self._tokens.error(token.at, f"unknown type {name}")
        if name in self._unfinished:
            rec = self._unfinished[name] = self._unfinished[name] or Rec(name)
            return rec
        return self._define(name)

    def _define(self, name: str) -> Type:
        resume, self._tokens.next = self._tokens.next, self._bodies[name]
        self._unfinished[name] = None
        type_ = self._type()
        rec = self._unfinished.pop(name)
        if rec is not None:
            rec.define(type_)
            type_ = rec
        self._types[name] = type_
        self._ends[name], self._tokens.next = self._tokens.next, resume
        return type_

    def _name(self, what: str) -> str:
        token = self._tokens.advance()
        if token.kind == "text":
            return self._tokens.string(token)
        if token.kind != "id":
            raise self._tokens.error(token.at, f"expected {what}, found {token.text}")
        if token.text in candid.KEYWORDS:
            raise self._tokens.error(
                token.at, f'{token.text} is a keyword; as a name it must be quoted: "{token.text}"'
            )
        return token.text

    # Descriptions

    def description(self) -> Interface:
        init_args, actor = _Args(), candid.Service()
        while self._tokens.current.kind != "end":
            if self._tokens.accept("type"):
                self._definition()
            elif token := self._tokens.accept("import"):
                raise self._tokens.error(
                    token.at, "imports are not supported; put the imported definitions into this text"
                )
            elif self._tokens.accept("service"):
                init_args, actor = self._main_service()
                self._tokens.accept(";")
                if self._tokens.current.kind != "end":
                    raise self._tokens.error(self._tokens.current.at, "the service must come last")
                break
            else:
                raise self._tokens.error(
                    self._tokens.current.at, f"expected 'type' or 'service', found {self._tokens.current.text}"
                )
            if self._tokens.current.kind != "end":
                self._tokens.expect(";", "after the definition")
        self._check_methods()
        methods = {name: self._method(name, type_) for name, type_ in actor.methods}
        return Interface(methods, tuple(init_args.types), self._types)

    def _definition(self) -> None:
        start = self._tokens.current.at
        name = self._name("the name of a type")
        self._tokens.expect("=", "after the name of the type")
        if name not in self._types:
            self._define(name)
        try:
            candid.resolve(self._types[name])
        except candid.CandidError as error:
            raise self._tokens.error(start, str(error)) from None
        self._tokens.next = self._ends[name]

    def part(self) -> Type:
        type_ = self._type()
        self._check_methods()
        return type_

    def only_type(self) -> Type:
        type_ = self.part()
        if self._tokens.current.kind != "end":
            raise self._tokens.error(self._tokens.current.at, f"expected the end, found {self._tokens.current.text}")
        return type_

    def _main_service(self) -> tuple[_Args, candid.Service]:
        if self._tokens.current.kind == "id":
            self._name("the name of the service")
        self._tokens.expect(":", "after 'service'")
        init_args = _Args()
        if self._tokens.current.kind == "(":
            init_args = self._args()
            self._tokens.expect("->", "after the installation arguments")
        start = self._tokens.current
        actor = self._actor() if start.kind == "{" else candid.resolve(self._named(self._tokens.advance()))
        if not isinstance(actor, candid.Service):
            raise self._tokens.error(start.at, f"{start.text} is not a service type")
        return init_args, actor

    def _method(self, name: str, type_: Type) -> Method:
        func = candid.resolve(type_)
        assert isinstance(func, Func)  # _check_methods has seen to it
        return Method(name, func.args, func.results, "".join(func.modes) or "update", self._arg_names[id(func)])

    # Types

    def _type(self) -> Type:
        token = self._tokens.advance()
        if token.kind != "id":
            raise self._tokens.error(token.at, f"expected a type, found {token.text}")
        match token.text:
            case "opt":
                return Opt(self._type())
            case "vec":
                return Vec(self._type())
            case "blob":
                return candid.BLOB
            case "record":
                return Record(self._fields(is_record=True))
            case "variant":
                return Variant(self._fields(is_record=False))
            case "func":
                return self._func()
            case "service":
                return self._actor()
            case name if name in candid.PRIMS:
                return candid.PRIMS[name]
            case name if name in candid.KEYWORDS:
                raise self._tokens.error(token.at, f"expected a type, found the keyword {name}")
        return self._named(token)

    def _fields(self, is_record: bool) -> tuple[Field, ...]:
        what = "record" if is_record else "variant"
        self._tokens.expect("{", f"after {what!r}")
        fields: dict[int, Field] = {}
        previous = -1
        while not self._tokens.accept("}"):
            start = self._tokens.current.at
            new = self._record_field(previous) if is_record else self._variant_field()
            if new.id in fields:
                raise self._tokens.error(
                    start, f"the labels {fields[new.id].label} and {new.label} have the same id {new.id}"
                )
            if new.id >= 1 << 32:
                raise self._tokens.error(start, f"the id {new.id} is not below 2^32")
            fields[new.id] = new
            previous = new.id
            if self._tokens.current.kind != "}":
                self._tokens.expect(";", f"or '}}' in the {what}")
        return tuple(fields.values())

    def _record_field(self, previous: int) -> Field:
        label = self._label() if self._tokens.all[self._tokens.next + 1].kind == ":" else None
        if label is None:
            return Field(previous + 1, self._type())
        self._tokens.advance()
        return Field(label, self._type())

    def _variant_field(self) -> Field:
        label = self._label()
        return Field(label, self._type() if self._tokens.accept(":") else candid.NULL)

    def _label(self) -> str | int:
        if self._tokens.current.kind == "number":
            return (
                int(self._tokens.advance().text, 0)
                if self._tokens.current.text.startswith("0x")
                else int(self._tokens.advance().text)
            )
        return self._name("a name")

    def _func(self) -> Func:
        args = self._args()
        self._tokens.expect("->", "after the arguments of a function")
        results = self._args()
        modes: list[str] = []
        while token := self._tokens.accept(*_MODES):
            if modes:
                raise self._tokens.error(token.at, f"a function cannot be both {modes[0]} and {token.text}")
            modes.append(token.text)
        if modes == ["oneway"] and results.types:
            raise self._tokens.error(self._tokens.current.at, "a oneway function has no results")
        func = Func(tuple(args.types), tuple(results.types), tuple(modes))
        self._arg_names[id(func)] = tuple(args.names)
        return func

    def _args(self) -> _Args:
        self._tokens.expect("(", "before the types of arguments or results")
        args = _Args()
        while not self._tokens.accept(")"):
            name = None
            if self._tokens.all[self._tokens.next + 1].kind == ":":
                start = self._tokens.current.at
                name = self._name("a name")
                if name in args.names:
                    raise self._tokens.error(start, f"two arguments are called {name}")
                self._tokens.advance()
            args.names.append(name)
            args.types.append(self._type())
            if self._tokens.current.kind != ")":
                self._tokens.expect(",", "or ')'")
        return args

    def _actor(self) -> candid.Service:
        self._tokens.expect("{", "before the methods of a service")
        methods: dict[str, Type] = {}
        while not self._tokens.accept("}"):
            start = self._tokens.current.at
            name = self._name("the name of a method")
            if name in methods:
                raise self._tokens.error(start, f"method {name} is declared twice")
            self._tokens.expect(":", "after the name of a method")
            methods[name] = self._func() if self._tokens.current.kind == "(" else self._named(self._tokens.advance())
            self._method_types.append((start, name, methods[name]))
            if self._tokens.current.kind != "}":
                self._tokens.expect(";", "or '}' after a method")
        return candid.Service(tuple(methods.items()))

    def _check_methods(self) -> None:
        """Every method has a function type; only known when all names are."""
        for at, name, type_ in self._method_types:
            if not isinstance(candid.resolve(type_), Func):
                raise self._tokens.error(at, f"the type of method {name} is not a function type")
