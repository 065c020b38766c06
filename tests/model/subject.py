"""A volume made to do the operations of `tests/model/operations.py`, and compared with the model.

The verbs have the names and arguments of the model's. Slots hold the volume's handles; paths are
looked up name by name, as the kernel does.
"""

import os
from collections.abc import Awaitable
from contextlib import suppress

from msgspec.structs import replace

from objfs.base.errors import NoSpace, NotFound
from objfs.base.types import AttributeChange, Caller
from objfs.maint.compaction import compaction_of
from objfs.maint.fsck import Asked, Fsck
from objfs.maint.merging import Merging, Worth
from objfs.maint.retention import RetentionPass
from objfs.maint.scheduler import Budget, Gate
from objfs.maint.scrub import Scrub, ScrubResult
from objfs.meta.rows import Inode, Retention
from objfs.volume.handles import Handle
from objfs.volume.view import View
from objfs.volume.volume import Volume
from tests.model.operations import content, ticks_of
from tests.model.past import Moment, Past
from tests.model.reference import Reference
from tests.model.world import ROOT, Node, Rules, State, World

READ_BYTES = 1 << 30  # more than any file has


class Subject:
    """A volume under test. `inodes` maps the model's numbers to inode numbers, for ever."""

    def __init__(self, volume: Volume, bucket: str) -> None:
        self.bucket = bucket
        self.inodes: dict[int, int] = {}
        self.slots: dict[int, Handle] = {}
        self.take(volume)
        self.inodes[ROOT] = self.root

    def take(self, volume: Volume) -> None:
        """Go on with this volume; nothing is open in it."""
        self.volume = volume
        self.root = volume.root(self.bucket)
        self.slots = {}

    async def perform(self, verb: str, arguments: tuple[object, ...]) -> object:
        """Do it. Raises what the volume raises."""
        done = getattr(self, verb)(*arguments)
        return await done if isinstance(done, Awaitable) else done

    def find(self, path: str) -> Inode:
        inode = self.volume.getattr(self.root)
        for name in path.split("/") if path else []:
            inode = self.volume.lookup(inode.ino, name.encode())
        return inode

    def place(self, path: str) -> tuple[int, bytes]:
        above, _, name = path.rpartition("/")
        return self.find(above).ino, name.encode()

    # --- the verbs -------------------------------------------------------------------------------

    def create(self, path: str, mode: int, caller: Caller, slot: int) -> None:
        self.slots[slot], _ = self.volume.create(*self.place(path), mode, os.O_RDWR, caller)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self.volume.mkdir(*self.place(path), mode, caller)

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        self.volume.mknod(*self.place(path), mode, rdev, caller)

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        self.volume.symlink(*self.place(path), target.encode(), caller)

    def link(self, path: str, new_path: str) -> None:
        self.volume.link(self.find(path).ino, *self.place(new_path))

    async def unlink(self, path: str) -> None:
        await self.volume.unlink(*self.place(path))

    def rmdir(self, path: str) -> None:
        self.volume.rmdir(*self.place(path))

    async def rename(self, path: str, new_path: str, flags: int) -> None:
        await self.volume.rename(*self.place(path), *self.place(new_path), flags)

    async def open(self, path: str, flags: int, slot: int) -> None:
        self.slots[slot] = await self.volume.open(self.find(path).ino, flags)

    async def write(self, slot: int, offset: int, length: int, seed: int) -> int:
        return await self.volume.write(self.slots[slot], offset, content(seed, length))

    async def read(self, slot: int, offset: int, size: int) -> bytes:
        return bytes(await self.volume.read(self.slots[slot], offset, size))

    async def flush(self, slot: int) -> None:
        await self.volume.flush(self.slots[slot])

    async def release(self, slot: int) -> None:
        await self.volume.release(self.slots.pop(slot))

    async def fsync(self, slot: int) -> None:
        await self.volume.fsync(self.slots[slot].ino)

    async def sync(self) -> None:
        await self.volume.sync()

    async def upkeep(self) -> None:
        await self.volume.upkeep()

    async def checkpoint(self) -> None:
        await self.volume.checkpoint()

    async def compact(self, least: float) -> None:
        """Fragments as far as there are any; segments that are dead to this share at least;
        checkpoints and all."""
        compaction = compaction_of(self.volume)
        budget = Budget(self.volume.core, None, Gate(False))
        with suppress(NoSpace):  # merging stops before the device is full
            await Merging(self.volume, Worth(2, 1)).round(budget)
        await compaction.prepare(budget)
        for each in await compaction.candidates(budget, least):
            await compaction.compact(each.segment, budget)

    def commit(self) -> None:
        self.volume.commit()

    async def restore(self, path: str, index: int, to: str | None = None) -> None:
        entry = self.volume.versions(self.bucket, path.encode())[index]
        place = None if to is None else (self.bucket, to.encode())
        await self.volume.restore(self.bucket, path.encode(), entry.version_id, place)

    async def take_snapshot(self, name: str, path: str) -> None:
        bucket = self.volume.bucket(self.bucket)
        await self.volume.snapshots.create(name, bucket, path.encode())

    def drop_snapshot(self, name: str) -> None:
        self.volume.snapshots.delete(name)

    async def forget_version(self, path: str, index: int) -> None:
        entry = self.volume.versions(self.bucket, path.encode())[index]
        await self.volume.forget(self.bucket, path.encode(), entry.version_id)

    async def forget(self, path: str) -> None:
        await self.volume.forget(self.bucket, path.encode())

    def set_rules(self, path: str, rules: Rules) -> None:
        row = Retention(0, b"", **rules._asdict())
        self.volume.retention.set(self.bucket, path.encode(), row)

    def remove_rules(self, path: str) -> None:
        self.volume.retention.remove(self.bucket, path.encode())

    async def apply_rules(self) -> None:
        dry = await RetentionPass(self.volume, dry=True).run()
        done = await RetentionPass(self.volume).run()
        # Of a file used in passing there may be versions that no path ever showed.
        # A path may have lost its history already, with that of another one of the same name.
        least = replace(done, versions=dry.versions, bytes=dry.bytes, paths=dry.paths)
        assert dry == least, f"a dry run said {dry}, not {done}"
        assert (dry.versions, dry.bytes) <= (done.versions, done.bytes)
        assert dry.paths >= done.paths

    async def scrub(self) -> None:
        result = await Scrub(self.volume).run()
        assert isinstance(result, ScrubResult)
        assert not result.damaged, result

    async def check(self) -> None:
        state = await Fsck(self.volume, noting=False).run(Asked(deep=True), restart=True)
        assert not state.problems, state.problems

    async def truncate(self, path: str, size: int) -> None:
        await self.volume.setattr(self.find(path).ino, AttributeChange(size=size))

    async def truncate_open(self, slot: int, size: int) -> None:
        handle = self.slots[slot]
        await self.volume.setattr(handle.ino, AttributeChange(size=size), handle)

    async def change_mode(self, path: str, mode: int) -> None:
        await self.volume.setattr(self.find(path).ino, AttributeChange(mode=mode))

    async def change_owner(self, path: str, uid: int | None, gid: int | None) -> None:
        await self.volume.setattr(self.find(path).ino, AttributeChange(uid=uid, gid=gid))

    async def change_times(self, path: str, atime: int | None, mtime: int | None) -> None:
        change = AttributeChange(atime_ns=atime, mtime_ns=mtime)
        await self.volume.setattr(self.find(path).ino, change)

    def set_attribute(self, path: str, name: bytes, value: bytes, flags: int) -> None:
        self.volume.setxattr(self.find(path).ino, name, value, flags)

    def remove_attribute(self, path: str, name: bytes) -> None:
        self.volume.removexattr(self.find(path).ino, name)

    def read_directory(self, path: str, limit: int) -> list[str]:
        return sorted(name for name, _ in self.listed(self.find(path).ino, limit))

    def listed(self, ino: int, limit: int) -> list[tuple[str, Inode]]:
        """A directory, in pages."""
        entries: list[tuple[str, Inode]] = []
        after = 0
        while page := self.volume.list_directory(ino, after, limit):
            assert len(page) <= limit
            entries += [(name.decode(), inode) for name, _, inode in page]
            assert page[0][1] > after
            after = page[-1][1]
        return entries

    # --- comparing -------------------------------------------------------------------------------

    async def differences(self, reference: Reference, world: World) -> list[str]:
        """How the volume's present is not that of `world`; empty if it is."""
        found: list[str] = []
        paths = self._compare_names(world, found)
        open_numbers = {opened.number: slot for slot, opened in reference.slots.items()}
        if found:
            return found
        for number in {*paths, *open_numbers}:
            node, ino = world.nodes[number], self.inodes[number]
            inode = self.volume.getattr(ino)
            names = self.volume.listxattr(ino)
            xattrs = {name: self.volume.getxattr(ino, name) for name in names}
            where = paths.get(number, f"open in slot {open_numbers.get(number)}")
            if node.restorable:
                _adopt(node, inode, xattrs)
            found += _compare(where, node, node.working, len(node.content), inode, xattrs)
            if node.is_file:
                data = await self._content(ino, open_numbers.get(number))
                found += _compare_content(where, node.content, data)
            elif node.target is not None and self.volume.readlink(ino) != node.target:
                found.append(f"{where}: another target")
        return found

    def _compare_names(self, world: World, found: list[str]) -> dict[int, str]:
        """The tree, by walking; learns the inode numbers. Returns a path of each inode."""
        paths = {ROOT: ""}
        pending = [("", ROOT)]
        while pending:
            path, number = pending.pop()
            entries = self.listed(self.inodes[number], 1 + len(pending) % 3)
            names = [name for name, _ in entries]
            expected = world.names[number]
            if sorted(names) != sorted(expected):
                found.append(f"/{path} has {sorted(names)}, not {sorted(expected)}")
                continue
            for name, inode in entries:
                child, below = expected[name], f"{path}/{name}".lstrip("/")
                paths[child] = below
                if self.inodes.setdefault(child, inode.ino) != inode.ino:
                    found.append(f"{below}: another inode: {inode.ino}, not {self.inodes[child]}")
                looked_up = self.volume.lookup(self.inodes[number], name.encode())
                if looked_up != inode:
                    found.append(f"{below}: lookup and listing differ: {looked_up} and {inode}")
                if child in world.names:
                    pending.append((below, child))
                    if self.volume.parent_of(inode.ino) != self.inodes[number]:
                        found.append(f"{below}: another parent")
        return paths

    async def _content(self, ino: int, slot: int | None) -> bytes:
        if slot is not None:
            return bytes(await self.volume.read(self.slots[slot], 0, READ_BYTES))
        before = self.volume.core.database.sequence
        handle = await self.volume.open(ino, os.O_RDONLY)
        data = bytes(await self.volume.read(handle, 0, READ_BYTES))
        await self.volume.release(handle)
        assert self.volume.core.database.sequence == before, "reading a file changed it"
        return data

    async def past_differences(
        self, reference: Reference, sequence: int, past: Past | None = None
    ) -> list[str]:
        """How the volume's past is not the model's at `sequence`."""
        view, moment = self.volume.at(sequence), (past or reference.past()).at(sequence)
        nodes = reference.world.nodes
        found: list[str] = []
        pending = [("", ROOT)]
        while pending:
            path, number = pending.pop()
            where = f"at {sequence}, /{path}"
            node, ino, seen = nodes[number], self.inodes[number], moment.files[number]
            inode, xattrs = view.getattr(ino), view.xattrs(ino)
            size = len(seen.content)
            differences = [_compare(where, node, each, size, inode, xattrs) for each in seen.states]
            if [] not in differences:
                found += differences[0]
            if node.is_file:
                data = bytes(await view.read(ino, 0, READ_BYTES))
                found += _compare_content(where, seen.content, data)
            if number in moment.names:
                below = self._past_names(view, where, number, moment, found)
                pending += [(f"{path}/{name}".lstrip("/"), n) for name, n in below.items()]
        return found

    async def history_differences(
        self, reference: Reference, path: str, past: Past | None = None
    ) -> list[str]:
        """How the versions of a path are not the model's."""
        past = past or reference.past()
        expected = past.history(path)
        try:
            entries = self.volume.versions(self.bucket, path.encode())
        except NotFound:
            if past.exists(path):
                return [f"versions of {path}: there are none"]
            return []
        sizes = [None if entry.deleted else entry.size for entry in entries]
        expected_sizes = [
            None if each.sealed is None else len(each.sealed.content) for each in expected
        ]
        if sizes != expected_sizes:
            return [
                f"versions of {path}: {sizes}, not {expected_sizes} (sizes; None is a deletion)"
            ]
        found: list[str] = []
        for wanted, entry in zip(expected, entries, strict=True):
            if wanted.sealed is not None:
                file = self.volume.open_version(self.bucket, path.encode(), entry.version_id)
                data = bytes(await file.read(0, READ_BYTES))
                where = f"version {entry.version_id} of {path}"
                found += _compare_content(where, wanted.sealed.content, data)
        return found

    def _past_names(
        self, view: View, where: str, number: int, moment: Moment, found: list[str]
    ) -> dict[str, int]:
        """The names in a directory of a moment that are there: some may be gone."""
        ino, names = self.inodes[number], moment.names[number]
        listed = {name.decode(): inode.ino for name, inode in view.list_directory(ino)}
        there = {
            name: child
            for name, child in names.items()
            if name in listed or (number, name) not in moment.optional
        }
        expected = {name: self.inodes[child] for name, child in there.items()}
        if listed != expected:
            found.append(f"{where} has {listed}, not {expected}")
            return {}
        looked_up = {name: view.lookup(ino, name.encode()).ino for name in there}
        if looked_up != expected:
            found.append(f"{where}: lookup finds {looked_up}")
        return there


def _compare(
    where: str, node: Node, state: State, size: int, inode: Inode, xattrs: dict[bytes, bytes]
) -> list[str]:
    """Attributes; times to the tick, because a change may take some nanoseconds of its own."""
    expected: dict[str, object] = state._asdict()
    expected["xattrs"] = dict(state.xattrs)
    actual: dict[str, object] = {
        "mode": inode.mode,
        "uid": inode.uid,
        "gid": inode.gid,
        "nlink": inode.nlink,
        "xattrs": xattrs,
    }
    for name in ("atime", "mtime", "ctime"):
        expected[name] = ticks_of(getattr(state, name))
        actual[name] = ticks_of(getattr(inode, f"{name}_ns"))
    if node.is_file:
        expected["size"], actual["size"] = size, inode.size
    expected["rdev"], actual["rdev"] = node.rdev, inode.rdev
    return [
        f"{where}: {name} is {actual[name]}, not {expected[name]}"
        for name in actual
        if actual[name] != expected[name]
    ]


def _adopt(node: Node, inode: Inode, xattrs: dict[bytes, bytes]) -> None:
    """Take the state that a restore took; if it is none of those, the first one."""

    def wrong(state: State) -> int:
        return len(_compare("", node, state, inode.size, inode, xattrs))

    node.adopt(min(node.restorable, key=wrong))


def _compare_content(where: str, expected: bytes, actual: bytes) -> list[str]:
    if expected == actual:
        return []
    pairs = enumerate(zip(expected, actual, strict=False))
    first = next((at for at, (a, b) in pairs if a != b), min(len(expected), len(actual)))
    return [
        f"{where}: {len(actual)} bytes, not {len(expected)}; the first difference is at {first}: "
        f"{actual[first : first + 16]!r}, not {expected[first : first + 16]!r}"
    ]
