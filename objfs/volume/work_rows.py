"""Progress and results of background work: named JSON values in `setting` rows.

Notes, not data: when one cannot be written (the disk is full, the store is read-only) that is
logged, and the work goes on without it.
"""

import logging
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from objfs.base.errors import ReadOnly, StorageError
from objfs.base.limits import ROWS_PER_BATCH_MAX
from objfs.meta.database import Database
from objfs.meta.rows import Setting
from objfs.meta.tables import SETTING, AnyRow
from objfs.volume.core import Core

logger = logging.getLogger(__name__)

SCRUB = "scrub"  # the scrub that is under way
RETENTION = "retention"  # the pass in the background that is under way
LIFECYCLE = "lifecycle"  # the same
SCRUB_LAST = "scrub_last"  # how the last one ended
FSCK = "fsck"
FSCK_LAST = "fsck_last"

T = TypeVar("T")


def load_note(database: Database, name: str, kind: type[T]) -> T | None:
    """What was noted; None if nothing was, or something that this version does not understand."""
    row = database.get(SETTING, name)
    if row is None:
        return None
    try:
        return msgspec.json.decode(row.value, type=kind)
    except msgspec.MsgspecError as error:
        logger.warning("the note %r is not understood and left aside: %s", name, error)
        return None


def save_note(core: Core, name: str, value: object) -> None:
    """Note `value`; None takes the note away."""
    if value is None:
        write_rows(core, [], [name])
    else:
        write_rows(core, [Setting(name, msgspec.json.encode(value))])


def write_rows(core: Core, put: Sequence[AnyRow], delete: Sequence[str] = ()) -> bool:
    """Put rows and delete settings, in batches. False when that failed, which was logged."""
    work: list[AnyRow | str] = [*put, *delete]
    try:
        for start in range(0, len(work), ROWS_PER_BATCH_MAX):
            with core.change() as change:
                for each in work[start : start + ROWS_PER_BATCH_MAX]:
                    if not isinstance(each, str):
                        change.put(each)
                    elif change.get(SETTING, each) is not None:
                        change.delete(SETTING, each)
    except (ReadOnly, StorageError) as error:
        if not core.read_only:
            logger.warning("noting the state of background work failed: %s", error)
        return False
    return True
