"""Commands about what changed beneath a directory; see `objfs/maint/commands.py`."""

import trio

from objfs.base.errors import NotADirectory, NotFound
from objfs.base.limits import CONTROL_PAGE_ENTRIES
from objfs.maint.forms import time_text
from objfs.volume.changes import Changes, PathChange, last_kind
from objfs.volume.history import version_id
from objfs.volume.showing import FOREVER
from objfs.volume.trees import shown_key
from objfs.volume.volume import Volume


async def path_kind(volume: Volume, bucket: str, key: bytes) -> dict[str, object]:
    """Whether a path is, or was last, a "file" or a "directory". NotFound if it never was."""
    kind = last_kind(volume.core.database, volume.bucket(bucket), key)
    if kind is None:
        raise NotFound(f"{shown_key(key)} never existed in bucket {bucket!r}")
    return {"kind": kind}


async def changes(
    volume: Volume,
    bucket: str,
    key: bytes,
    before: int | None = None,
    limit: int = CONTROL_PAGE_ENTRIES,
) -> dict[str, object]:
    """What changed at and below a directory, newest first; `next` continues it as `before`. A page
    can be a little longer than asked: changes of one moment stay together."""
    limit = max(1, min(limit, CONTROL_PAGE_ENTRIES))
    row = volume.bucket(bucket)
    if last_kind(volume.core.database, row, key) != "directory":
        raise NotADirectory(f"{shown_key(key)} is, and was last, no directory")
    walk = Changes(volume.core.database, row).newest(key, limit, before or FOREVER)
    while True:
        try:
            next(walk)
        except StopIteration as ended:
            page: list[PathChange] = ended.value
            break
        await trio.lowlevel.checkpoint()
    return {
        "changes": [_form(each) for each in page],
        "next": page[-1].sequence if len(page) >= limit else None,
    }


def _form(each: PathChange) -> dict[str, object]:
    """Paths in the bucket; what is no UTF-8 keeps its bytes as surrogates."""
    return {
        "path": each.key.decode(errors="surrogateescape"),
        "time": time_text(each.time_ns),
        "kind": each.kind,
        "type": each.type,
        "size": each.size,
        "version_id": version_id(each.sequence),
        "before_path": None
        if each.before is None
        else each.before.decode(errors="surrogateescape"),
    }
