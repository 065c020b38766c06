"""Which extents belong to nobody, and which lie beyond the end of all that show them.

A content does not know its owners, so they are gathered in one pass over inodes, versions and
parts, off the loop. Owners come and go meanwhile: what seems to belong to nobody is looked for once
more, and contents that were made after the pass began are left alone. So are those whose removal
has begun.
"""

from array import array
from bisect import bisect_left
from typing import Any

import trio

from objfs.base.limits import IDS_PER_CHANGE_MAX, ROWS_PER_BATCH_MAX
from objfs.maint.fsck_work import Work
from objfs.maint.gradually import merged
from objfs.maint.live_records import TABLES as EXTENTS
from objfs.meta.maintenance import open_reader
from objfs.meta.tables import INODE, PART, PURGE, SWEEP, VERSION, Table

_OWNERS: tuple[Table[Any], ...] = (INODE, VERSION, PART)


async def check_owners(work: Work) -> None:
    """Contents of nobody."""
    began = work.database.sequence
    suspects = await _without_owner(work, await _owners(work, None), began)
    if suspects:
        suspects -= set(await _owners(work, suspects))
    for content in sorted(suspects):
        await _report(work, content)


async def _owners(work: Work, among: set[int] | None) -> "array[int]":
    """The contents that inodes, versions and parts of uploads have, sorted."""
    runs: list[array[int]] = []
    async with open_reader(work.database) as reader:
        for table in _OWNERS:
            async for page in reader.stream(table):
                contents = {row.content for row in page if row.content}
                runs.append(array("q", sorted(contents if among is None else contents & among)))
                work.objects += len(page)
    return await work.core.threads.run(merged, runs)


async def _without_owner(work: Work, owners: "array[int]", began: int) -> set[int]:
    """Contents with extents that are not among `owners`, by a skip scan."""
    suspects: set[int] = set()
    newest = (began + 1) * IDS_PER_CHANGE_MAX
    for table in EXTENTS:
        lower = 0
        while rows := work.database.scan(table, lower=lower, limit=1):
            content = rows[0].content
            lower = content + 1
            at = bisect_left(owners, content)
            known = at < len(owners) and owners[at] == content
            if not known and content < newest and not _is_going(work, content):
                suspects.add(content)
            await trio.lowlevel.checkpoint()
    return suspects


def _is_going(work: Work, content: int) -> bool:
    scan = work.database.scan
    return bool(scan(PURGE, (content,), limit=1) or scan(SWEEP, (content,), limit=1))


async def _report(work: Work, content: int) -> None:
    counted = 0
    for table in EXTENTS:
        counted += len(work.database.scan(table, (content,), limit=1000))
    if not counted or _is_going(work, content):
        return
    what = f"no version and no file has it; {counted if counted < 1000 else 'many'} extents"
    work.report("extent-of-nothing", f"content {content}", what)
    if work.repair:
        for table in EXTENTS:
            await _drop(work, table, content)
        work.problems[-1].mended = True


async def _drop(work: Work, table: Table[Any], content: int) -> None:
    while rows := work.database.scan(table, (content,), limit=ROWS_PER_BATCH_MAX):
        with work.core.change() as change:
            for row in rows:
                change.delete(table, *table.key_of(row))
        await trio.lowlevel.checkpoint()
