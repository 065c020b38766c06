"""What S3 lists, as a plain function of all keys and all their entries."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

K = TypeVar("K")


class Page(NamedTuple):
    """What a page has to show, and whether there is more."""

    items: list[tuple[bytes, object]]  # a key with its entry, or a common prefix with None
    truncated: bool


def page_of(
    everything: Iterable[tuple[bytes, Sequence[object]]],
    prefix: bytes,
    after: bytes,
    delimiter: bytes,
    limit: int,
    older_than: object = None,
) -> Page:
    """Cut a page out of all keys and their entries, newest first. `older_than`: an entry of the key
    `after`; the page begins behind it."""
    items: list[tuple[bytes, object]] = []
    for key, entries in sorted(everything):
        if not key.startswith(prefix) or not entries:
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            common = prefix + rest.split(delimiter)[0] + delimiter
            if common > after and (common, None) not in items:
                items.append((common, None))
        elif key > after:
            items += [(key, entry) for entry in entries]
        elif key == after and older_than is not None:
            at = list(entries).index(older_than)
            items += [(key, entry) for entry in entries[at + 1 :]]
    if limit <= 0:
        return Page([], truncated=False)
    return Page(items[:limit], len(items) > limit)
