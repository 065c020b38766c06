"""Checks of the log: its segments and checkpoints, and that every extent has its record there."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence

from objfs.base.errors import DataLost, ObjfsError
from objfs.base.limits import FSCK_PROBLEMS_KEPT_MAX, SCRUB_PIECE_BYTES
from objfs.maint.fsck_work import Work
from objfs.maint.hits import hits_of
from objfs.maint.live_records import live_records, next_referenced, still_live
from objfs.meta.maintenance import Reader, open_reader
from objfs.meta.rows import Extent, ExtentPast
from objfs.store.format import RecordKind
from objfs.store.verification import Broken, Expected, SegmentCheck, pieces
from objfs.volume.damage import Hit, KnownDamage, remember


async def check_log(work: Work) -> None:
    """Segments on the device against those that the log opened; METAs; checkpoints."""
    core, verifier = work.core, work.core.log.verifier
    before = {each.id for each in verifier.segments()}
    there = await core.threads.run(verifier.on_device)
    known = {each.id: each for each in verifier.segments()}  # segments come and go meanwhile
    for segment in sorted((before & known.keys()) - there.keys()):
        name = known[segment].name
        work.report("segment-missing", f"segment {segment:016x}", f"{name} is gone")
    for segment in sorted(there.keys() - before - known.keys()):
        what = f"the log did not open {there[segment]}"
        work.report("segment-unknown", f"segment {segment:016x}", what)
    for each in known.values():
        check = _prepare(work, each.id)
        if check is not None:
            _, broken = await core.threads.run(check.begin)
            for one in broken:
                work.report("segment-unreadable", f"segment {each.id:016x}", one.what)
    await _check_history(work)


async def _check_history(work: Work) -> None:
    core = work.core
    damaged = False
    for checkpoint in core.log.checkpoints()[:2]:
        try:
            await core.threads.run(_read_all, core.log.read_checkpoint(checkpoint))
        except DataLost as error:
            damaged = True
            about = f"checkpoint of {checkpoint.sequence}"
            work.report("checkpoint-damaged", about, str(error))
    gaps = core.log.verifier.missing_metas()
    for first, last in gaps:
        what = f"changes {first} to {last} are in no segment"
        work.report("meta-missing", "the log", what)
    if (damaged or gaps) and work.repair:
        await _take_checkpoints(work)


async def _take_checkpoints(work: Work) -> None:
    """Two, so that neither what is damaged nor what is missing below them is needed any more."""
    try:
        for _ in range(2):
            await work.volume.checkpoint()
    except ObjfsError as error:
        work.report("checkpoint-damaged", "the log", f"no new one could be taken: {error}")
        return
    for problem in work.problems:
        if problem.code in ("checkpoint-damaged", "meta-missing"):
            problem.mended = True


def _read_all(parts: Iterable[bytes]) -> None:
    for _ in parts:
        pass


# --- Records --------------------------------------------------------------------------------------


async def check_segment(work: Work, segment: int, *, whole: bool) -> None:
    """Every record of a segment that rows refer to is there; with `whole` its bytes too, and those
    of its METAs and checkpoints."""
    async with open_reader(work.database) as reader:
        expected = await live_records(reader, segment)
        check = _prepare(work, segment) if whole else None
        if check is not None:
            own, _ = await work.core.threads.run(check.begin)  # `check_log` has told of the rest
            expected = heapq.merge(expected, own or ())
        await verify_records(work, reader, segment, expected, whole=whole)


async def verify_records(
    work: Work, reader: Reader, segment: int, expected: Iterable[Expected], *, whole: bool
) -> None:
    """Verify these records of a segment, given in order."""
    check, threads = _prepare(work, segment), work.core.threads
    following = pieces(expected, SCRUB_PIECE_BYTES)
    while (piece := await threads.run(next, following, None)) is not None:
        if check is None:
            broken = [Broken(each, "the segment is missing or does not open") for each in piece]
            await _report(work, reader, segment, broken)
            return  # as many as are listed
        verified = await threads.run(check.verify if whole else check.verify_heads, piece)
        work.objects += verified.records
        await _report(work, reader, segment, verified.broken)


def next_segment(work: Work, after: int, *, whole: bool) -> int | None:
    """The next one that rows refer to, or with `whole` the next that there is."""
    referenced = next_referenced(work.database, after + 1)
    found = [] if referenced is None else [referenced]
    if whole:
        found += [each.id for each in work.core.log.verifier.segments() if each.id > after]
    return min(found, default=None)


def expected_of(rows: Sequence[Extent | ExtentPast]) -> dict[int, list[Expected]]:
    """By segment, sorted, the records that rows refer to."""
    found: dict[int, set[Expected]] = defaultdict(set)
    for row in rows:
        reach = row.skip + row.length
        record = Expected(row.position, row.stored, RecordKind.DATA, row.hash32, raw=reach)
        found[row.segment].add(record)
    return {segment: sorted(records) for segment, records in found.items()}


def _prepare(work: Work, segment: int) -> SegmentCheck | None:
    try:
        return work.core.log.verifier.prepare(segment)
    except OSError:
        return None


async def _report(work: Work, reader: Reader, segment: int, broken: Sequence[Broken]) -> None:
    """What rows still refer to is lost: said with the files that it hits, and remembered."""
    if not broken:
        return
    work.database.commit()
    broken = (await still_live(reader, segment, broken))[:FSCK_PROBLEMS_KEPT_MAX]
    data = [each.expected.offset for each in broken if each.expected.kind == RecordKind.DATA]
    hits = await hits_of(work.database, reader, segment, data) if data else {}
    now, at = work.core.clock.now_ns(), work.database.sequence
    known = []
    missing = _prepare(work, segment) is None
    for each in broken:
        offset = each.expected.offset
        files, more = hits.get(offset, ([], 0))
        about = f"record at {offset} of segment {segment:016x}"
        is_data = each.expected.kind == RecordKind.DATA
        lost = f"; {_lost(files, more)}" if is_data else ""
        what = f"{RecordKind(each.expected.kind).name}: {each.what}{lost}"
        code = "record-missing" if missing else "record-damaged"
        work.report(code, about, what)
        work.problems[-1].path = files[0].path if files else ""
        length = max(each.expected.length, 0)
        known.append(KnownDamage(segment, offset, length, each.what, now, at, files, more))
    remember(work.core, known)


def _lost(files: Sequence[Hit], more: int) -> str:
    """Which bytes of which versions of which files."""
    texts = [
        f"{hit.bucket}:{hit.path} bytes {hit.start} to {hit.end}"
        + (" now" if hit.current else "")
        + (f" versions {' '.join(hit.versions)}" if hit.versions else "")
        for hit in files
    ]
    return (
        "lost: "
        + ", ".join(texts or ["nothing that a file shows"])
        + (f" and {more} more files" if more else "")
    )
