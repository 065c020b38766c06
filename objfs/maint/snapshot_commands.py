"""Commands about snapshots; see `objfs/maint/commands.py` for what a command is."""

from objfs.maint.forms import time_text
from objfs.meta.rows import Snapshot
from objfs.volume.volume import Volume


async def snapshot_create(
    volume: Volume, name: str, bucket: str | None = None, prefix: bytes = b""
) -> dict[str, object]:
    """Pins this moment of the store, of a bucket, or of a path in it."""
    scope = None if bucket is None else volume.bucket(bucket)
    return _form(volume, await volume.snapshots.create(name, scope, prefix))


async def snapshot_list(volume: Volume) -> dict[str, object]:
    """All snapshots, oldest first."""
    return {"snapshots": [_form(volume, row) for row in volume.snapshots.snapshots()]}


async def snapshot_delete(volume: Volume, name: str) -> dict[str, object]:
    """What only this snapshot kept may be erased from now on."""
    return _form(volume, volume.snapshots.delete(name))


def _form(volume: Volume, row: Snapshot) -> dict[str, object]:
    """`bucket` is null for a snapshot of the whole store; a prefix that is no UTF-8 keeps its
    bytes as surrogates, as file names do in Python."""
    buckets = {bucket.id: bucket.name for bucket in volume.buckets()}
    return {
        "name": row.name,
        "time": time_text(row.time_ns),
        "sequence": row.sequence,
        "bucket": buckets.get(row.bucket),
        "prefix": row.prefix.decode(errors="surrogateescape"),
    }
