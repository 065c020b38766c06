"""The parameters of a call of the query API: `UserName=alice&Tags.member.1.Key=a&...`.

What is missing or wrong is a ValidationError, in IAM's words. A list's page begins after `Marker`,
which is what the page before said, and has at most `MaxItems` (100 if not given, 1,000 at most).
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from objfs.base.errors import InvalidRequest
from objfs.base.limits import IAM_LIST_MEMBERS_MAX, IAM_PAGE_ITEMS, IAM_PAGE_ITEMS_MAX

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """A part of a list, and the marker of the next one; "": there is none."""

    items: Sequence[T]
    marker: str


class Parameters:
    """The parameters of one call."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def optional(self, name: str) -> str | None:
        """None if it is not given."""
        return self._given.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """InvalidRequest if it is not given and has no default."""
        value = self._given.get(name, default)
        if value is None:
            member = name[:1].lower() + name[1:]
            raise InvalidRequest(
                f"1 validation error detected: Value null at '{member}' failed to satisfy "
                "constraint: Member must not be null"
            )
        return value

    def number(self, name: str, default: int) -> int:
        """InvalidRequest."""
        text = self._given.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidRequest(f"{name} is a number, not {text[:100]!r}")
        return int(text)

    def flag(self, name: str) -> bool:
        """False if it is not given. InvalidRequest."""
        text = self._given.get(name, "false").lower()
        if text not in ("true", "false"):
            raise InvalidRequest(f"{name} is true or false, not {text[:100]!r}")
        return text == "true"

    def members(self, name: str) -> list[str]:
        """`Name.member.1`, `Name.member.2`... InvalidRequest."""
        return self.fields(name, "")

    def fields(self, name: str, field: str) -> list[str]:
        """`Name.member.1.field`, `Name.member.2.field`... InvalidRequest."""
        return [each[field] for each in self._structures(name) if field in each]

    def given(self, name: str) -> bool:
        """Whether there is anything of that name, or in a list of that name."""
        beginning = f"{name}.member."
        return any(
            value and (key == name or key.startswith(beginning))
            for key, value in self._given.items()
        )

    def tags(self) -> dict[str, str]:
        """`Tags.member.1.Key`, `Tags.member.1.Value`... InvalidRequest."""
        tags: dict[str, str] = {}
        for each in self._structures("Tags"):
            if each.keys() != {"Key", "Value"}:
                raise InvalidRequest("a tag has a Key and a Value")
            if each["Key"] in tags:
                raise InvalidRequest(
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive."
                )
            tags[each["Key"]] = each["Value"]
        return tags

    def _structures(self, name: str) -> list[dict[str, str]]:
        beginning = f"{name}.member."
        found: dict[int, dict[str, str]] = {}
        for key, value in self._given.items():
            if key.startswith(beginning):
                number, _, field = key.removeprefix(beginning).partition(".")
                if not (number.isascii() and number.isdigit() and len(number) < 6):
                    raise InvalidRequest(f"{key[:100]} is no member of a list")
                found.setdefault(int(number), {})[field] = value
        if len(found) > IAM_LIST_MEMBERS_MAX:
            raise InvalidRequest(f"{name} has at most {IAM_LIST_MEMBERS_MAX} members")
        return [found[number] for number in sorted(found)]

    def page(self, items: Sequence[T], key: Callable[[T], str]) -> Page[T]:
        """The part of `items`, which are in the order of their keys, that is asked for.
        InvalidRequest."""
        most = self.number("MaxItems", IAM_PAGE_ITEMS)
        if not 1 <= most <= IAM_PAGE_ITEMS_MAX:
            raise InvalidRequest(f"MaxItems is 1 to {IAM_PAGE_ITEMS_MAX}, not {most}")
        marker = self._given.get("Marker")
        if marker is not None:
            after = _decoded(marker)
            items = [each for each in items if key(each) > after]
        shown = items[:most]
        return Page(shown, _encoded(key(shown[-1])) if len(items) > most else "")


def _encoded(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decoded(marker: str) -> str:
    try:
        return base64.b64decode(marker.encode(), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"Invalid Marker: {marker[:100]!r}") from None
