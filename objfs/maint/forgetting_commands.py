"""Commands about giving history up, and what it takes."""

import msgspec

from objfs.maint.disk_usage import disk_usage
from objfs.volume.erasing import ErasedReport
from objfs.volume.volume import Volume


def _erased_form(report: ErasedReport, dry_run: bool) -> dict[str, object]:
    return {
        "entries": report.entries,
        "versions": report.versions,
        "bytes": report.bytes,
        "pinned": report.pinned,
        "locked": report.locked,
        "dry_run": dry_run,
    }


async def forget(
    volume: Volume, bucket: str, key: bytes, version_id: str | None = None, dry_run: bool = False
) -> dict[str, object]:
    """Erases one version of a path, or its whole history; `dry_run` only counts. `entries` are of
    paths, `versions` those that no path shows any more, `bytes` their sizes, `pinned` the entries
    that snapshots keep, `locked` those that object lock keeps."""
    report = await volume.forget(bucket, key, version_id, dry=dry_run)
    await volume.seen()
    return _erased_form(report, dry_run)


async def du(volume: Volume, bucket: str | None = None, key: bytes = b"") -> dict[str, object]:
    """What the store, a bucket or a path holds: see `objfs/maint/disk_usage.py`."""
    usage = await disk_usage(volume, bucket, key)
    found: dict[str, object] = msgspec.to_builtins(usage)
    return found
