"""The tokens of Candid's texts: of interface descriptions and of values (dfinity/candid, spec/Candid.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    kind: str  # "id", "text", "number", "float", "sign", "end", or the punctuation itself
    text: str
    at: int


_TOKEN = re.compile(
    r"""
      (?P<space> \s+ | //[^\n]* )
    | (?P<comment> /\* )
    | (?P<text> "(?:[^"\\]|\\[\s\S])*" )
    | (?P<open> " )
    | (?P<float> (?: 0x[0-9a-fA-F](?:_?[0-9a-fA-F])* (?: \.(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?(?:[pP][+-]?[0-9]+)?
                                                       | [pP][+-]?[0-9]+ )
                   | [0-9](?:_?[0-9])* (?: \.(?:[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9]+)? | [eE][+-]?[0-9]+ )
                   | \.[0-9](?:_?[0-9])*(?:[eE][+-]?[0-9]+)? ) (?![A-Za-z0-9_]) )
    | (?P<number> (?:0x[0-9a-fA-F](?:_?[0-9a-fA-F])*|[0-9](?:_?[0-9])*)(?![A-Za-z0-9_]) )
    | (?P<id> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<punctuation> -> | [:;,.={}()] )
    | (?P<sign> [+-] )
    """,
    re.VERBOSE,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_PIECE = re.compile(r"\\(?:u\{([0-9a-fA-F](?:_?[0-9a-fA-F])*)\}|([0-9a-fA-F]{2})|([\s\S]))|[^\\]+")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


class Tokens:
    """The tokens of a text, and the position reached in them.

    Args:
        source: what to call the text in an error.
        failure: the class of the errors.
    """

    def __init__(self, text: str, source: str, failure: type[ValueError]) -> None:
        self._text = text
        self._source = source
        self._failure = failure
        self.all = self._tokenize()
        self.next = 0

    def error(self, at: int, message: str) -> ValueError:
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return self._failure(f"{self._source}, line {line}, column {column}: {message}")

    def _tokenize(self) -> list[Token]:
        tokens = []
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self.error(at, f"unexpected {self._text[at : at + 10].splitlines()[0]!r}")
            if match.lastgroup == "open":
                raise self.error(at, "the text that begins here has no end")
            if match.lastgroup == "comment":
                at = self._end_of_comment(at)
                continue
            if match.lastgroup == "punctuation":
                tokens.append(Token(match[0], match[0], at))
            elif match.lastgroup != "space":
                tokens.append(Token(str(match.lastgroup), match[0], at))
            at = match.end()
        tokens.append(Token("end", "the end", at))
        return tokens

    def _end_of_comment(self, start: int) -> int:
        """Comments nest."""
        depth = 0
        for mark in _COMMENT_MARK.finditer(self._text, start):
            depth += 1 if mark[0] == "/*" else -1
            if depth == 0:
                return mark.end()
        raise self.error(start, "the comment that begins here has no end")

    @property
    def current(self) -> Token:
        return self.all[self.next]

    def advance(self) -> Token:
        token = self.current
        self.next += token.kind != "end"
        return token

    def accept(self, *texts: str) -> Token | None:
        """The next token if it is a keyword or punctuation among `texts`."""
        return self.advance() if self.current.kind not in ("text", "number") and self.current.text in texts else None

    def expect(self, text: str, where: str) -> Token:
        token = self.accept(text)
        if token is None:
            raise self.error(self.current.at, f"expected {text!r} {where}, found {self.current.text}")
        return token

    def string(self, token: Token) -> str:
        """What a text in quotes stands for, its escapes resolved."""
        try:
            return self.octets(token).decode()
        except UnicodeDecodeError as error:
            raise self.error(token.at, f"the text is not UTF-8: {error.reason}") from None

    def octets(self, token: Token) -> bytes:
        """The bytes that a text in quotes stands for, as that of a blob."""
        octets = bytearray()
        for piece in _PIECE.finditer(token.text[1:-1]):
            code, byte, char = piece.groups()
            if byte is not None:
                octets.append(int(byte, 16))
                continue
            if char is not None and char not in _ESCAPED:
                raise self.error(token.at + 1 + piece.start(), f"unknown escape {piece[0]}")
            try:
                plain = chr(int(code.replace("_", ""), 16)) if code else _ESCAPED[char] if char else piece[0]
                octets += plain.encode()
            except (ValueError, OverflowError):  # beyond Unicode, or half of a surrogate pair
                raise self.error(token.at + 1 + piece.start(), f"{piece[0]!r} is not a character of Unicode") from None
        return bytes(octets)
