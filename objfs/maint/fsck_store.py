"""Checks of what belongs to the store as a whole: buckets and their accounts, moments, snapshots,
rules, and work that was begun. See `fsck_work` for how a check works."""

import stat
from functools import partial

from msgspec.structs import replace

from objfs.maint.fsck_mend import made_up
from objfs.maint.fsck_work import Mend, Stage, Work
from objfs.meta.database import Change
from objfs.meta.maintenance import usage_differences
from objfs.meta.rows import (
    Bucket,
    Dentry,
    Moment,
    Orphan,
    Part,
    Purge,
    Snapshot,
    Unsealed,
    Usage,
)
from objfs.meta.tables import (
    BUCKET,
    DENTRY,
    ENDED_UPLOAD,
    ERASED,
    INODE,
    MOMENT,
    ORPHAN,
    PART,
    PURGE,
    RETENTION,
    SNAPSHOT,
    UNSEALED,
    UPLOAD,
    USAGE,
    Key,
)
from objfs.volume.commits import Commits
from objfs.volume.content import end_orphan, purge_content
from objfs.volume.inodes import counted
from objfs.volume.showing import stretches_of
from objfs.volume.upload_bytes import drop_content


def buckets(work: Work, after: Key) -> Stage:
    """Roots, and accounts of nothing."""
    for bucket in work.walk(BUCKET, after):
        root = work.database.get(INODE, bucket.root)
        about = f"bucket {bucket.name}"
        if root is None or not stat.S_ISDIR(root.mode):
            what = f"its root, inode {bucket.root}, is {'no directory' if root else 'gone'}"
            work.report("bucket-root", about, what, _root(bucket))
        yield BUCKET.key_of(bucket)
    for usage in work.walk(USAGE, ()):
        if work.database.get(BUCKET, usage.bucket) is None:
            gone = usage.bucket
            what = "there is no such bucket"
            work.report(
                "usage-of-nothing",
                f"account of bucket {gone}",
                what,
                lambda change, gone=gone: change.delete(USAGE, gone),  # type: ignore[misc]
            )
        yield None


def _root(bucket: Bucket) -> Mend:
    """A root directory with the entries that still name it as theirs."""

    def mend(change: Change) -> None:
        links = 2 + sum(row.key.endswith(b"/") for row in change.scan(DENTRY, (bucket.root,)))
        row = made_up(change, bucket.root, bucket.id, stat.S_IFDIR | 0o755)
        change.put(replace(row, nlink=links, content=0))
        if change.get(DENTRY, bucket.root, b"") is None:
            own = Dentry(bucket.root, b"", bucket.root, change.sequence, change.new_id())
            change.put(own)

    return mend


async def usage(work: Work) -> None:
    """The accounts of buckets against a count of one moment."""
    names = {bucket.id: bucket.name for bucket in work.database.scan(BUCKET)}
    for bucket, (kept, found) in (await usage_differences(work.database)).items():
        if bucket not in names:
            continue  # rows of a bucket that is gone
        what = f"it says {_figures(kept)}; counted are {_figures(found)}"
        mend = _account(kept, found)
        work.report("usage-wrong", f"account of bucket {names[bucket]}", what, mend)


def _figures(row: Usage) -> str:
    return f"{row.objects} files, {row.live_bytes} bytes, {row.past_bytes} of old versions"


def _account(kept: Usage, found: Usage) -> Mend:
    """What was changed since keeps what it changed by."""

    def mend(change: Change) -> None:
        row = change.get(USAGE, kept.bucket) or Usage(kept.bucket)
        change.put(
            Usage(
                kept.bucket,
                counted(row.live_bytes + found.live_bytes - kept.live_bytes),
                counted(row.past_bytes + found.past_bytes - kept.past_bytes),
                counted(row.objects + found.objects - kept.objects),
            )
        )

    return mend


def moments(work: Work, after: Key) -> Stage:
    """Time and sequence rise together, and neither is of the future."""
    before = work.database.scan(MOMENT, upper=after[0], reverse=True, limit=1) if after else []
    last = before[0] if before else Moment(-1, 0)
    for row in work.walk(MOMENT, after):
        if work.began < row.sequence <= work.database.sequence:
            return
        if row.sequence <= last.sequence or row.sequence > work.database.sequence:
            what = f"change {row.sequence} is said to follow {last.sequence}"
            time_ns = row.time_ns
            work.report(
                "moment-order",
                f"moment {row.time_ns}",
                what,
                lambda change, time_ns=time_ns: change.delete(MOMENT, time_ns),  # type: ignore[misc]
            )
        else:
            last = row
        yield MOMENT.key_of(row)


def rules(work: Work, after: Key) -> Stage:
    """Snapshots and rules of retention."""
    for row in work.walk(SNAPSHOT, after):
        _snapshot(work, row)
        yield SNAPSHOT.key_of(row)
    for rule in work.walk(RETENTION, ()):
        key = RETENTION.key_of(rule)
        if rule.bucket and work.database.get(BUCKET, rule.bucket) is None:
            work.report(
                "retention-of-nothing",
                f"retention of bucket {rule.bucket}, {rule.prefix!r}",
                "there is no such bucket",
                lambda change, key=key: change.delete(RETENTION, *key),  # type: ignore[misc]
            )
        yield None


def erased(work: Work, after: Key) -> Stage:
    """What is hidden: an entry of a key that led somewhere then."""
    for row in work.walk(ERASED, after):
        bucket = work.database.get(BUCKET, row.bucket)
        entry = row.entry
        if bucket is None or not any(
            stretch.begin <= entry < stretch.until
            for stretch in stretches_of(work.database, bucket.root, row.key, entry, entry + 1)
        ):
            key = ERASED.key_of(row)
            work.report(
                "erased-of-nothing",
                f"erased entry {entry:x} of {row.key!r} in bucket {row.bucket}",
                "the path led nowhere then",
                lambda change, key=key: change.delete(ERASED, *key),  # type: ignore[misc]
            )
        yield ERASED.key_of(row)


def _snapshot(work: Work, row: Snapshot) -> None:
    about = f"snapshot {row.name}"
    if row.sequence > work.database.sequence:
        what = f"it is of {row.sequence}, which has not come yet"
        now = replace(row, sequence=work.database.sequence)
        work.report("snapshot-wrong", about, what, lambda change: change.put(now))
        work.core.pins.reload()
    elif row.bucket and work.database.get(BUCKET, row.bucket) is None:
        what = f"its bucket {row.bucket} does not exist"
        name = row.name
        work.report("snapshot-wrong", about, what, lambda change: change.delete(SNAPSHOT, name))
        work.core.pins.reload()


def begun(work: Work, after: Key) -> Stage:
    """Orphans, unsealed files and purges: each is in use, or nobody will finish it."""
    for orphan in work.walk(ORPHAN, ()):
        _orphan(work, orphan)
        yield None
    for unsealed in work.walk(UNSEALED, ()):
        _unsealed(work, unsealed)
        yield None
    yield from _parts(work)
    for purge in work.walk(PURGE, after):
        _purge(work, purge)
        yield None


def _parts(work: Work) -> Stage:
    """Parts: each has an upload, that goes on or has ended."""
    uploads = set()
    for upload in work.walk(UPLOAD, ()):
        uploads.add(upload.id)
        yield None
    for part in work.walk(PART, ()):
        ended = work.database.get(ENDED_UPLOAD, part.upload)
        if part.upload not in uploads and ended is None:
            about = f"part {part.number} of upload {part.upload:x}"
            what = "there is no such upload"
            if work.report("part-of-nothing", about, what, partial(_drop_part, part)):
                purge_content(work.core, part.content)
        yield None


def _drop_part(part: Part, change: Change) -> None:
    change.delete(PART, part.upload, part.number)
    drop_content(change, part.content)


def _orphan(work: Work, row: Orphan) -> None:
    about, inode = f"inode {row.ino}", work.database.get(INODE, row.ino)
    if inode is None:
        what = "it is known as an orphan and does not exist"
        work.report("orphan-wrong", about, what, lambda change: change.delete(ORPHAN, row.ino))
    elif work.is_in_use(row.ino):
        return
    elif not inode.nlink:
        what = "it has no name, and nobody has it open"
        if not work.report("orphan-wrong", about, what) and work.repair:
            end_orphan(work.core, row.ino)
            work.problems[-1].mended = True


def _unsealed(work: Work, row: Unsealed) -> None:
    about, inode = f"inode {row.ino}", work.database.get(INODE, row.ino)
    if inode is None:
        what = "it is to be sealed and does not exist"
        work.report("unsealed-wrong", about, what, lambda change: change.delete(UNSEALED, row.ino))
    elif not work.is_in_use(row.ino):
        what = "its last changes are in no version, and nobody has it open"
        work.report("unsealed-wrong", about, what, ino=row.ino)
        if work.repair:
            Commits(work.core).seal_logged(row.ino)
            work.problems[-1].mended = True


def _purge(work: Work, row: Purge) -> None:
    if work.core.open_inodes or row.content in work.core.building:
        return  # it may be theirs
    about = f"purge of content {row.content}"
    work.report("purge-left", about, "it was begun, and nobody goes on with it")
    if work.repair:
        purge_content(work.core, row.content)
        work.problems[-1].mended = True
