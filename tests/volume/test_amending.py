"""Versions made seconds apart each keep the attributes that they had."""

from objfs.base.types import AttributeChange
from tests.model.harness import BUCKET
from tests.volume.store import Store


async def test_a_version_keeps_its_times_when_it_is_overwritten_at_once() -> None:
    """S6.4"""
    store = Store()
    await store.make()
    ino = await store.put("f", b"one")
    await store.volume.setattr(ino, AttributeChange(mtime_ns=1_000))
    first = store.volume.core.database.sequence
    assert await store.put("f", b"second") == ino
    await store.volume.setattr(ino, AttributeChange(mtime_ns=2_000))
    past = store.volume.at(first).getattr(ino)
    assert (past.mtime_ns, past.size) == (1_000, 3)
    now = store.volume.getattr(ino)
    assert (now.mtime_ns, now.size) == (2_000, 6)
    assert len(store.volume.versions(BUCKET, b"f")) == 2
    await store.volume.close()


async def test_attributes_alone_are_amended() -> None:
    """S6.4"""
    store = Store()
    await store.make()
    ino = await store.put("f", b"one")
    sequence = store.volume.core.database.sequence
    await store.volume.setattr(ino, AttributeChange(mode=0o600))
    assert store.volume.at(sequence).getattr(ino).mode & 0o777 == 0o600
    await store.volume.close()
