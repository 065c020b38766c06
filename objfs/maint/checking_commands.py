"""Commands that check a store: scrub, fsck. See `commands` for what a command is.

Each call does a part, of about a second, and says how far it came: who called shows it,
may go away at any time, and goes on with the next call.
"""

import msgspec

from objfs.base.limits import FSCK_STEP_SECONDS, SCRUB_STEP_SECONDS
from objfs.maint.forms import time_text
from objfs.maint.fsck import Asked, Fsck
from objfs.maint.scrub import Scrub, ScrubResult
from objfs.volume.damage import remembered
from objfs.volume.volume import Volume


async def scrub(volume: Volume, restart: bool = False) -> dict[str, object]:
    """Scrub for a while; `restart` begins from the start. When it is `finished`, the damage that
    is known is listed."""
    work = Scrub(volume)
    if restart:
        work.begin_anew()
    state = await work.run(SCRUB_STEP_SECONDS)
    ends = {each.id: each.end for each in volume.core.log.verifier.segments()}
    answer: dict[str, object] = {
        "read_bytes": state.read_bytes,
        "records": state.records,
        "damaged_records": state.damaged,
        "started": time_text(state.started_ns),
    }
    if isinstance(state, ScrubResult):
        return answer | {
            "finished": time_text(state.finished_ns),
            "damage": [msgspec.to_builtins(each) for each in remembered(volume.core.database)],
        }
    done = sum(end for segment, end in ends.items() if segment < state.segment) + state.offset
    total = sum(end for segment, end in ends.items() if segment <= state.through)
    return answer | {"finished": None, "done_bytes": done, "total_bytes": total}


async def fsck(
    volume: Volume,
    bucket: str | None = None,
    key: bytes = b"",
    repair: bool = False,
    deep: bool = False,
    data: bool = False,
    restart: bool = False,
) -> dict[str, object]:
    """Check the store, or what is and was at and below a key, for a while; `restart` begins from
    the start. The problems are those found so far."""
    asked = Asked(bucket, key, repair, deep, data)
    state = await Fsck(volume).run(asked, FSCK_STEP_SECONDS, restart=restart)
    stages = state.stages
    return {
        "finished": time_text(state.finished_ns) if state.finished_ns else None,
        "stage": stages[min(state.stage, len(stages) - 1)],
        "stages_done": state.stage,
        "stages": len(stages),
        "objects": state.objects,
        "left": state.left,
        "more": state.more,
        "problems": [msgspec.to_builtins(each) | {"do": each.do} for each in state.problems],
    }
