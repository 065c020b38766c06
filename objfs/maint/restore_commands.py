"""Commands that bring a moment back; see `objfs/maint/commands.py` for what a command is.

A moment is given as `at`, a time as people write it (`objfs/base/times.py`), or as `snapshot`, the
name of one.
"""

from objfs.base.errors import InvalidRequest
from objfs.volume.trees import shown_key
from objfs.volume.volume import Volume


def sequence_of_moment(
    volume: Volume, bucket: str, key: bytes, at: str | None, snapshot: str | None
) -> int:
    """The sequence that a command means. InvalidRequest, NotFound; InvalidRequest, too, for a
    snapshot that does not keep the key."""
    if (at is None) == (snapshot is None):
        raise InvalidRequest("give a time or a snapshot, one of them")
    if at is not None:
        return volume.moment(at)
    assert snapshot is not None
    row = volume.snapshots.snapshot(snapshot)
    scope = volume.bucket(bucket).id
    prefix = row.prefix + b"/" if row.prefix else b""
    if row.bucket not in (0, scope) or not (key.rstrip(b"/") + b"/").startswith(prefix):
        raise InvalidRequest(
            f"snapshot {snapshot!r} does not keep {bucket}/{shown_key(key)}: "
            "`objfs snapshot list` shows what it is of"
        )
    return row.sequence


async def moment(
    volume: Volume, bucket: str, key: bytes, at: str | None = None, snapshot: str | None = None
) -> dict[str, object]:
    """The state that a time or a snapshot means, and what `key` was in it: "file", "directory", or
    null when it did not exist."""
    sequence = sequence_of_moment(volume, bucket, key, at, snapshot)
    place = volume.tree_at(volume.bucket(bucket), sequence).find(key)
    kind = None if place is None else ("directory" if place.is_directory else "file")
    return {"sequence": sequence, "kind": kind}


async def restore_at(
    volume: Volume,
    bucket: str,
    key: bytes,
    at: str | None = None,
    snapshot: str | None = None,
    to_bucket: str | None = None,
    to_key: bytes | None = None,
) -> dict[str, object]:
    """What `key` led to at a moment is there again, or at another key. Counts entries by what
    happened to them; `bytes` are those of files put back."""
    sequence = sequence_of_moment(volume, bucket, key, at, snapshot)
    to = None
    if to_bucket is not None and to_key is not None:
        to = (volume.bucket(to_bucket), to_key)
    restored = await volume.restore_at(volume.bucket(bucket), key, sequence, to)
    await volume.seen()
    return restored._asdict()
