"""Restores of random moments of random histories, and restores that a crash stops anywhere."""

from random import Random

import pytest

from objfs.base.errors import NotADirectory, NotFound
from objfs.meta.maintenance import count_usage
from objfs.meta.tables import USAGE
from objfs.store.memory import Survives, nothing_survives
from objfs.volume import tree_restore
from tests.model.harness import BUCKET, Harness, some_survives
from tests.model.operations import Generator
from tests.model.sequences import Run, limited
from tests.volume.trees import Shown, shown

SEEDS = 15
OPERATIONS = 60
RESTORES = 5
OLD_TICKS = 100_000


async def lived(seed: int, operations: int = OPERATIONS) -> Run:
    """A store with a random history, all of it logged and exposed."""
    run = await Run.begin(seed, None)
    for operation in limited(Generator(Random(seed), run, disasters=False), operations):
        await run.perform(operation)
    await run.perform(("sync", ()))
    run.harness.clock.advance(OLD_TICKS)
    return run


async def sealed(harness: Harness, name: str) -> int:
    """The sequence of a moment at which everything is sealed."""
    return (await harness.volume.snapshots.create(name)).sequence


async def restore(harness: Harness, key: bytes, sequence: int) -> None:
    await harness.volume.restore_at(harness.volume.bucket(BUCKET), key, sequence)


def outside(tree: dict[bytes, Shown], key: bytes) -> dict[bytes, Shown]:
    """What a restore of `key` must leave alone; links across its edge are not its affair, nor are
    the directories above it."""
    name = key.rstrip(b"/")
    return {
        path: each._replace(linked_to=b"")
        for path, each in tree.items()
        if not (path + b"/").startswith(name + b"/") and not key.startswith(path)
    }


async def check_restores(seed: int) -> None:
    run = await lived(seed)
    harness, random = run.harness, Random(seed)
    for number in range(RESTORES):
        before = await sealed(harness, f"before {number}")
        harness.clock.advance(random.choice((1, OLD_TICKS)))
        present = await shown(harness, before)
        sequence = random.randint(run.harness.found + 1, before)
        was = await shown(harness, sequence)
        key = random.choice([*was, b"", b""])
        try:
            await restore(harness, key, sequence)
        except NotADirectory:
            continue
        assert below(await shown(harness), key) == below(was, key), (seed, number, key, sequence)
        if key:
            now = outside(await shown(harness), key)
            assert now == outside(present, key), (seed, number, key, sequence)
        assert await shown(harness, sequence) == was
        assert await shown(harness, before) == present
        last = harness.log.last_sequence
        await restore(harness, key, sequence)
        assert harness.log.last_sequence == last, "a restore once more changes nothing"
        if random.random() < 0.5:
            try:
                await restore(harness, key, before)
            except NotFound:
                continue
            assert below(await shown(harness), key) == below(present, key)
    await run.compare_past()
    await check_reopened(run)


async def check_reopened(run: Run) -> None:
    """The index made again from the log shows the same, and what is counted is right."""
    harness = run.harness
    await sealed(harness, "last")
    present = await shown(harness)
    harness.crash(None)
    harness.open("lost")
    assert await shown(harness) == present
    counted = await count_usage(harness.volume.core.database)
    kept = {row.bucket: row for row in harness.volume.core.database.scan(USAGE)}
    assert counted.usage == kept


def below(tree: dict[bytes, Shown], key: bytes) -> dict[bytes, Shown]:
    """A part of a tree; hard links by their first name in it."""
    part = {
        path: each
        for path, each in tree.items()
        if path == key or (key.endswith(b"/") and path.startswith(key)) or not key
    }
    first: dict[bytes, bytes] = {}
    for path in sorted(part):
        first.setdefault(part[path].linked_to, path)
    return {path: each._replace(linked_to=first[each.linked_to]) for path, each in part.items()}


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_random_moment_of_a_random_history(seed: int) -> None:
    """S8.3, S8.5: in place, twice, and undone."""
    await check_restores(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS, 20 * SEEDS))
async def test_more_random_moments(seed: int) -> None:
    """S8.3, S8.5"""
    await check_restores(seed)


async def check_crashes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a restore after every one of its changes."""
    run = await lived(seed)
    harness, random = run.harness, Random(seed)
    before = await sealed(harness, "before")
    harness.clock.advance(OLD_TICKS)
    old = await shown(harness, before)
    sequence = random.randint(harness.found + 1, before)
    new = await shown(harness, sequence)
    monkeypatch.setattr(tree_restore, "_LOOKED_MAX", 2)  # many small changes
    survives: list[Survives | None] = [None, nothing_survives, some_survives(seed)]
    left: list[Harness] = []
    told = {harness.log.last_sequence}

    def crash(ino: int, name: bytes | None) -> None:
        if harness.log.last_sequence not in told:
            told.add(harness.log.last_sequence)
            left.append(harness.twin())
            left[-1].crash(survives[len(left) % 3])

    harness.volume.core.invalidate = crash
    await restore(harness, b"", sequence)
    assert await shown(harness) == new
    for twin in left:
        twin.open()
        mixed = await shown(twin)
        for path, each in mixed.items():
            assert each.data in {of[path].data for of in (old, new) if path in of}, path
        assert await shown(twin, before) == old
        await restore(twin, b"", sequence)
        assert await shown(twin) == new


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_crash_after_any_change_of_a_restore(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8.5: what is there is old or new, and the same restore once more finishes it."""
    await check_crashes(seed, monkeypatch)


async def test_a_crash_while_a_tree_is_built_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """S8.4: nothing is there, nothing is left, and nothing counts."""
    run = await lived(4)
    harness = run.harness
    sequence = await sealed(harness, "before")
    was = await shown(harness)
    rows = {row for row in map(repr, harness.dump()) if not row.startswith("('moment'")}
    monkeypatch.setattr(tree_restore, "_LOOKED_MAX", 2)
    left: list[Harness] = []

    def crash(ino: int, name: bytes | None) -> None:
        left.append(harness.twin())
        left[-1].crash(None)

    harness.volume.core.invalidate = crash
    bucket = harness.volume.bucket(BUCKET)
    await harness.volume.restore_at(bucket, b"", sequence, (bucket, b"copy"))
    assert below(await shown(harness), b"copy/") != {}
    assert len(left) > 5
    for twin in left[:-2]:  # the last are told when it is there
        twin.open()
        assert await shown(twin) == was
        found = {row for row in map(repr, twin.dump()) if not row.startswith("('moment'")}
        assert found == rows
