"""How a command gets at a store that somebody else has."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from objfs.base.errors import StoreHeld
from objfs.base.limits import STORE_HELD_SECONDS_MAX
from objfs.cli.access import reach, run
from objfs.cli.opening import take_lock
from objfs.cli.store_directory import read_store
from tests.cli.conftest import empty_store


async def test_a_command_waits_for_another(tmp_path: Path, autojump_clock: MockClock) -> None:
    directory = empty_store(tmp_path / "store")
    lock = take_lock(directory)

    async def release_later() -> None:
        await trio.sleep(STORE_HELD_SECONDS_MAX / 2)
        lock.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(release_later)
        async with reach(directory) as access:
            assert trio.current_time() >= STORE_HELD_SECONDS_MAX / 2
            assert await access.call("bucket_list") == {"buckets": []}


async def test_it_does_not_wait_for_ever(tmp_path: Path, autojump_clock: MockClock) -> None:
    directory = empty_store(tmp_path / "store")
    began = trio.current_time()
    with take_lock(directory), pytest.raises(StoreHeld, match="owns this store"):
        async with reach(directory):
            pass
    assert trio.current_time() - began >= STORE_HELD_SECONDS_MAX


def test_an_error_alone_in_nurseries_comes_out_alone(tmp_path: Path) -> None:
    directory = empty_store(tmp_path / "store")

    async def main() -> None:
        async with reach(read_store(directory.path)), trio.open_nursery():
            raise KeyError("alone")

    with pytest.raises(KeyError, match="alone"):
        run(main)
    take_lock(directory).release()  # nobody holds it any more
