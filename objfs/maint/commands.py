"""What other processes may ask of a volume: one implementation, run by the owner of the store for
whoever connects to its control socket, or by the command itself when nobody owns the store.

A command is an async function of the volume and of named arguments; arguments and results are
what msgpack and JSON can say (bytes for keys and contents). The JSON forms are stable: fields are
added, never renamed or removed.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from objfs.base.errors import InvalidRequest, NotFound
from objfs.base.limits import CONTROL_PAGE_ENTRIES, CONTROL_READ_BYTES_MAX
from objfs.maint import identity_commands, retention_commands
from objfs.maint.background_commands import (
    background_pause,
    background_resume,
    background_status,
)
from objfs.maint.change_commands import changes, path_kind
from objfs.maint.checking_commands import fsck, scrub
from objfs.maint.compaction_commands import compact_end, compact_plan, compact_segment
from objfs.maint.difference_commands import diff, restore_plan
from objfs.maint.forgetting_commands import du, forget
from objfs.maint.forms import time_text
from objfs.maint.jobs import scheduler_of
from objfs.maint.restore_commands import moment, restore_at
from objfs.maint.snapshot_commands import snapshot_create, snapshot_delete, snapshot_list
from objfs.maint.view_commands import settle_moment
from objfs.meta.maintenance import count_usage
from objfs.meta.rows import Bucket, Usage
from objfs.meta.tables import USAGE
from objfs.volume.history import sequence_of
from objfs.volume.object_keys import path_of
from objfs.volume.volume import Volume

# --- The store ------------------------------------------------------------------------------------


async def status(volume: Volume) -> dict[str, object]:
    """How the store is: what `Volume.status` says."""
    scheduler_of(volume)
    return volume.status()


async def sync(volume: Volume) -> dict[str, object]:
    """Everything written so far is durable when it returns."""
    await volume.sync()
    return {"synced": True}


async def recount(volume: Volume) -> dict[str, object]:
    """Counts what each bucket holds, from the index's rows, beside what is kept of it. `exact` is
    false when something was changed meanwhile."""
    counted = await count_usage(volume.core.database)
    kept = {row.bucket: row for row in volume.core.database.scan(USAGE)}
    return {
        "exact": counted.exact,
        "buckets": {
            bucket.name: {
                "counted": _usage_form(counted.usage.get(bucket.id, Usage(bucket.id))),
                "kept": _usage_form(kept.get(bucket.id, Usage(bucket.id))),
            }
            for bucket in volume.buckets()
        },
    }


def _usage_form(usage: Usage) -> dict[str, int]:
    return {
        "live_bytes": usage.live_bytes,
        "past_bytes": usage.past_bytes,
        "objects": usage.objects,
    }


# --- Buckets --------------------------------------------------------------------------------------


def _bucket_form(bucket: Bucket) -> dict[str, object]:
    return {
        "name": bucket.name,
        "created": time_text(bucket.created_ns),
        "versioning": bucket.versioning,
        "quota_bytes": bucket.quota_bytes,
    }


async def bucket_list(volume: Volume) -> dict[str, object]:
    """All buckets, by name, and what they hold."""
    used = volume.status()["buckets"]
    assert isinstance(used, dict)
    return {
        "buckets": [_bucket_form(bucket) | used.get(bucket.name, {}) for bucket in volume.buckets()]
    }


async def bucket_create(
    volume: Volume,
    name: str,
    versioning: str = "on",
    quota_bytes: int = 0,
    uid: int = 0,
    gid: int = 0,
) -> dict[str, object]:
    """The bucket's root directory belongs to `uid` and `gid`."""
    made = volume.create_bucket(
        name, versioning=versioning, quota_bytes=quota_bytes, uid=uid, gid=gid
    )
    return _bucket_form(made)


async def bucket_set(
    volume: Volume, name: str, versioning: str | None = None, quota_bytes: int | None = None
) -> dict[str, object]:
    """Changes the rules that are given."""
    changed = volume.set_bucket(name, versioning=versioning, quota_bytes=quota_bytes)
    return _bucket_form(changed)


async def bucket_delete(volume: Volume, name: str, force: bool = False) -> dict[str, object]:
    """`force` gives up the history of the files that were in it."""
    volume.check_deletable(name, force=force)
    await volume.forget(name, b"")
    volume.delete_bucket(name, force=force)
    return {"deleted": name}


# --- Versions -------------------------------------------------------------------------------------


async def versions(
    volume: Volume,
    bucket: str,
    key: bytes,
    before: int | None = None,
    limit: int = CONTROL_PAGE_ENTRIES,
) -> dict[str, object]:
    """A page of the versions of a key, newest first; `next` continues it as `before`. A key
    with a slash at its end is the object of a directory."""
    limit = min(limit, CONTROL_PAGE_ENTRIES)
    page = volume.versions(bucket, path_of(key), limit=limit, before=before)
    return {
        "versions": [
            {
                "version_id": entry.version_id,
                "time": time_text(entry.time_ns),
                "size": entry.size,
                "etag": entry.etag,
                "latest": entry.latest,
                "deleted": entry.deleted,
            }
            for entry in page
        ],
        "next": page[-1].sequence if len(page) == limit else None,
    }


async def read_version(
    volume: Volume, bucket: str, key: bytes, version_id: str, offset: int, size: int
) -> dict[str, object]:
    """Bytes of an old version, with its whole size. Shorter than asked at its end, and when more
    than CONTROL_READ_BYTES_MAX are asked."""
    past = volume.open_version(bucket, path_of(key), version_id)
    size = min(size, CONTROL_READ_BYTES_MAX, max(past.size - offset, 0))
    data = await past.read(offset, size) if size > 0 else b""
    return {"size": past.size, "data": bytes(data)}


async def restore(
    volume: Volume,
    bucket: str,
    key: bytes,
    version_id: str,
    to_bucket: str | None = None,
    to_key: bytes | None = None,
) -> dict[str, object]:
    """An old version becomes the current one, of its own key or of another. In place, directories
    above it that are gone come back as they were."""
    to = None if to_bucket is None or to_key is None else (to_bucket, to_key)
    if to in (None, (bucket, key)) and _is_directory_gone(volume, bucket, key):
        volume.open_version(bucket, key, version_id)  # it is one of this key
        restored = await volume.restore_at(volume.bucket(bucket), key, sequence_of(version_id))
        inode = volume.getattr(restored.ino)
    else:
        inode = await volume.restore(bucket, key, version_id, to)
    await volume.seen()
    return {"size": inode.size, "ino": inode.ino}


def _is_directory_gone(volume: Volume, bucket: str, key: bytes) -> bool:
    try:
        volume.root(bucket, key.rpartition(b"/")[0])
    except NotFound:
        return True
    return False


# --- The table ------------------------------------------------------------------------------------

COMMANDS: dict[str, Callable[..., Awaitable[dict[str, object]]]] = {
    command.__name__: command
    for command in (
        status,
        sync,
        settle_moment,
        recount,
        background_status,
        background_pause,
        background_resume,
        compact_plan,
        compact_segment,
        compact_end,
        bucket_list,
        bucket_create,
        bucket_set,
        bucket_delete,
        versions,
        path_kind,
        changes,
        read_version,
        restore,
        identity_commands.user_create,
        identity_commands.user_list,
        identity_commands.user_set,
        identity_commands.user_delete,
        identity_commands.key_create,
        identity_commands.key_list,
        identity_commands.key_set,
        identity_commands.key_delete,
        identity_commands.group_create,
        identity_commands.group_list,
        identity_commands.group_delete,
        identity_commands.group_add,
        identity_commands.group_remove,
        identity_commands.policy_put,
        identity_commands.policy_list,
        identity_commands.policy_show,
        identity_commands.policy_delete,
        identity_commands.policy_attach,
        identity_commands.policy_detach,
        identity_commands.issuer_put,
        identity_commands.issuer_list,
        identity_commands.issuer_delete,
        retention_commands.retention_set,
        retention_commands.retention_remove,
        retention_commands.retention_show,
        retention_commands.retention_apply,
        restore_at,
        restore_plan,
        moment,
        diff,
        snapshot_create,
        snapshot_list,
        snapshot_delete,
        scrub,
        fsck,
        forget,
        du,
    )
}


async def run(volume: Volume, name: str, arguments: dict[str, Any]) -> dict[str, object]:
    """The result of a command. InvalidRequest for one that does not exist, or not like this."""
    command = COMMANDS.get(name)
    if command is None:
        raise InvalidRequest(
            f"this version of objfs has no command {name!r}; mount again with the new version"
        )
    try:
        inspect.signature(command).bind(volume, **arguments)
    except TypeError as error:
        raise InvalidRequest(f"the command {name}: {error}") from error
    return await command(volume, **arguments)
