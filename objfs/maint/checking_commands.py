"""Commands that check a store: scrub, fsck. See `commands` for what a command is.

Each call does a part, of about a second, and says how far it came: who called shows it,
may go away at any time, and goes on with the next call.
"""

import msgspec

from objfs.base.limits import FSCK_STEP_SECONDS, SCRUB_STEP_SECONDS
from objfs.maint.forms import time_text
from objfs.maint.fsck import Asked, Fsck
from objfs.maint.scrub import Scrub, ScrubResult, ScrubState, progress_of
from objfs.volume.damage import remembered
from objfs.volume.volume import Volume
from objfs.volume.work_rows import SCRUB_LAST, load_note


async def scrub(
    volume: Volume, restart: bool = False, started: str | None = None
) -> dict[str, object]:
    """Scrub for a while; `restart` begins from the start, `started` goes on with the scrub that
    began then, which may have ended meanwhile. When it is `finished`, the damage that is known is
    listed."""
    work, database = Scrub(volume), volume.core.database
    if restart:
        work.begin_anew()
    last = load_note(database, SCRUB_LAST, ScrubResult)
    if last is not None and time_text(last.started_ns) == started:
        return _scrub_form(volume, last)
    return _scrub_form(volume, await work.run(SCRUB_STEP_SECONDS))


def _scrub_form(volume: Volume, state: ScrubState | ScrubResult) -> dict[str, object]:
    answer: dict[str, object] = {
        "started": time_text(state.started_ns),
        "finished": None,
        "read_bytes": state.read_bytes,
        "records": state.records,
        "damaged_records": state.damaged,
    }
    if isinstance(state, ScrubResult):
        known = remembered(volume.core.database)
        return answer | {
            "finished": time_text(state.finished_ns),
            "damage": [msgspec.to_builtins(each) for each in known],
        }
    done, total = progress_of(volume, state)
    return answer | {"done_bytes": done, "total_bytes": total}


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
