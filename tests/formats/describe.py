"""What a store holds, as JSON-able values: every file of every bucket, with its history."""

import hashlib
import shutil
import stat
import tempfile
from pathlib import Path

import msgspec

from objfs.cli.opening import construct
from objfs.cli.store_directory import read_store
from objfs.meta.tables import RETENTION, SNAPSHOT
from objfs.volume.volume import Inode, Volume


async def describe(directory: Path) -> dict[str, object]:
    """Open a copy of the store (the original is never written to) and tell what is in it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "store"
        shutil.copytree(directory, copy)
        volume = construct(read_store(copy))
        try:
            found: dict[str, object] = {
                bucket.name: {
                    "versioning": bucket.versioning,
                    "quota_bytes": bucket.quota_bytes,
                    "files": await _directory(volume, bucket.name, bucket.root, b""),
                }
                for bucket in volume.buckets()
            }
            return found | _kept(volume)
        finally:
            await volume.close()


def _kept(volume: Volume) -> dict[str, object]:
    """What came to the format later, where there is any of it."""
    database = volume.core.database
    later = {
        "snapshots": [msgspec.to_builtins(row) for row in database.scan(SNAPSHOT)],
        "rules": [msgspec.to_builtins(row) for row in database.scan(RETENTION)],
    }
    return {f"({name})": rows for name, rows in later.items() if rows}


async def _directory(volume: Volume, bucket: str, ino: int, path: bytes) -> dict[str, object]:
    files: dict[str, object] = {}
    for name, _, inode in volume.list_directory(ino, 0, 10_000):
        below = path + name
        files[repr(below)] = await _file(volume, bucket, inode, below)
        if stat.S_ISDIR(inode.mode):
            files.update(await _directory(volume, bucket, inode.ino, below + b"/"))
    return files


async def _file(volume: Volume, bucket: str, inode: Inode, path: bytes) -> dict[str, object]:
    form: dict[str, object] = {
        "mode": f"{inode.mode:o}",
        "owner": [inode.uid, inode.gid],
        "links": inode.nlink,
        "size": inode.size,
        "target": repr(inode.target) if inode.target is not None else None,
        "rdev": inode.rdev,
        "xattrs": {
            repr(name): repr(volume.getxattr(inode.ino, name))
            for name in volume.listxattr(inode.ino)
        },
    }
    if stat.S_ISREG(inode.mode):
        form["versions"] = await _versions(volume, bucket, path)
    return form


async def _versions(volume: Volume, bucket: str, path: bytes) -> list[object]:
    versions: list[object] = []
    for entry in volume.versions(bucket, path):
        if entry.deleted:
            versions.append([entry.version_id, "deleted"])
            continue
        past = volume.open_version(bucket, path, entry.version_id)
        digest = hashlib.sha256(await past.read(0, past.size)).hexdigest()
        versions.append([entry.version_id, past.size, entry.etag, digest])
    return versions
