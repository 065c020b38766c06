"""The operations of `tests/model/operations.py` on the model: what a filesystem does with names,
open files and attributes. What is right about the past is in `tests/model/timeline.py`."""

import os
import stat

from objfs.base.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidRequest,
    IsADirectory,
    NameTooLong,
    NoAttribute,
    NotADirectory,
    NotFound,
    NotPermitted,
    ObjfsError,
)
from objfs.base.limits import NAME_BYTES_MAX, SEAL_OPEN_SECONDS
from objfs.base.types import Caller
from tests.model.keeping import Keeping
from tests.model.operations import CREATE_ONLY, EXCHANGE, NOREPLACE, REPLACE_ONLY, content
from tests.model.world import PENDING, ROOT, Era, Node, Opened, PassedOver, Refused, Sealed, State

SEAL_OPEN_NS = int(SEAL_OPEN_SECONDS * 1e9)


class Reference(Keeping):
    """The filesystem that cannot be wrong."""

    def perform(self, verb: str, arguments: tuple[object, ...], now: int) -> object:
        """Do it; `settle` comes next. Raises Refused, PassedOver."""
        self.now = now
        self._steps = []
        return getattr(self, verb)(*arguments)

    # --- what the generator looks at -------------------------------------------------------------

    def paths(self, kind: str) -> list[str]:
        nodes = self.world.nodes
        return [
            path
            for path, number in self.world.tree().items()
            if (kind == "any" and path)
            or (kind == "directory" and nodes[number].is_directory)
            or (kind == "file" and nodes[number].is_file)
        ]

    def open_slots(self) -> list[int]:
        return list(self.slots)

    def size_in(self, slot: int) -> int:
        if slot not in self.slots:
            return 0
        return len(self.world.nodes[self.slots[slot].number].content)

    # --- paths -----------------------------------------------------------------------------------

    def _find(self, path: str) -> Node:
        number = ROOT
        for name in path.split("/") if path else []:
            number = self._entry(number, name)
        return self.world.nodes[number]

    def _entry(self, directory: int, name: str) -> int:
        if directory not in self.world.names:
            self._refuse(NotADirectory)
        if len(name) > NAME_BYTES_MAX:
            self._refuse(NameTooLong)
        found = self.world.names[directory].get(name)
        if found is None:
            self._refuse(NotFound)
        return found

    def _place(self, path: str) -> tuple[int, str]:
        """The directory of a path, and the last name."""
        above, _, name = path.rpartition("/")
        directory = self._find(above)
        if not directory.is_directory:
            self._refuse(NotADirectory)
        if len(name) > NAME_BYTES_MAX:
            self._refuse(NameTooLong)
        return directory.number, name

    def _places(self, *paths: str) -> list[tuple[int, str]]:
        """Of several paths; any of them may be what it is refused for."""
        found: list[tuple[int, str]] = []
        errors: list[type[ObjfsError]] = []
        for path in paths:
            try:
                found.append(self._place(path))
            except Refused as error:
                errors += error.errors
        if errors:
            self._refuse(*errors)
        return found

    def _opened(self, slot: int) -> tuple[Node, Opened]:
        if slot not in self.slots:
            raise PassedOver
        opened = self.slots[slot]
        return self.world.nodes[opened.number], opened

    # --- making ----------------------------------------------------------------------------------

    def _make(
        self,
        path: str,
        mode: int,
        caller: Caller,
        *,
        target: bytes | None = None,
        rdev: int = 0,
    ) -> Node:
        directory, name = self._place(path)
        if name in self.world.names[directory]:
            self._refuse(AlreadyExists)
        above = self.world.nodes[directory].state
        gid = caller.gid
        if above.mode & stat.S_ISGID:
            gid = above.gid
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        if target is None:
            mode &= ~caller.umask
        links = 2 if stat.S_ISDIR(mode) else 1
        state = State(mode, caller.uid, gid, links, self.now, self.now, self.now)
        number = len(self.world.nodes)
        node = Node(number, (Era(PENDING, self.now, state),), target, rdev)
        node.born_as, node.born_at = (directory, name), self.now
        self.world.nodes[number] = node
        self.world.names[directory][name] = number
        if stat.S_ISDIR(mode):
            self.world.names[number] = {}
        self.touch(directory, int(stat.S_ISDIR(mode)))
        return node

    def create(self, path: str, mode: int, caller: Caller, slot: int) -> None:
        if slot in self.slots:
            raise PassedOver
        node = self._make(path, stat.S_IFREG | mode, caller)
        node.changed = True
        node.handles = 1
        self.use(node)
        self.slots[slot] = Opened(node.number, os.O_RDWR)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        self._make(path, stat.S_IFDIR | mode, caller)

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        self._make(path, mode, caller, rdev=rdev)

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        self._make(path, stat.S_IFLNK | 0o777, caller, target=target.encode())

    def link(self, path: str, new_path: str) -> None:
        node = self._find(path)
        directory, name = self._place(new_path)
        errors: list[type[ObjfsError]] = []
        if node.is_directory:
            errors.append(NotPermitted)
        if name in self.world.names[directory]:
            errors.append(AlreadyExists)
        if errors:
            self._refuse(*errors)
        self.put(node, nlink=node.state.nlink + 1, ctime=self.now)
        self.world.names[directory][name] = node.number
        self.touch(directory)

    # --- removing and moving ---------------------------------------------------------------------

    def unlink(self, path: str) -> None:
        directory, name = self._place(path)
        node = self.world.nodes[self._entry(directory, name)]
        if node.is_directory:
            self._refuse(IsADirectory)
        self._displace(node)
        self.end_name(node, directory, name, removed=True)
        del self.world.names[directory][name]
        self._drop_link(node)
        self.touch(directory)

    def _displace(self, node: Node) -> None:
        """Before a name of a file is taken away: what it holds becomes a version."""
        self.seal(node)

    def _close_name(self, node: Node) -> None:
        """A name ends. Its history shows the version that it ends with, so that is not replaced
        any more; nor is any, when a directory's name ends, for it may lie below."""
        if node.is_directory:
            self.exposed()
        node.flushed_at = None

    def _drop_link(self, node: Node) -> None:
        self._close_name(node)
        self.put(node, nlink=node.state.nlink - 1, ctime=self.now)
        self.leave(node)

    def rmdir(self, path: str) -> None:
        if not path:
            raise PassedOver
        directory, name = self._place(path)
        node = self.world.nodes[self._entry(directory, name)]
        if not node.is_directory:
            self._refuse(NotADirectory)
        if self.world.names[node.number]:
            self._refuse(DirectoryNotEmpty)
        self._remove_directory(directory, name)
        self.touch(directory, -1)

    def _remove_directory(self, directory: int, name: str) -> None:
        number = self.world.names[directory].pop(name)
        self._close_name(self.world.nodes[number])
        del self.world.names[number]

    def rename(self, path: str, new_path: str, flags: int) -> None:
        if not path or not new_path:
            raise PassedOver
        (directory, name), (new_directory, new_name) = self._places(path, new_path)
        names, new_names = self.world.names[directory], self.world.names[new_directory]
        there = new_names.get(new_name)
        if name not in names:
            self._refuse(NotFound)
        node = self.world.nodes[names[name]]
        target = None if there is None else self.world.nodes[there]
        self._check_rename(node, target, directory, new_directory, flags)
        if target is node:
            return
        if flags == EXCHANGE:
            assert target is not None
            self._exchange(node, target, (directory, name), (new_directory, new_name))
            return
        links = 0
        if target is not None and target.is_directory:
            self._remove_directory(new_directory, new_name)
            links -= 1
        elif target is not None:
            self._displace(target)
            self.end_name(target, new_directory, new_name, removed=True)
            self._drop_link(target)
        self.end_name(node, directory, name, removed=False)
        del names[name]
        self._close_name(node)
        new_names[new_name] = node.number
        self.put(node, ctime=self.now)
        moved = int(node.is_directory and new_directory != directory)
        self.touch(new_directory, links + moved)
        if new_directory != directory:
            self.touch(directory, -moved)

    def _check_rename(
        self, node: Node, target: Node | None, directory: int, new_directory: int, flags: int
    ) -> None:
        """Everything that is wrong with it; two names of one file are never wrong."""
        errors: list[type[ObjfsError]] = []
        if self._is_below(new_directory, node.number):
            errors.append(InvalidRequest)
        if flags == EXCHANGE:
            if target is None:
                errors.append(NotFound)
            elif self._is_below(directory, target.number):
                errors.append(InvalidRequest)
        elif target is not None and flags == NOREPLACE:
            errors.append(AlreadyExists)
        elif target is not None and target is not node:
            if target.is_directory and not node.is_directory:
                errors.append(IsADirectory)
            if node.is_directory and not target.is_directory:
                errors.append(NotADirectory)
            if target.is_directory and self.world.names[target.number]:
                errors.append(DirectoryNotEmpty)
        if errors:
            self._refuse(*errors)

    def _is_below(self, number: int, directory: int) -> bool:
        """Whether inode `number` is `directory` or lies below it."""
        if number == directory:
            return True
        below = self.world.names.get(directory, {}).values()
        return any(self._is_below(number, child) for child in below)

    def _exchange(
        self, node: Node, other: Node, place: tuple[int, str], new_place: tuple[int, str]
    ) -> None:
        for at, number in ((place, other.number), (new_place, node.number)):
            self.world.names[at[0]][at[1]] = number
        for each, at in ((node, place), (other, new_place)):
            self.end_name(each, *at, removed=False, kept=True)
            self._close_name(each)
            self.put(each, ctime=self.now)
        if place[0] == new_place[0]:
            self.touch(place[0])
        else:
            links = int(other.is_directory) - int(node.is_directory)
            self.touch(place[0], links)
            self.touch(new_place[0], -links)

    def restore(self, path: str, index: int, to: str | None = None) -> None:
        """Version number `index`, counted from the newest, becomes the newest, here or of another
        path."""
        past = self.past()
        history = past.history(path)
        if index >= len(history):
            raise PassedOver
        entry = history[index]
        if entry.sealed is None:
            self._refuse(InvalidRequest)
        self.world.nodes[entry.number].flushed_at = None
        directory, name = self._place(path if to is None else to)
        there = self.world.names[directory].get(name)
        if there is not None:
            displaced = self.world.nodes[there]
            if displaced.is_directory:
                self._refuse(IsADirectory)
            self._displace(displaced)
            displaced.named = True
            self._drop_link(displaced)
        states = past.states_of(entry)
        restorable = tuple(each._replace(nlink=1, ctime=self.now) for each in states)
        content = entry.sealed.content
        node = Node(
            len(self.world.nodes),
            (Era(PENDING, self.now, restorable[0]),),
            content=content,
            logged=content,
            versions=(Sealed(PENDING, content),),
            shared=True,
            restorable=restorable if len(set(restorable)) > 1 else (),
        )
        self.world.nodes[node.number] = node
        self.world.names[directory][name] = node.number
        self.touch(directory)

    # --- open files ------------------------------------------------------------------------------

    def open(self, path: str, flags: int, slot: int) -> None:
        if slot in self.slots:
            raise PassedOver
        node = self._find(path)
        if node.is_directory:
            self._refuse(IsADirectory)
        if not node.is_file:
            raise PassedOver
        node.handles += 1
        self.use(node)
        self.slots[slot] = Opened(node.number, flags)
        if flags & os.O_TRUNC:
            self._resize(node, 0)

    def write(self, slot: int, offset: int, length: int, seed: int) -> int:
        node, opened = self._opened(slot)
        if not opened.writable:
            raise PassedOver
        old = node.content.ljust(offset, b"\0")
        node.content = old[:offset] + content(seed, length) + old[offset + length :]
        node.dirty = True
        node.written_from = min(offset, offset if node.written_from is None else node.written_from)
        self._changed(node)
        return length

    def read(self, slot: int, offset: int, size: int) -> bytes:
        node, _ = self._opened(slot)
        return node.content[offset : offset + size]

    def flush(self, slot: int) -> None:
        self.seal(self._opened(slot)[0], by_flush=True)

    def release(self, slot: int) -> None:
        node, _ = self._opened(slot)
        del self.slots[slot]
        node.handles -= 1
        self.leave(node)

    def fsync(self, slot: int) -> None:
        node, _ = self._opened(slot)
        self.log(node)
        node.flushed_at = None  # what was promised durable is not replaced

    def sync(self) -> None:
        for node in self.world.nodes.values():
            self.log(node)
            node.flushed_at = None

    def upkeep(self) -> None:
        """What the background does in its time: logs what is dirty, seals what has been changed
        for long."""
        for node in self.world.nodes.values():
            if node.dirty:
                self.log(node)
            if node.session is not None and node.opened_at <= self.now - SEAL_OPEN_NS:
                self.seal(node)

    def checkpoint(self) -> None:
        """Nothing that anybody sees."""

    def commit(self) -> None:
        """Nothing that anybody sees."""

    def compact(self, least: float) -> None:
        """Nothing that anybody sees, at any moment."""

    def _changed(self, node: Node) -> None:
        node.changed = True
        node.times = node.times._replace(mtime=self.now, ctime=self.now)

    # --- attributes ------------------------------------------------------------------------------

    def truncate(self, path: str, size: int) -> None:
        node = self._find(path)
        if node.is_directory:
            self._refuse(IsADirectory)
        if not node.is_file:
            self._refuse(InvalidRequest)
        self.use(node)
        self._resize(node, size)
        self.leave(node)

    def truncate_open(self, slot: int, size: int) -> None:
        node, opened = self._opened(slot)
        if not opened.writable:
            raise PassedOver
        self._resize(node, size)

    def _resize(self, node: Node, size: int) -> None:
        """What is cut off the logged content is cut off in the log at once."""
        if size < len(node.logged):
            if size:
                self.unshare(node)
            node.logged, node.shared = node.logged[:size], False
            of_version, node.unsealed = node.is_sealed, True
            node.flushed_at = None
            self.put(node, of_version)
            self.step()
        if node.written_from is not None and node.written_from >= size:
            node.written_from = None
        node.content = node.content[:size].ljust(size, b"\0")
        self._changed(node)

    def change_mode(self, path: str, mode: int) -> None:
        node = self._find(path)
        self.mark(node, mode=stat.S_IFMT(node.state.mode) | mode)

    def change_owner(self, path: str, uid: int | None, gid: int | None) -> None:
        if uid is None and gid is None:
            raise PassedOver
        node = self._find(path)
        state = node.state
        new_uid = state.uid if uid is None else uid
        new_gid = state.gid if gid is None else gid
        self.mark(node, uid=new_uid, gid=new_gid)

    def change_times(self, path: str, atime: int | None, mtime: int | None) -> None:
        if atime is None and mtime is None:
            raise PassedOver
        node = self._find(path)
        times = {"atime": atime, "mtime": mtime, "ctime": self.now}
        given = {name: time for name, time in times.items() if time is not None}
        if node.changed:  # they go with the working state
            node.times = node.times._replace(**given)
        else:
            self.put(node, **given)

    def set_attribute(self, path: str, name: bytes, value: bytes, flags: int) -> None:
        node = self._find(path)
        xattrs = dict(node.state.xattrs)
        if flags == CREATE_ONLY and name in xattrs:
            self._refuse(AlreadyExists)
        if flags == REPLACE_ONLY and name not in xattrs:
            self._refuse(NoAttribute)
        if xattrs.get(name) == value:
            return
        xattrs[name] = value
        self.put(node, xattrs=tuple(sorted(xattrs.items())), ctime=self.now)

    def remove_attribute(self, path: str, name: bytes) -> None:
        node = self._find(path)
        xattrs = dict(node.state.xattrs)
        if xattrs.pop(name, None) is None:
            self._refuse(NoAttribute)
        self.put(node, xattrs=tuple(sorted(xattrs.items())), ctime=self.now)

    def read_directory(self, path: str, limit: int) -> list[str]:
        node = self._find(path)
        if not node.is_directory:
            raise PassedOver
        assert limit > 0
        return sorted(self.world.names[node.number])
