"""Purging: the rows of an inode that no key shows any more go.

`Settling` looks at one inode whose entries were hidden (rows in `erased`), inside a change, and
leaves as little as says the same:

- a name whose first entries are all hidden gets `shown`; one with nothing left to show, and that
  ended, goes;
- a version goes when no entry of any key shows it, unless it is the current one of a linked file;
- states of attributes go with the version during which they began and ended, or when they ended
  before anything that is still shown; never one that a snapshot reads, nor the last of an inode
  that is gone but has names;
- a row in `erased` goes when what it hides is gone, or lies below `shown`;
- an inode with no name left and not open goes altogether.

Everything that was visible before and was not hidden is visible after, and reads the same bytes.
What is found does not depend on how often it was interrupted: rows in `erased` are the work list,
and each change leaves a consistent state. When a change is full, `settle` says that there is more.
"""

from bisect import bisect_left
from typing import NamedTuple

from msgspec.structs import replace

from objfs.base import limits
from objfs.meta.database import Change
from objfs.meta.rows import DentryPast, Inode, InodePast, Version, counted_bytes
from objfs.meta.tables import (
    BUCKET,
    DENTRY,
    DENTRY_PAST,
    ERASED,
    INODE,
    INODE_PAST,
    VERSION,
)
from objfs.volume.content import drop_version
from objfs.volume.core import Core
from objfs.volume.inodes import count_usage
from objfs.volume.routes import Name, Route, Routes, names_of
from objfs.volume.showing import FOREVER, version_at

_ROWS_MAX = limits.TRANSACTION_ROWS_MAX - 16
_PAGE = limits.ROWS_PER_BATCH_MAX


class Settled(NamedTuple):
    """What one call did."""

    done: bool  # else the change is full: call it again in another
    versions: int  # purged
    bytes: int  # counted sizes of those
    left: list[Name]  # names that went: their directories may have nothing to show any more


class _Face(NamedTuple):
    """A name with one of its routes, and what is hidden there."""

    name: Name
    route: Route
    erased: set[int]


class Settling:
    """One inode, one change."""

    def __init__(self, core: Core, change: Change, routes: Routes, ino: int) -> None:
        self._core = core
        self._change = change
        self.ino = ino
        self._inode: Inode | None = change.get(INODE, ino)
        self.versions = self.bytes = 0
        self._names = names_of(change, ino)
        self._faces: dict[Name, list[_Face]] = {
            name: [self._face(name, route) for route in routes.of(name)] for name in self._names
        }

    def _face(self, name: Name, route: Route) -> _Face:
        rows = self._change.scan(
            ERASED, (route.bucket, route.key), lower=route.begin, upper=route.until
        )
        return _Face(name, route, {row.entry for row in rows})

    @property
    def room(self) -> int:
        """How many more rows the change takes."""
        return _ROWS_MAX - len(self._change)

    def settle(self, candidates: list[Version]) -> Settled:
        """Purge what may go of the inode, `candidates` of its versions among it."""
        left: list[Name] = []
        for name in self._names:
            if any(face.erased for face in self._faces[name]) and not self._trim(name, left):
                return self._settled(False, left)
        for version in candidates:
            if not self._purge(version):
                return self._settled(False, left)
        return self._settled(self._clean(), left)

    @property
    def is_unreachable(self) -> bool:
        """Whether no name leads to the inode, now or in the past, and nobody has it open."""
        return not self._faces and self._inode is None

    def _settled(self, done: bool, left: list[Name]) -> Settled:
        return Settled(done, self.versions, self.bytes, left)

    # --- names -----------------------------------------------------------------------------------

    def _trim(self, name: Name, left: list[Name]) -> bool:
        """Give a name its first sequence, or remove it. False when the change is full."""
        faces = self._faces[name]
        first = self._first_shown(faces)
        if self.room < 4:
            return False
        if first is not None and first > name.visible:
            self._put_shown(name, first)
        elif first is None and name.until < FOREVER:
            if not self._may_end(name) or not self._drop_marks(faces, FOREVER):
                return False
            self._drop_name(name)
            left.append(name)
            del self._faces[name]
            return True
        return first is None or self._drop_marks(self._faces_of(name), first)

    def _faces_of(self, name: Name) -> list[_Face]:
        """Of a name that may have another `shown` now."""
        place = (name.parent, name.key, name.until)
        return next(
            faces
            for each, faces in self._faces.items()
            if (each.parent, each.key, each.until) == place
        )

    def _first_shown(self, faces: list[_Face]) -> int | None:
        """The first sequence at which the name shows something, None if it never does."""
        for face in faces:
            found = self._first_of(face)
            if found is not None:
                return found
        return None

    def _first_of(self, face: _Face) -> int | None:
        (begin, until), shown = (face.route.begin, face.route.until), face.name.shown
        if until <= shown:
            return None
        current = version_at(self._change, self.ino, begin)
        if current is not None and begin >= shown and begin not in face.erased:
            return begin
        lower, seen = max(begin + 1, shown), current is not None
        while True:
            page = self._change.scan(VERSION, (self.ino,), lower=lower, upper=until, limit=_PAGE)
            for version in page:
                if version.sealed not in face.erased:
                    # Nothing was erased before it: the time before the first sealing is its own.
                    hidden = seen or begin < shown or begin in face.erased
                    return version.sealed if hidden else begin
                seen = True
            if len(page) < _PAGE:
                break
            lower = page[-1].sealed + 1
        if not seen and begin >= shown and begin not in face.erased:
            return begin  # it has no versions: a symlink, a directory, a file never sealed
        return None

    def _put_shown(self, name: Name, first: int) -> None:
        if name.until == FOREVER:
            row = self._change.get(DENTRY, name.parent, name.key)
            assert row is not None
            self._change.put(replace(row, shown=first))
        else:
            past = self._change.get(DENTRY_PAST, name.parent, name.key, name.until)
            assert past is not None
            self._change.put(replace(past, shown=first))
        trimmed = name._replace(shown=first)
        faces = self._faces.pop(name)
        self._faces[trimmed] = [face._replace(name=trimmed) for face in faces]

    def _drop_marks(self, faces: list[_Face], below: int) -> bool:
        """Rows in `erased` below a sequence are not needed any more. False: the change is full."""
        for face in faces:
            for entry in sorted(face.erased):
                if entry >= below:
                    break
                if self.room < 1:
                    return False
                self._change.delete(ERASED, face.route.bucket, face.route.key, entry)
                face.erased.discard(entry)
        return True

    def _may_end(self, name: Name) -> bool:
        """Whether a name may go now: the last one goes with all else, in this change."""
        return len(self._faces) > 1 or self._inode is not None or self._wipe()

    def _drop_name(self, name: Name) -> None:
        """Remove a past name of which nothing is left. The name before it, if one led up to this
        one without a deletion, ended in a deletion if the path that they shared did after this."""
        change = self._change
        change.delete(DENTRY_PAST, name.parent, name.key, name.until)
        rows = change.scan(
            DENTRY_PAST, (name.parent, name.key), upper=name.since + 1, reverse=True, limit=1
        )
        if rows and (rows[0].replaced or rows[0].until == name.since):
            first = next(iter(self._faces[name]), None)
            to_its_end = first is not None and first.route.until == name.until
            change.put(replace(rows[0], replaced=to_its_end and _was_replaced(change, name)))

    # --- versions --------------------------------------------------------------------------------

    def _purge(self, version: Version) -> bool:
        """Remove a version that nothing shows. False when the change is full."""
        change = self._change
        if change.get(VERSION, self.ino, version.sealed) is None or self._is_current(version):
            return True
        following = change.scan(VERSION, (self.ino,), lower=version.sealed + 1, limit=1)
        until = following[0].sealed if following else FOREVER
        if self._is_shown(version, until):
            return True
        if not self._drop_states(version.sealed, until) or self.room < 4:
            return False
        self._delete_version(version)
        for faces in self._faces.values():
            for face in faces:
                self._drop_mark(face, version.sealed)
        return True

    def _drop_mark(self, face: _Face, entry: int) -> None:
        """What was sealed inside a stretch and is gone needs no row to hide it, if there is an
        older version. Without one, the file would appear as if it had not been sealed yet; at the
        begin of the stretch, the older version would."""
        if entry not in face.erased or entry <= face.route.begin or self.room < 1:
            return
        if version_at(self._change, self.ino, entry - 1) is not None:
            self._change.delete(ERASED, face.route.bucket, face.route.key, entry)
            face.erased.discard(entry)

    def _delete_version(self, version: Version) -> None:
        delete_version(self._change, version, self._bucket())
        self.versions += 1
        self.bytes += counted_bytes(version.size)

    def _bucket(self) -> int:
        """Where the inode counts."""
        if self._inode is not None:
            return self._inode.bucket
        last = self._change.scan(INODE_PAST, (self.ino,), reverse=True, limit=1)
        return last[0].inode.bucket if last else 0

    def _is_current(self, version: Version) -> bool:
        inode = self._inode
        return inode is not None and inode.nlink > 0 and inode.sealed == version.sealed

    def _is_shown(self, version: Version, until: int) -> bool:
        """Whether any key shows the version, which is the newest one in [sealed, until)."""
        for faces in self._faces.values():
            for face in faces:
                entry = max(version.sealed, face.route.begin)
                if (
                    entry < min(until, face.route.until)
                    and entry >= face.name.shown
                    and entry not in face.erased
                ):
                    return True
        return False

    # --- states of attributes --------------------------------------------------------------------

    def _drop_states(self, since: int, until: int) -> bool:
        """Remove states that began and ended in [since, until). False when the change is full."""
        change = self._change
        rows = change.scan(INODE_PAST, (self.ino,), lower=since + 1, upper=until + 1, limit=_PAGE)
        for row in self._droppable([row for row in rows if row.inode.since >= since]):
            if self.room < 6:
                return False
            change.delete(INODE_PAST, row.ino, row.until)
        if len(rows) < _PAGE:
            return True
        return self._drop_states(max(since, rows[-1].until), until)

    def _droppable(self, rows: list[InodePast]) -> list[InodePast]:
        """Those that no snapshot reads, and not the last of an inode that is gone."""
        if not rows:
            return []
        scan = self._change.scan
        pins = self._core.pins.of_bucket(rows[0].inode.bucket)
        last = 0
        if self._inode is None or self._inode.nlink == 0:
            last = scan(INODE_PAST, (self.ino,), reverse=True, limit=1)[0].until
        earlier = scan(INODE_PAST, (self.ino,), upper=rows[0].until, reverse=True, limit=1)
        begin = earlier[0].until if earlier else 0
        found = []
        for row in rows:
            # A moment reads the first state that ends after it.
            at = bisect_left(pins, begin)
            if row.until != last and not (at < len(pins) and pins[at] < row.until):
                found.append(row)
            begin = row.until
        return found

    def _clean(self) -> bool:
        """States before anything that is shown, and all that is left of what has no name."""
        if not self._faces:
            return self._inode is not None or self._wipe()
        return self._drop_states(0, min(name.visible for name in self._faces))

    def _wipe(self) -> bool:
        """Remove everything of an inode that is gone and whose last name goes, but for that. False
        when the change is full."""
        change = self._change
        bucket = self._bucket()
        versions = change.scan(VERSION, (self.ino,), limit=_PAGE)
        for version in versions:
            if self.room < 6:
                return False
            delete_version(change, version, bucket)
            self.versions += 1
            self.bytes += counted_bytes(version.size)
        if len(versions) == _PAGE:
            return False
        while True:
            own = change.scan(DENTRY_PAST, (self.ino,), limit=_PAGE)
            states = change.scan(INODE_PAST, (self.ino,), limit=_PAGE)
            if not own and not states:
                return True
            for entry in own:
                assert entry.key == b"", "a directory goes after what lies in it"
                if self.room < 6:
                    return False
                change.delete(DENTRY_PAST, entry.parent, entry.key, entry.until)
            for state in states[: max(self.room - 6, 0)]:
                change.delete(INODE_PAST, state.ino, state.until)
            if self.room <= 6:
                return False


def delete_version(change: Change, version: Version, bucket: int) -> None:
    """Remove a version that nothing shows, and say that its extents are to be looked through."""
    drop_version(change, version)
    if bucket and change.get(BUCKET, bucket) is not None:
        count_usage(change, bucket, past=-counted_bytes(version.size))


def purge_unreachable(core: Core, ino: int) -> None:
    """Remove everything of an inode that no name leads to, now or in the past, and that nobody has
    open. Anything else is left as it is."""
    done = False
    while not done:
        with core.change() as change:
            settling = Settling(core, change, Routes(change), ino)
            done = not settling.is_unreachable or settling.settle([]).done


def _was_replaced(change: Change, name: Name) -> bool:
    if name.replaced:
        return True
    current = change.get(DENTRY, name.parent, name.key)
    if current is not None and current.since == name.until:
        return True
    following: list[DentryPast] = change.scan(
        DENTRY_PAST, (name.parent, name.key), lower=name.until + 1, limit=1
    )
    return bool(following) and following[0].since == name.until
