"""Crashes in the middle of puts and deletes, at every call of the device: what was answered is
there, and what was not is there as a whole or not at all."""

import contextlib
import os

import pytest

from objfs.base.errors import NotFound, StorageError
from objfs.meta.tables import EXTENT, ORPHAN, UNSEALED, VERSION
from objfs.store.faults import Crash
from objfs.volume.object_types import PutAttributes
from tests.model.harness import BUCKET, some_survives
from tests.volume.store import Store
from tests.volume.test_objects import get, put

SMALL, LARGE = b"small", os.urandom(1 << 20) * 5


async def begin() -> Store:
    store = Store()
    await store.make()
    await put(store, b"old", b"1")
    await put(store, b"old", b"2")
    return store


async def workload(store: Store, done: list[str]) -> None:
    objects = store.volume.objects
    await put(store, b"d/small", SMALL)
    done.append("small")
    body = objects.put(BUCKET, b"d/large")
    try:
        await body.write(LARGE)
        await body.commit(PutAttributes(metadata={"k": "v"}))
    except StorageError:
        await body.abort()  # as a door does with what it does not commit
        raise
    done.append("large")
    marker = await objects.delete(BUCKET, b"d/small")
    done.append("deleted")
    await objects.delete(BUCKET, b"d/small", marker.version_id)
    done.append("back")
    await objects.delete(BUCKET, b"old", objects.head(BUCKET, b"old").version_id)
    done.append("erased")


async def found(store: Store, key: bytes) -> bytes | None:
    try:
        return await get(store, key)
    except NotFound:
        return None


async def check(store: Store, done: list[str]) -> None:
    """Each step that was answered has happened; of the next, all or nothing."""
    reached = len(done)
    small, large = await found(store, b"d/small"), await found(store, b"d/large")
    states = [(None, None), (SMALL, None), (SMALL, LARGE), (None, LARGE), (SMALL, LARGE)]
    states += states[-1:]
    assert (small, large) in (states[reached], states[min(reached + 1, 5)])
    old = await found(store, b"old")
    assert old == (b"1" if reached == 5 else old)
    assert old in (b"1", b"2")
    database = store.volume.core.database
    assert not database.scan(ORPHAN)
    assert not database.scan(UNSEALED)
    contents = {row.content for row in database.scan(VERSION)}
    await store.volume.sweep()
    assert {row.content for row in database.scan(EXTENT)} <= contents


async def calls() -> int:
    store = await begin()
    store.plan.calls.clear()
    await workload(store, [])
    return len(store.plan.calls)


@pytest.mark.slow
async def test_a_crash_at_every_call() -> None:
    """S13.6, S13.8"""
    total = await calls()
    assert total > 20
    for number in range(1, total + 1):
        for seed in (number, None):
            store = await begin()
            before = len(store.plan.calls)
            store.plan.crash_at = before + number
            store.plan.crash_written = number * 7 % 100
            done: list[str] = []
            try:
                await workload(store, done)
            except (Crash, BaseExceptionGroup, StorageError):
                assert store.plan.crashed
            store.crash(None if seed is None else some_survives(seed))
            store.again()
            await check(store, done)


@pytest.mark.slow
async def test_a_failure_at_every_write() -> None:
    """S13.8"""
    for number in range(1, 12):
        store = await begin()
        store.plan.add("write", 28, at=number)  # ENOSPC
        done: list[str] = []
        with contextlib.suppress(StorageError):
            await workload(store, done)
        assert store.volume.core.dirty_bytes == 0
        await check(store, done)
