"""Rules applied to random histories: what the policy keeps is there and reads as before, what it
does not keep is gone, and every moment of `keep_for_seconds` is as the model says."""

import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from objfs.base.errors import NotFound
from objfs.maint.retention import RetentionPass
from objfs.meta.rows import Retention, Snapshot
from objfs.meta.tables import SWEEP
from objfs.volume.moments import sequence_at, time_of
from objfs.volume.retention_policy import Moment, Shown, kept
from objfs.volume.showing import FOREVER
from tests.model.harness import BUCKET
from tests.model.operations import Generator
from tests.model.sequences import Run, limited
from tests.model.subject import READ_BYTES

OPERATIONS = 120


class Known(NamedTuple):
    """A version of a path, and its bytes."""

    version_id: str
    data: bytes


async def histories(run: Run) -> dict[str, list[Known]]:
    """The versions of every path that ever was."""
    found = {}
    volume = run.harness.volume
    for path in sorted(run.reference.paths_ever()):
        try:
            entries = volume.versions(BUCKET, path.encode())
        except NotFound:
            continue
        known = []
        for entry in entries:
            if not entry.deleted:
                past = volume.open_version(BUCKET, path.encode(), entry.version_id)
                known.append(Known(entry.version_id, bytes(await past.read(0, READ_BYTES))))
        if known:
            found[path] = known
    return found


def expected_of(run: Run, path: str, known: list[Known], rules: Retention) -> list[Known]:
    """What the policy keeps of a path, from what the volume lists of it."""
    volume = run.harness.volume
    database = volume.core.database
    stretches = volume._history.stretches(BUCKET, path.encode())
    entries = [e for e in volume.versions(BUCKET, path.encode()) if not e.deleted]
    versions = {e.sequence: (e.time_ns, each) for e, each in zip(entries, known, strict=True)}
    places: dict[int, tuple[int, Known | None]] = dict(versions)
    for stretch in stretches:  # a symlink, a FIFO: something was there too
        if not any(stretch.begin <= e.sequence < stretch.until for e in entries):
            places[stretch.begin] = (time_of(database, stretch.begin), None)
    shown, made, until = [], [], FOREVER
    for sequence in sorted(places, reverse=True):
        (stretch,) = (s for s in stretches if s.begin <= sequence < s.until)
        time_ns, version = places[sequence]
        # Before its first version a file was there without bytes; that goes with the first one.
        first = not any(stretch.begin <= each < sequence for each in places)
        since = stretch.begin if first else sequence
        shown.append(Shown(since, min(until, stretch.until), time_ns))
        made.append(version)
        until = sequence
    now = max(volume.core.clock.now_ns(), database.time_ns)
    moment = Moment(
        now,
        sequence_at(database, now - rules.keep_for_seconds * 10**9),
        FOREVER,
        tuple(volume.core.pins.sequences(volume.bucket(BUCKET).id, path.encode())),
        volume.core.zone,
    )
    end = stretches[0].until
    deleted = None if end == FOREVER else time_of(database, end)
    reasons = kept(shown, rules, moment, deleted_ns=deleted)
    return [each for each, why in zip(made, reasons, strict=True) if why and each is not None]


def some_rules(random: Random, elapsed_seconds: int) -> Retention:
    choice = random.choice
    return Retention(
        0,
        b"",
        keep_for_seconds=choice((0, 1, elapsed_seconds // 10, elapsed_seconds // 2)),
        keep_last=choice((0, 1, 1, 2)),
        hourly=choice((0, 0, 2)),
        yearly=choice((0, 0, 1)),
    )


async def check(seed: int, directory: Path | None) -> None:
    random = Random(seed)
    run = await Run.begin(seed, directory)
    began = run.harness.clock.now_ns()
    generator = Generator(Random(seed), run, disasters=False)
    for number, operation in enumerate(limited(generator, OPERATIONS)):
        await run.perform(operation)
        if number == 50:
            middle = run.harness.log.last_sequence
    await run.perform(("remount", ("kept",)))
    volume = run.harness.volume
    elapsed = (run.harness.clock.now_ns() - began) // 10**9
    rules = some_rules(random, elapsed)
    if not any((rules.keep_for_seconds, rules.keep_last, rules.hourly, rules.yearly)):
        rules = Retention(0, b"", keep_last=1)
    volume.retention.set(BUCKET, b"", rules)
    if seed % 2:  # as if it had been made then: the model knows no snapshots
        with volume.core.change() as change:
            change.put(Snapshot("middle", middle, change.time_ns))
        volume.core.pins.reload()
    before = await histories(run)
    expected = {path: expected_of(run, path, known, rules) for path, known in before.items()}
    now = max(volume.core.clock.now_ns(), volume.core.database.time_ns)
    horizon = sequence_at(volume.core.database, now - rules.keep_for_seconds * 10**9)
    dry = await RetentionPass(volume, dry=True).run()
    applied = await RetentionPass(volume).run()
    assert dry == applied
    for fault in ("kept", "lost"):
        run.reference.settle(run.harness.log.last_sequence)
        await run.harness.close()
        run.subject.take(run.harness.open(fault))
        volume = run.harness.volume
        await run.compare_present()
        after = await histories(run)
        assert after == {path: known for path, known in expected.items() if known}
        recent = [each for each in run.reference.moments if each >= horizon]
        await run.compare_past(recent if rules.keep_for_seconds else recent[-1:])
        if seed % 2:
            await run.compare_past([middle])
        assert not volume.core.database.scan(SWEEP)
    again = await RetentionPass(volume).run()
    assert (again.entries, again.versions) == (0, 0)
    await run.harness.close()


@pytest.mark.parametrize("seed", range(6))
async def test_what_the_policy_says_is_what_is_left(seed: int) -> None:
    """S10.2, S10.3"""
    await check(seed, None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
async def test_what_the_policy_says_is_what_is_left_of_more(seed: int) -> None:
    """S10.2, S10.3"""
    with tempfile.TemporaryDirectory() as directory:
        await check(seed, Path(directory) / "index" if seed % 4 == 0 else None)
