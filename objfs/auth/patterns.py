"""Patterns of policies: `*`, `?` and variables, matched in time linear in the text.

    pattern  = { literal | "*" | "?" | variable }
    variable = "${" key [ ", '" default "'" ] "}" | "${*}" | "${?}" | "${$}"

The last three stand for the characters themselves. What a variable stands for is taken literally:
a `*` in a user's tag is a star. The first value of a key counts; a key with several values, or
none, leaves a variable without a default unresolved, and the pattern matches nothing.

A text between two stars may be looked for from the left without ever going back, so each becomes
an atomic group: a policy cannot make a match take more than (length of text) x (length of pattern).

Source: AWS, IAM JSON policy elements: Variables and tags.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from objfs.base.limits import PARSED_POLICIES_CACHED_MAX

Context = Mapping[str, Sequence[str]]  # condition keys in lower case -> their values

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_KEY_AND_DEFAULT = re.compile(r"\s*([^,'\s]+)\s*(?:,\s*'([^']*)'\s*)?")
ANY = object()  # `*`
ONE = object()  # `?`


class Unresolved(Exception):
    """A variable has no value in this request."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A key of the request, and what it is without one; None: nothing."""

    key: str
    default: str | None


Token = str | Variable | object


class Pattern:
    """A pattern of a policy."""

    __slots__ = ("_everything", "_matches", "_tokens", "ignore_case", "text")

    def __init__(self, text: str, *, variables: bool, ignore_case: bool = False) -> None:
        self.text = text
        self.ignore_case = ignore_case
        self._tokens = tokens_of(text, variables=variables)
        self._everything = self._tokens == [ANY]
        fixed = not any(isinstance(token, Variable) for token in self._tokens)
        self._matches = _compiled(self._tokens, ignore_case) if fixed else None

    def matches(self, value: str, context: Context) -> bool:
        """Whether all of `value` is as the pattern says. Unresolved."""
        if self._everything:
            return True
        if self._matches is not None:
            return self._matches.fullmatch(value) is not None
        tokens = [_resolved(token, context) for token in self._tokens]
        return _compiled(tokens, self.ignore_case).fullmatch(value) is not None

    def literal(self, context: Context) -> str:
        """The text it stands for where stars mean nothing. Unresolved."""
        tokens = [_resolved(token, context) for token in self._tokens]
        return "".join(
            "*" if token is ANY else "?" if token is ONE else str(token) for token in tokens
        )

    @property
    def fixed(self) -> bool:
        """Whether it has neither stars nor variables."""
        return all(isinstance(token, str) for token in self._tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def _identity(self) -> tuple[object, ...]:
        return (tuple(self._tokens), self.ignore_case)


def tokens_of(text: str, *, variables: bool) -> list[Token]:
    """The parts of a pattern; neighbouring stars are one."""
    tokens: list[Token] = []
    end = 0
    for found in _VARIABLE.finditer(text) if variables else ():
        tokens += _plain(text[end : found.start()])
        tokens.append(_variable(found[1]))
        end = found.end()
    tokens += _plain(text[end:])
    return [
        each for at, each in enumerate(tokens) if each is not ANY or tokens[at - 1 : at] != [ANY]
    ]


def _plain(text: str) -> list[Token]:
    special: dict[str, Token] = {"*": ANY, "?": ONE}
    return [special.get(part, part) for part in re.split(r"([*?])", text) if part]


def _variable(inside: str) -> Token:
    if inside in ("*", "?", "$"):
        return inside
    found = _KEY_AND_DEFAULT.fullmatch(inside)
    if found is None:
        return f"${{{inside}}}"  # no variable at all
    return Variable(found[1].lower(), found[2])


def _resolved(token: Token, context: Context) -> Token:
    if not isinstance(token, Variable):
        return token
    values = context.get(token.key, ())
    if len(values) == 1:
        return values[0]
    if token.default is None:
        raise Unresolved(token.key)
    return token.default


def _compiled(tokens: Sequence[Token], ignore_case: bool) -> re.Pattern[str]:
    pieces = [""]
    for token in tokens:
        if token is ANY:
            pieces.append("")
        else:
            pieces[-1] += "." if token is ONE else re.escape(str(token))
    return _regex(tuple(pieces), ignore_case)


@lru_cache(maxsize=PARSED_POLICIES_CACHED_MAX)
def _regex(pieces: tuple[str, ...], ignore_case: bool) -> re.Pattern[str]:
    """One expression of what lies between the stars."""
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    if len(pieces) == 1:
        return re.compile(pieces[0], flags)
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    return re.compile(f"{pieces[0]}{middle}.*{pieces[-1]}", flags)
