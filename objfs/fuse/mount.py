"""Mounting, serving and unmounting, so that no dirty page is lost.

Life of a mount: prepared -> connected (the kernel said hello) -> ready (the first stat came
through) -> unmounting -> ended. Who ends it:

- `umount` and `fusermount3 -u`: the kernel writes its dirty pages to us, then ends the connection.
- SIGTERM, SIGINT, SIGHUP, or a cancelled caller: a thread unmounts while the loop goes on serving.
  If the mount is in use, the kernel's pages and the volume are synced, it is detached, and synced
  again; users that remain after a moment get errors.

`pyfuse3.terminate` alone would drop what the kernel holds; it comes last. `pyfuse3.close` never
unmounts: it knows the path only, and something else may lie there by then.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyfuse3
import trio

from objfs.base.errors import Busy, MountError, ObjfsError
from objfs.base.limits import (
    FUSE_WORKERS_IDLE_MAX,
    FUSE_WORKERS_MAX,
    LISTING_PAGE_ENTRIES,
    UNMOUNT_GRACE_SECONDS,
)
from objfs.base.ports import Clock, Threads
from objfs.fuse import SHIM, mount_point
from objfs.fuse.binding import Binding, MomentBinding
from objfs.fuse.invalidation import Change, Invalidations
from objfs.fuse.operations import ROOT_ID, Operations
from objfs.fuse.shim import DONT_MASK, KERNEL_KILLS
from objfs.fuse.waiter import install
from objfs.volume.past_nodes import Node
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)

# libfuse refuses these words. FUSE leaves access times to the filesystem, whatever they say.
_WITHOUT_MEANING = frozenset(
    ["diratime", "nodiratime", "relatime", "norelatime", "strictatime", "lazytime", "nolazytime"]
)


class MountOptions(NamedTuple):
    """How to mount. `source` is what df and mountinfo show; `words` go to libfuse as they are."""

    source: bytes
    read_only: bool = False
    allow_other: bool = False
    words: tuple[str, ...] = ()


async def serve(
    volume: Volume,
    root: int | Node | None,
    mountpoint: Path,
    options: MountOptions,
    *,
    clock: Clock,
    threads: Threads,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Mount `root` and serve until it is unmounted; started when it is usable. A directory by its
    inode number, None for all buckets, or a view of the past.

    The caller runs `volume.run` meanwhile and closes the volume afterwards. One mount per process,
    from its main thread. A cancelled caller unmounts in good order. MountError before it started.
    """
    point = await threads.run(mount_point.prepare, mountpoint)
    session = _Session(volume, root, point, clock, threads)
    session.open(options)
    try:
        await session.run(task_status)
    finally:
        with trio.CancelScope(shield=True):
            await session.close()


class _Session:
    """One mount, from mounting to its end."""

    def __init__(
        self, volume: Volume, root: int | Node | None, point: bytes, clock: Clock, threads: Threads
    ) -> None:
        self._volume = volume
        self._point = point
        self._clock = clock
        self._threads = threads
        if root is None or isinstance(root, int):
            self._is_moment = False
            self._operations = Operations(volume, root)
        else:
            self._is_moment = True
            self._operations = Operations.of_moment(volume, root)
        self._operations.views.expire = self._expire
        self._device: str | None = None  # major:minor, while mounted
        self._ended = trio.Event()  # the loop serves no more
        self._stopping = False
        self._failure: MountError | None = None
        self._invalidations = Invalidations(
            threads,
            forget_entry=pyfuse3.invalidate_entry,
            forget_attributes=lambda id: pyfuse3.invalidate_inode(id, attr_only=True),
            everything=self._everything,
        )

    # --- mounting --------------------------------------------------------------------------------

    def open(self, options: MountOptions) -> None:
        """Mount. MountError with what libfuse said."""
        threads = self._volume.core.threads
        waiter = install(self._clock, lambda: getattr(threads, "in_flight", 0) > 0)
        self._volume.core.asked.append(lambda: waiter.lowlevel.request_at)
        self._volume.doors["fuse"] = lambda: {
            "requests": waiter.lowlevel.requests,
            "bytes_read": self._operations.bytes_read,
            "bytes_written": self._operations.bytes_written,
        }
        kind = MomentBinding if self._is_moment else Binding
        binding = kind(self._operations, self._connected)
        _init(binding, self._point, _words(options))
        mounted = mount_point.mounted_at(self._point)
        self._device = mounted.device if mounted is not None else None
        self._volume.set_invalidate(
            self._changed_behind, self._invalidations.settled, self._operations.views.erased
        )

    def _connected(self) -> None:
        """The kernel said hello: what it does and does not do is settled."""
        granted = SHIM.granted
        self._operations.kernel_kills = bool(granted & KERNEL_KILLS)
        self._volume.set_kernel_rules(owns_times=True, umask_applied=not granted & DONT_MASK)

    def _changed_behind(self, ino: int, name: bytes | None) -> None:
        self._operations.changed_behind(ino)
        self._invalidations.add(self._operations.id_of(ino), name)

    def _expire(self, id: int, name: bytes) -> None:
        self._invalidations.add(id, name)

    def _everything(self) -> Iterator[Change]:
        """The names in the mounted root."""
        root, after = self._operations.root, 0
        if self._is_moment:
            return
        if self._operations.all_buckets:
            yield from ((ROOT_ID, bucket.name.encode()) for bucket in self._volume.buckets())
            return
        while page := self._volume.list_directory(root, after, LISTING_PAGE_ENTRIES):
            yield from ((ROOT_ID, name) for name, _, _ in page)
            after = page[-1][1]

    # --- serving ---------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Serve until unmounted."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._invalidations.run)
            nursery.start_soon(self._stop_on_signals)
            nursery.start_soon(self._stop_when_cancelled)
            nursery.start_soon(self._become_ready, task_status)
            with trio.CancelScope(shield=True):
                try:
                    await pyfuse3.main(FUSE_WORKERS_IDLE_MAX, FUSE_WORKERS_MAX)
                finally:
                    self._ended.set()
                    nursery.cancel_scope.cancel()
                    if self._device is not None:
                        # Threads may wait for requests that nobody answers any more.
                        mount_point.abort_connection(self._device)
        if self._failure is not None:
            raise self._failure

    async def _become_ready(self, task_status: trio.TaskStatus[None]) -> None:
        """Wait for the first answer: then the connection stands and the mount can be used."""
        try:
            await self._threads.run(os.stat, self._point)
        except OSError as error:
            point = os.fsdecode(self._point)
            self._failure = MountError(f"{point} cannot be used: {error.strerror}")
            await self._stop()
            return
        if self._device is not None:
            await self._threads.run(mount_point.tune_kernel, self._device)
        task_status.started()

    async def _stop_on_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                logger.info("unmounting: %s", signal.Signals(number).name)
                await self._stop()

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()

    # --- unmounting ------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Unmount while the loop serves; end the loop if the kernel does not."""
        if self._stopping or self._ended.is_set():
            return
        self._stopping = True
        await self._try("unmounting", self._unmount)
        with trio.move_on_after(UNMOUNT_GRACE_SECONDS):
            await self._ended.wait()
        if not self._ended.is_set():
            # Detached but used, or mounted elsewhere too (a bind mount, another namespace).
            await self._try("syncing", lambda: self._threads.run(os.sync))
            pyfuse3.terminate()

    async def _try(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """A step of unmounting: whatever goes wrong with it, the next ones are made."""
        try:
            await step()
        except (ObjfsError, OSError) as error:
            logger.error("%s did not go well: %s", what, error)
        except Exception:
            logger.exception("%s did not go well", what)

    async def _unmount(self) -> None:
        if not self._is_mounted():
            return
        try:
            await self._threads.run(_unmount, self._point, False)
        except Busy:
            logger.warning("%s is in use: it is synced, then detached", os.fsdecode(self._point))
            await self._try("syncing", lambda: self._threads.run(_sync, self._point))
            await self._try("syncing", self._volume.sync)
            await self._try("detaching", lambda: self._threads.run(_detach, self._point))

    def _is_mounted(self) -> bool:
        mounted = mount_point.mounted_at(self._point)
        return mounted is not None and mounted.device == self._device

    async def close(self) -> None:
        """After the loop: nothing is left mounted, whatever ended it."""
        try:
            if self._is_mounted():
                await self._threads.run(_unmount, self._point, True)
        finally:
            pyfuse3.close(unmount=False)
            self._volume.set_invalidate(lambda ino, name: None, trio.lowlevel.checkpoint)
            self._volume.set_kernel_rules(owns_times=False, umask_applied=False)


def _unmount(point: bytes, lazy: bool) -> None:
    mount_point.unmount(point, lazy=lazy)


def _sync(point: bytes) -> None:
    with mount_point.held_open(point) as descriptor:
        mount_point.sync_filesystem(descriptor)


def _detach(point: bytes) -> None:
    """Detach, and take what was written up to that."""
    with mount_point.held_open(point) as descriptor:
        mount_point.unmount(point, lazy=True)
        mount_point.sync_filesystem(descriptor)


class _Word(str):
    """An option that may hold any byte: pyfuse3 encodes options as ASCII."""

    raw: bytes

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return self.raw


def _word(name: bytes, value: bytes = b"") -> _Word:
    """`name` or `name=value`, escaped for libfuse's option parser."""
    value = value.replace(b"\\", b"\\\\").replace(b",", b"\\,")
    raw = name + b"=" + value if value else name
    word = _Word(os.fsdecode(raw))
    word.raw = raw
    return word


def _words(options: MountOptions) -> set[str]:
    """The options as libfuse wants them."""
    words: set[str] = {
        _word(b"default_permissions"),
        _word(b"subtype", b"objfs"),
        _word(b"fsname", options.source),
    }
    words |= {_word(word.encode()) for word in options.words if word not in _WITHOUT_MEANING}
    if options.allow_other:
        words.add(_word(b"allow_other"))
    if options.read_only:
        words.add(_word(b"ro"))
    return words


def _init(binding: Binding, point: bytes, words: set[str]) -> None:
    """`pyfuse3.init`, with what libfuse prints on standard error as the reason."""
    try:
        said = _hearing(lambda: pyfuse3.init(binding, os.fsdecode(point), words))
    except RuntimeError as error:
        reason = str(error.__notes__[0]) if getattr(error, "__notes__", None) else str(error)
        raise MountError(f"{os.fsdecode(point)} cannot be mounted: {reason}") from error
    if said:
        logger.warning("libfuse: %s", said)


def _hearing(act: Callable[[], None]) -> str:
    """Do `act` and return what C code wrote to standard error meanwhile; an error gets it as a
    note. Nothing else runs at that time but threads that have nothing to say."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            act()
        except RuntimeError as error:
            heard.seek(0)
            if said := heard.read().decode(errors="replace").strip():
                error.add_note(said)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        heard.seek(0)
        return heard.read().decode(errors="replace").strip()
