"""Pages of keys as S3 cuts them: prefix, delimiter, marker, limit. Functions over values.

The list that is cut into pages has, in the order of their bytes, every key that begins with the
prefix; but keys that have the delimiter behind the prefix are there as one *common prefix*, which
ends with the first delimiter. A page has the items above its marker. So a marker that lies inside a
common prefix, or is one, leaves all of that behind.
"""

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")


class Question(NamedTuple):
    """What is asked for."""

    prefix: bytes = b""
    after: bytes = b""  # b"": from the beginning
    delimiter: bytes = b""
    limit: int = 1000


class Cut(NamedTuple, Generic[K]):
    """A page: what was found of the keys, common prefixes, whether there is more, and the last
    item, to go on after."""

    found: list[K]
    prefixes: list[bytes]
    truncated: bool
    last: bytes


def beyond(prefix: bytes) -> bytes | None:
    """The first byte string above all that begin with `prefix`; None when there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None


def common_prefix(key: bytes, question: Question) -> bytes | None:
    """The common prefix that stands for a key, if one does."""
    if not question.delimiter:
        return None
    at = key.find(question.delimiter, len(question.prefix))
    return None if at < 0 else key[: at + len(question.delimiter)]


def first_key(question: Question) -> bytes | None:
    """The lowest key that can be on the page; None when none can."""
    prefix, after = question.prefix, question.after
    if not after or after < prefix:
        return prefix
    if not after.startswith(prefix):
        return None  # it lies above all keys with the prefix
    passed = common_prefix(after, question)
    return after + b"\0" if passed is None else beyond(passed)


def component(directory: bytes, key: bytes) -> bytes:
    """The first entry of a directory (a key that ends with a slash, or b"") that leads to keys at
    or above `key`, if it is there; b"" when all of them do."""
    if not key.startswith(directory):
        return b""
    slash = key.find(b"/", len(directory))
    return key[len(directory) :] if slash < 0 else key[len(directory) : slash + 1]


def cut_page(
    question: Question,
    next_key: Callable[[bytes], tuple[bytes, Iterable[K]] | None],
    at: bytes | None,
) -> Cut[K]:
    """A page that begins at the key `at`, as `first_key` tells. `next_key(key)` gives the first key
    at or above `key` with what there is of it, at least one; it is asked for ever higher ones."""
    cut: Cut[K] = Cut([], [], False, b"")
    left, last = question.limit, question.after
    while at is not None and question.limit > 0:
        item = next_key(at)
        if item is None or not item[0].startswith(question.prefix):
            break
        key, found = item
        prefix = common_prefix(key, question)
        if not left:
            return cut._replace(truncated=True, last=last)
        if prefix is not None:
            cut.prefixes.append(prefix)
            last, at = prefix, beyond(prefix)
            left -= 1
            continue
        last, at = key, key + b"\0"
        for each in found:
            if not left:
                return cut._replace(truncated=True, last=last)
            cut.found.append(each)
            left -= 1
    return cut._replace(last=last)
