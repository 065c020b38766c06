"""Commands that compare two moments; see `objfs/maint/commands.py` for what a command is.

Both go in pages: `passed`, the `next` of the page before, and the sequences that it told, continue.
"""

from collections.abc import Iterator

import trio

from objfs.base.limits import CONTROL_PAGE_ENTRIES
from objfs.maint.restore_commands import sequence_of_moment
from objfs.volume.differences import Difference, Differences
from objfs.volume.trees import Tree
from objfs.volume.volume import Volume

SNAPSHOT = "snapshot:"


def _tree(volume: Volume, bucket: str, key: bytes, when: str | int | None) -> Tree:
    """The bucket at a moment: a sequence, a time, `snapshot:NAME`; None: now."""
    if when is None:
        sequence = volume.core.database.sequence
    elif isinstance(when, int):
        sequence = when
    elif when.startswith(SNAPSHOT):
        sequence = sequence_of_moment(volume, bucket, key, None, when.removeprefix(SNAPSHOT))
    else:
        sequence = volume.moment(when)
    return volume.tree_at(volume.bucket(bucket), sequence)


async def diff(
    volume: Volume,
    bucket: str,
    key: bytes,
    before: str | int,
    after: str | int | None = None,
    passed: bytes | None = None,
    limit: int = CONTROL_PAGE_ENTRIES,
) -> dict[str, object]:
    """What differs at and below `key` between two moments, in the order of keys."""
    one, other = _tree(volume, bucket, key, before), _tree(volume, bucket, key, after)
    walk = Differences(volume.core.database, one, other).walk(key, passed)
    found, following = await _page(walk, limit)
    return {
        "differences": [_form(each) for each in found],
        "next": following,
        "before": one.sequence,
        "after": other.sequence,
    }


async def restore_plan(
    volume: Volume,
    bucket: str,
    key: bytes,
    at: str | None = None,
    snapshot: str | None = None,
    version_id: str | None = None,
    sequence: int | None = None,
    elsewhere: bool = False,
    passed: bytes | None = None,
    limit: int = CONTROL_PAGE_ENTRIES,
) -> dict[str, object]:
    """What a restore would do now, in the order of keys. A hard link that becomes a file of its own
    again, or the reverse, is told only if anything else of it differs."""
    if version_id is not None:
        volume.open_version(bucket, key, version_id)
        sequence = int(version_id, 16)
    if sequence is None:
        sequence = sequence_of_moment(volume, bucket, key, at, snapshot)
    then = volume.tree_at(volume.bucket(bucket), sequence)
    then.existing(key)
    now = None if elsewhere else _tree(volume, bucket, key, None)
    walk = Differences(volume.core.database, now, then, renames=False).walk(key, passed)
    found, following = await _page(walk, limit)
    return {
        "actions": [_form(each) | {"kind": _action(each)} for each in found],
        "next": following,
        "sequence": sequence,
    }


def _action(each: Difference) -> str:
    """What a restore does about a difference between now and then."""
    if each.kind == "added":
        return "add"
    if each.kind == "deleted":
        return "remove"
    return "replace" if each.content or "mtime" in each.attributes else "attributes"


async def _page(
    walk: Iterator[Difference | None], limit: int
) -> tuple[list[Difference], bytes | None]:
    """At most `limit` differences, and the key to go on after; None at the end."""
    limit = max(1, min(limit, CONTROL_PAGE_ENTRIES))
    found: list[Difference] = []
    for each in walk:
        if each is None:
            await trio.lowlevel.checkpoint()
            continue
        found.append(each)
        if len(found) == limit:
            return found, each.key
    return found, None


def _form(each: Difference) -> dict[str, object]:
    """Paths in the bucket; what is no UTF-8 keeps its bytes as surrogates."""
    before = each.before
    return {
        "kind": each.kind,
        "path": each.key.decode(errors="surrogateescape"),
        "before_path": None if before is None else before.decode(errors="surrogateescape"),
        "type": each.type,
        "size_before": each.size_before,
        "size_after": each.size_after,
        "content": each.content,
        "attributes": each.attributes,
    }
