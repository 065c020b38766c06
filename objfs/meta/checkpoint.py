"""Checkpoints: a copy of the index as of one META, in parts, for the log to keep.

A checkpoint says itself which META it covers, and is made from what was committed, so it holds
exactly the changes up to that one. Loading it and applying the METAs above it gives the index
again, row for row. The copy is made in a thread, and its parts may be read in any thread.
"""

from collections.abc import Generator

from objfs.base.ports import Threads
from objfs.meta.database import Database


async def checkpoint_parts(database: Database, threads: Threads) -> tuple[int, Generator[bytes]]:
    """The sequence that a new copy of the index covers, and its parts (CHECKPOINT_PART_BYTES each,
    the last one shorter): `await log.append_checkpoint(*await checkpoint_parts(...))`.

    Read the parts to their end, or close them: the copy takes space until then. One at a time.
    Raises IndexFailed when the index does not verify: then objfs rebuild, and no checkpoint.
    """
    copy = database.begin_backup()
    return await threads.run(copy)
