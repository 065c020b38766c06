"""A plain model of the filesystem, its past included: the one definition of right.

It knows nothing of logs, extents or rows: bytes are `bytes`, directories are dicts, and every past
moment is a copy. The store's sequence number is the only thing it is told, after each operation.

What is right:

- **Attributes.** A change that the log takes at once (names, links, modes, owners, times, xattrs)
  begins a new *era* of the inode. It amends the era before, which then reads as if it had always
  been so, if that era began less than `AMEND_NS` ago, or in the same session (while the file has
  been open without a break). A logged change of content always begins one after a version that
  stays: a version keeps its own times. The times that writing gives a file, and those set while it
  has working content, are of the working state until its content is logged.
- **Content.** What is written belongs to the *working* content. *Logged* content is what recovery
  finds: writes get there by flush, fsync, sync and write-back; truncation and O_TRUNC at once.
  *Sealed* content is what the past and every other reader sees: a version is sealed at flush and
  release if the file changed, before its last name is displaced, at a clean end, and by recovery.
- **Replacement.** A seal takes the place of the version that a flush made in the same session, if
  that was less than `AMEND_NS` ago, nothing was cut off, the file did not share its bytes with a
  version that a restore brought back, and nothing exposed the version since: a sync, somebody who
  took it, the end of a name that leads to it. The replaced interval then reads as the version
  before.
- **The past.** At a moment: the names as they were, the era that holds then, the content and the
  size last sealed then.
- **Names used in passing** are hidden from every moment at which the file had them.
- **A crash** leaves the moment of some sequence number, at least the last one synced: working
  content is gone, logged content is sealed, files that have no name are gone, and so are handles.
"""

import copy
from typing import Self

from objfs.base.limits import AMEND_NS, PASSING_NS
from objfs.volume.passing_names import used_in_passing
from tests.model.world import (
    KEPT,
    NOWHERE,
    PENDING,
    ROOT,
    Era,
    Node,
    Opened,
    Passed,
    Sealed,
    State,
    World,
    settle,
)

SMALL = 20  # of a file that was removed, more than this is kept
CHANGES_MAX = 1000  # more than one operation of these tests logs


class Timeline:
    """The rules above, and every moment so far. What operations there are is known to
    `tests/model/reference.py`."""

    def __init__(self, root: State, sequence: int, time: int) -> None:
        node = Node(ROOT, (Era(sequence, time, root),))
        self.world = World({ROOT: node}, {ROOT: {}})
        self.slots: dict[int, Opened] = {}
        self.moments: dict[int, World] = {sequence: self.world.copy()}
        self.within: dict[int, list[World]] = {}  # by the sequence an operation ended at
        self.passed: list[Passed] = []
        self.times = {sequence: time}
        self.sequence = sequence
        self.now = time
        self.chains: dict[int, dict[str, tuple[int, ...]]] = {}  # remembered by `past.py`
        self._steps: list[World] = []

    def settle(self, sequence: int) -> None:
        """The store did it too, and its last sequence is this one."""
        before, self.sequence = self.sequence, sequence
        logged = settle(self.world, sequence)
        assert not logged or sequence > before, f"the log has nothing of {logged}"
        for world in self._steps:
            settle(world, sequence)
        if sequence != before:
            self.moments[sequence] = self.world.copy()
            self.within[sequence] = self._steps
            self.times[sequence] = self.now
        self.passed = [each._replace(left=min(each.left, sequence)) for each in self.passed]

    def interrupted(self) -> None:
        """The operation was stopped somewhere: any of its steps may be in the log."""
        self.settle(self.sequence + CHANGES_MAX)

    def twin(self) -> Self:
        """A model at the same place that goes on by itself."""
        twin = copy.copy(self)
        twin.world, twin.slots = self.world.copy(), dict(self.slots)
        twin.moments, twin.within = dict(self.moments), dict(self.within)
        twin.passed, twin.times, twin.chains = list(self.passed), dict(self.times), {}
        return twin

    def exposed(self) -> None:
        """All versions were read: none is replaced any more."""
        for node in self.world.nodes.values():
            node.flushed_at = None

    # --- eras and versions -----------------------------------------------------------------------

    def put(self, node: Node, of_version: bool = False, /, **changes: object) -> None:
        """A new state: amends the era before, or begins one. One without a name always begins, and
        so does another content than that of the newest version."""
        state = node.state._replace(**changes)  # type: ignore[arg-type]
        era = node.eras[-1]
        young = era.time > self.now - AMEND_NS
        same_session = node.session is not None and era.since >= node.session
        pinned = of_version or era.since <= self.world.pinned
        if (young or same_session) and state.nlink and not pinned:
            node.eras = (*node.eras[:-1], era._replace(state=state))
        else:
            node.eras = (*node.eras, Era(PENDING, self.now, state))

    def mark(self, node: Node, **changes: object) -> None:
        """A change that is logged at once; its ctime is also one of the working state."""
        self.put(node, **changes, ctime=self.now)
        if node.changed:
            node.times = node.times._replace(ctime=self.now)

    def touch(self, directory: int, links: int = 0) -> None:
        node = self.world.nodes[directory]
        self.put(node, mtime=self.now, ctime=self.now, nlink=node.state.nlink + links)

    def use(self, node: Node) -> None:
        if node.session is None:
            node.session = self.sequence + 1
            node.opened_at = self.now

    def leave(self, node: Node) -> None:
        """The session ends with the last handle: what changed is sealed, what has no name ends."""
        if node.handles:
            return
        self.seal(node)
        node.session = node.flushed_at = None
        if node.state.nlink == 0:
            node.content = node.logged = b""
            node.changed = node.unsealed = node.dirty = False
            node.written_from = None
            node.times = KEPT
            if node.vanishes:
                node.versions = ()

    def log(self, node: Node) -> None:
        """Working content becomes logged content, with its times."""
        if node.content == node.logged and node.times == KEPT:
            return
        self.put_working(node, of_version=node.is_sealed)
        node.unsealed = True
        node.flushed_at = None
        self.step()

    def unshare(self, node: Node) -> None:
        """Bytes of its own, by a change of its own."""
        if node.shared:
            node.shared = False
            self.put(node)
            self.step()

    def put_working(self, node: Node, *, of_version: bool) -> None:
        working = node.working
        if node.written_from is not None:
            self.unshare(node)
        times = {"atime": working.atime, "mtime": working.mtime, "ctime": working.ctime}
        self.put(node, of_version, **times)
        node.logged, node.times, node.dirty = node.content, KEPT, False
        node.written_from = None

    def seal(self, node: Node, *, by_flush: bool = False) -> None:
        """A version, if there is anything that none covers. Nobody will see one of a file without
        a name."""
        if not node.changed or not node.state.nlink:
            return
        if node.shared and node.written_from is not None:
            node.flushed_at = None
        replaces = (
            node.flushed_at is not None
            and node.flushed_at > self.now - AMEND_NS
            and node.versions[-1].since > self.world.pinned
        )
        kept = node.versions[:-1] if replaces else node.versions
        self.put_working(node, of_version=node.is_sealed and not replaces)
        node.versions = (*kept, Sealed(PENDING, node.content))
        node.flushed_at = self.now if by_flush else None
        node.changed = node.unsealed = False
        node.opened_at = self.now
        self.step()

    def step(self) -> None:
        """A crash may leave this moment, in the middle of the operation."""
        self._steps.append(self.world.copy())

    # --- names used in passing -------------------------------------------------------------------

    def end_name(
        self, node: Node, directory: int, name: str, *, removed: bool, kept: bool = False
    ) -> None:
        """A name of a file ends, with a history or without (SEMANTICS S6.7)."""
        if node.is_directory:
            return
        if not kept and self._in_passing(node, directory, name, removed):
            self.passed.append(Passed(PENDING, directory, name, node.number))
            node.vanishes = removed and node.state.nlink == 1 and not node.named
            self.chains = {}
        else:
            node.named = True
        if node.born_as == (directory, name):
            node.born_as = NOWHERE

    def _in_passing(self, node: Node, directory: int, name: str, removed: bool) -> bool:
        """By the name, the file and how it ends; what names look like is taken as it is."""
        looks = used_in_passing(name.encode(), node.state.mode, len(node.logged), removed=removed)
        lone = node.state.nlink == 1
        if not looks or node.born_as is None or self.now - node.born_at >= PASSING_NS:
            return False
        if self.world.pinned >= node.eras[0].since:
            return False
        if removed and lone and len(node.versions) + len(node.eras) > SMALL:
            return False
        return node.born_as == (directory, name) or (lone and not node.named)

    def names_at(self, sequence: int) -> dict[int, dict[str, int]]:
        """The names of a moment as the past shows them."""
        names = self.moments[sequence].names
        hidden = [each for each in self.passed if each.left > sequence]
        if hidden:
            names = {directory: dict(below) for directory, below in names.items()}
        for each in hidden:
            below = names.get(each.directory, {})
            if below.get(each.name) == each.number:
                del below[each.name]
        return names

    # --- ends ------------------------------------------------------------------------------------

    def remount(self) -> None:
        """A clean end: everything is sealed, nothing is open."""
        self._close_all()

    def has_nameless(self) -> bool:
        """Whether a file is open that has no name."""
        nodes = self.world.nodes
        return any(not nodes[opened.number].state.nlink for opened in self.slots.values())

    def _close_all(self) -> None:
        self.slots = {}
        for node in self.world.nodes.values():
            node.handles = 0
            self.leave(node)

    def candidates(self, sequence: int) -> list[World]:
        """The worlds that a log which ends at `sequence` may stand for: one at the end of an
        operation, in the middle of one any of its steps."""
        if sequence in self.moments:
            return [self.moments[sequence]]
        before = max(each for each in self.moments if each < sequence)
        after = min(each for each in self.moments if each > sequence)
        return [self.moments[before], *self.within[after], self.moments[after]]

    def recover(self, world: World, found: int, sequence: int, now: int) -> bool:
        """Go on from `world` after a crash that left the log at `found`; recovery took it on to
        `sequence`. False if it would have had to log more than that."""
        self.world = world.copy()
        settle(self.world, found)
        self.sequence, self.now, self.slots = found, now, {}
        for node in self.world.nodes.values():
            node.content, node.times = node.logged, KEPT
            node.session = node.flushed_at = None
            node.changed = node.dirty = False
            node.written_from = None
            node.handles = 0
        later = [at for at in self.times if at >= found]
        time = self.times[min(later)] if later else now
        self.moments = {at: each for at, each in self.moments.items() if at < found}
        self.within = {at: each for at, each in self.within.items() if at <= found}
        self.times = {at: each for at, each in self.times.items() if at < found} | {found: time}
        self.chains = {}
        self.passed = [each for each in self.passed if each.left <= found]
        self.moments[found] = self.world.copy()
        self._steps = []
        for node in self.world.nodes.values():
            if node.unsealed and node.state.nlink:
                node.versions = (*node.versions, Sealed(PENDING, node.logged))
                self.put(node, mtime=now, ctime=now)
                node.unsealed = False
                self.step()
        if self._steps and sequence == found:
            return False
        self._close_all()
        self.settle(sequence)
        return True

    def recover_partly(self, found: int, now: int) -> None:
        """Recovery began on a log that ended at `found`, and was stopped somewhere."""
        end = found + CHANGES_MAX
        worlds: list[World] = []
        for world in self.candidates(found):
            twin = self.twin()
            twin.recover(world, found, end, now)
            worlds += [twin.moments[found], *twin.within[end], twin.moments[end]]
        self.moments = {at: each for at, each in self.moments.items() if at < found}
        self.within = {end: worlds}
        self.moments[end] = worlds[-1]
        self.sequence = end
