"""Restores of trees in random histories.

What a restore leaves is compared with the moment that it restores (SEMANTICS S8.3), and what lies
beside with what it was. Which inodes are new is the product's affair: so the model then takes the
present over from the volume, as new states since the restore. All past moments are compared as
after anything else.
"""

import stat
from typing import TYPE_CHECKING

from objfs.base.errors import NotADirectory
from objfs.meta.rows import Inode
from objfs.meta.tables import INODE, INODE_PAST, VERSION
from tests.model.operations import ticks_of
from tests.model.past import Moment
from tests.model.subject import READ_BYTES
from tests.model.world import NOWHERE, PENDING, ROOT, Era, Node, Pin, Sealed, State, World

if TYPE_CHECKING:
    from tests.model.sequences import Run


async def restore_tree(run: "Run", place: float, when: float) -> list[str]:
    """Restore something as it was at some moment, in place: `place` and `when` choose, from 0 to 1.
    Returns what is wrong."""
    reference, volume = run.reference, run.subject.volume
    reference.perform("commit", (), run.harness.clock.now_ns())
    moments = sorted(reference.moments)
    sequence = moments[int(when * len(moments))]
    moment = reference.past().at(sequence)
    was = tree_of(moment)
    paths = sorted(was)
    path = paths[int(place * len(paths))] if place > 0.3 else ""
    is_directory = was[path] in moment.names
    key = path.encode() + (b"/" if path and is_directory else b"")
    try:
        await volume.restore_at(volume.bucket(run.subject.bucket), key, sequence)
    except NotADirectory:
        return []
    before = reference.world.copy()
    _take_over(run, await _contents(run))
    found = await _differences(run, moment, was, path)
    return found + _beside(before, reference.world, path)


def tree_of(moment: Moment) -> dict[str, int]:
    """Every path that is there for sure."""
    found = {"": ROOT}
    pending = [("", ROOT)]
    while pending:
        above, directory = pending.pop()
        for name, number in moment.names[directory].items():
            if (directory, name) in moment.optional:
                continue
            path = f"{above}/{name}".lstrip("/")
            found[path] = number
            if number in moment.names:
                pending.append((path, number))
    return found


async def _differences(run: "Run", moment: Moment, was: dict[str, int], path: str) -> list[str]:
    """How what is there now is not what was there."""
    found: list[str] = []
    world = run.reference.world
    now = {each: number for each, number in world.tree().items() if _is_below(each, path)}
    then = {each: number for each, number in was.items() if _is_below(each, path)}
    if moment.optional:
        now = {each: number for each, number in now.items() if each in then}
    if set(now) != set(then):
        return [f"restored {path!r}: {sorted(now)}, not {sorted(then)}"]
    for each, number in now.items():
        node, seen = world.nodes[number], moment.files[then[each]]
        if node.is_file and node.content != seen.content:
            found.append(f"restored {each}: {len(node.content)} other bytes")
        if _kept(node.working) not in {_kept(state) for state in seen.states}:
            found.append(f"restored {each}: {node.working}, not one of {seen.states}")
    return found


def _kept(state: State) -> tuple[object, ...]:
    """What a restore brings back of attributes."""
    return state.mode, state.uid, state.gid, ticks_of(state.mtime), state.xattrs


def _is_below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(f"{top}/")


def _beside(before: World, after: World, path: str) -> list[str]:
    """What changed that the restore was not about."""
    old, new = before.tree(), after.tree()
    return [
        f"restoring {path!r} changed {each}"
        for each in {*old, *new}
        if not _is_below(each, path)
        and not _is_below(path, each)
        and old.get(each) != new.get(each)
    ]


def _take_over(run: "Run", contents: dict[int, bytes]) -> None:
    """The model becomes what the volume is."""
    reference = run.reference
    _seal(run)
    before, names = reference.world.names, _names(run, contents)
    for directory, below in before.items():
        for name, number in below.items():
            if names.get(directory, {}).get(name) != number:
                _end_name(run, directory, name, number)
    named = {number for below in names.values() for number in below.values()}
    for number in {ROOT, *named}:
        _take_state(run, number)
    gone = {number for below in before.values() for number in below.values()} - named
    reference.world.names = names
    for number in gone:
        _take_last_state(run, number)
    for node in (reference.world.nodes[number] for number in gone - set(before)):
        state = node.state._replace(nlink=0, ctime=reference.now)
        node.eras = (*node.eras, Era(PENDING, reference.now, state))
        reference.leave(node)


def _seal(run: "Run") -> None:
    """What was written to is sealed before its name goes; nothing is amended by that."""
    reference, core = run.reference, run.subject.volume.core
    reference.world.pins[""] = Pin(reference.sequence, "")
    for number, node in reference.world.nodes.items():
        opened = core.open_inodes.get(run.subject.inodes.get(number, 0))
        if node.changed and node.state.nlink and opened is not None and not opened.changed:
            reference.seal(node)
    del reference.world.pins[""]


def _names(run: "Run", contents: dict[int, bytes]) -> dict[int, dict[str, int]]:
    """The tree of the volume; what is new in it gets a number."""
    subject, nodes = run.subject, run.reference.world.nodes
    numbers = {ino: number for number, ino in subject.inodes.items()}
    names: dict[int, dict[str, int]] = {ROOT: {}}
    pending = [ROOT]
    while pending:
        directory = pending.pop()
        for name, inode in subject.listed(subject.inodes[directory], 100):
            number = numbers.get(inode.ino)
            if number is None:
                number = numbers[inode.ino] = len(nodes)
                subject.inodes[number] = inode.ino
                nodes[number] = _new_node(run, number, inode, contents)
            names[directory][name] = number
            if stat.S_ISDIR(inode.mode):
                names.setdefault(number, {})
                pending.append(number)
    return names


def _new_node(run: "Run", number: int, inode: Inode, contents: dict[int, bytes]) -> Node:
    volume = run.subject.volume
    node = Node(number, (Era(PENDING, run.reference.now, _state(run, inode)),), rdev=inode.rdev)
    if stat.S_ISLNK(inode.mode):
        node.target = volume.readlink(inode.ino)
    row = volume.core.database.get(INODE, inode.ino)
    assert row is not None
    if volume.core.database.scan(VERSION, (inode.ino,), limit=1):
        node.content = node.logged = contents[inode.ino]
        node.versions = (Sealed(PENDING, node.content),)
    node.shared = bool(row.content_at)
    return node


def _end_name(run: "Run", directory: int, name: str, number: int) -> None:
    reference = run.reference
    node = reference.world.nodes[number]
    if node.is_directory:
        reference.exposed()
    node.flushed_at = None
    node.named = True
    if node.born_as == (directory, name):
        node.born_as = NOWHERE


def _take_state(run: "Run", number: int) -> None:
    node = run.reference.world.nodes[number]
    row = run.subject.volume.core.database.get(INODE, run.subject.inodes[number])
    assert row is not None
    state = _state(run, row)
    if _ticks(state) != _ticks(node.state):
        node.eras = (*node.eras, Era(PENDING, run.reference.now, state))


def _take_last_state(run: "Run", number: int) -> None:
    """Of what went: a directory after what lay in it, a file after its other names."""
    node, ino = run.reference.world.nodes[number], run.subject.inodes[number]
    past = run.subject.volume.core.database.scan(INODE_PAST, (ino,), reverse=True, limit=1)[0]
    times = (past.inode.atime_ns, past.inode.mtime_ns, past.inode.ctime_ns)
    state = node.state._replace(nlink=past.inode.nlink)
    state = state._replace(atime=times[0], mtime=times[1], ctime=times[2])
    if _ticks(state) != _ticks(node.state):
        node.eras = (*node.eras, Era(PENDING, run.reference.now, state))


def _state(run: "Run", row: Inode) -> State:
    volume = run.subject.volume
    xattrs = {name: volume.getxattr(row.ino, name) for name in volume.listxattr(row.ino)}
    times = (row.atime_ns, row.mtime_ns, row.ctime_ns)
    kept = tuple(sorted(xattrs.items()))
    return State(row.mode, row.uid, row.gid, row.nlink, *times, kept)


def _ticks(state: State) -> State:
    atime, mtime, ctime = map(ticks_of, (state.atime, state.mtime, state.ctime))
    return state._replace(atime=atime, mtime=mtime, ctime=ctime)


async def _contents(run: "Run") -> dict[int, bytes]:
    """The bytes of every file that the model does not know yet, by inode."""
    volume, known = run.subject.volume, set(run.subject.inodes.values())
    found: dict[int, bytes] = {}
    pending = [run.subject.root]
    while pending:
        for _, inode in run.subject.listed(pending.pop(), 100):
            if stat.S_ISDIR(inode.mode):
                pending.append(inode.ino)
            elif stat.S_ISREG(inode.mode) and inode.ino not in known:
                handle = await volume.open(inode.ino, 0)
                found[inode.ino] = bytes(await volume.read(handle, 0, READ_BYTES))
                await volume.release(handle)
    return found
