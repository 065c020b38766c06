"""Commands about compaction: what `objfs compact` asks, one segment a call, so that it can show how
far it is."""

import logging

from objfs.base import limits
from objfs.base.errors import NoSpace
from objfs.maint.compaction import JOB, compaction_of
from objfs.maint.jobs import scheduler_of
from objfs.maint.merging import JOB as MERGING
from objfs.maint.merging import Merging
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)


async def compact_plan(volume: Volume, dry_run: bool = False) -> dict[str, object]:
    """The segments that `compact_segment` is to be called for, best first, and what they hold.
    Unless it is a dry run, fragments are merged and active segments sealed before, and checkpoints
    are taken if that frees more of the journals than they cost."""
    compaction, core = compaction_of(volume), volume.core
    started = core.clock.now_ns()
    before = core.log.statistics().segment_bytes
    if not dry_run:
        await _merge(volume)
    async with scheduler_of(volume).by_hand(JOB) as budget:
        if not dry_run:
            await compaction.prepare(budget)
        share = limits.COMPACTION_DEAD_SHARE_BY_HAND_MIN
        candidates = await compaction.candidates(budget, share)
    return {
        "started_ns": started,
        "segment_bytes": before,
        "dead_bytes": sum(each.size - each.live_bytes for each in candidates),
        "segments": [each._asdict() for each in candidates],
    }


async def _merge(volume: Volume) -> None:
    """What fragments are in is dead afterwards. A full device has room again when segments went."""
    volume.core.check_writable()
    try:
        async with scheduler_of(volume).by_hand(MERGING) as budget:
            await Merging(volume).round(budget)
    except NoSpace as error:
        logger.info("fragments are not merged now: %s", error)


async def compact_segment(volume: Volume, segment: int) -> dict[str, object]:
    """Empties a segment and removes it. `full`: the device has no room to go on."""
    async with scheduler_of(volume).by_hand(JOB) as budget:
        outcome = await compaction_of(volume).compact(segment, budget)
    return outcome._asdict()


async def compact_end(
    volume: Volume,
    started_ns: int,
    segments: int,
    removed_bytes: int,
    written_bytes: int,
    damaged: int,
) -> dict[str, object]:
    """Notes what the calls together came to, and takes the reserve back if there is room."""
    result: dict[str, object] = {
        "segments": segments,
        "returned_bytes": removed_bytes - written_bytes,
        "written_bytes": written_bytes,
        "damaged": damaged,
    }
    if segments or damaged:
        scheduler_of(volume).keep(JOB, started_ns, result)
    volume.core.keep_reserve()
    return {"segment_bytes": volume.core.log.statistics().segment_bytes, **result}
