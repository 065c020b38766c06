"""Hard links in a restored tree: which inode of now stands for which inode of then.

Two names that led to one inode lead to one again, and two that did not do not. `_made` says which
inode stands for one that had several names, `_stands` for what an inode that has several stands.
That is some 200 bytes of memory for each such inode, for the length of the restore; files with one
name, then and now, need none.
"""

from collections.abc import Callable

from objfs.base import limits
from objfs.meta.database import Change
from objfs.meta.rows import Dentry, Inode
from objfs.meta.tables import DENTRY, INODE
from objfs.volume.core import Core
from objfs.volume.restored import same_attributes, same_bytes
from objfs.volume.trees import Place, State, Tree
from objfs.volume.writeback import Writeback


class RestoredLinks:
    """The links of one restore. `tops` gives the directories on the way of the walk whose entries
    it meets as those of then."""

    def __init__(
        self, core: Core, writeback: Writeback, tree: Tree, tops: Callable[[], set[int]]
    ) -> None:
        self._core = core
        self._writeback = writeback
        self._tree = tree
        self._tops = tops
        self._made: dict[int, int] = {}  # inode then -> inode now
        self._stands: dict[int, int] = {}  # inode now -> inode then

    def is_right(self, change: Change, place: Place, was: State, row: Inode) -> bool:
        """Whether `row`, which has the name now, is what `place` led to. From then on it is."""
        made = self._made.get(place.ino)
        if made is not None:
            return made == row.ino
        if not self._may_stand(change, place, was, row):
            return False
        several = self._tree.has_several_names(was.inode)
        if several:
            kept = self._kept(change, place, was)
            if kept is not None and kept.ino != row.ino:
                return False
        if several or row.nlink > 1:
            self._stand(place, row, several)
        return True

    def _stand(self, place: Place, row: Inode, several: bool) -> None:
        """`row` stands for what was at `place`, which had `several` names."""
        if several:
            self._made[place.ino] = row.ino
        self._stands[row.ino] = place.ino

    def stand(self, place: Place, was: State, row: Inode) -> None:
        """A new inode stands for what was at `place`."""
        if self._tree.has_several_names(was.inode):
            self._stand(place, row, True)

    def may_change(self, was: State, row: Inode) -> bool:
        """Whether the attributes of `row` are those of one name only, then and now."""
        return (
            row.nlink == 1
            and row.ino not in self._stands
            and not self._tree.has_several_names(was.inode)
        )

    def made_for(self, change: Change, place: Place, was: State) -> Inode | None:
        """The inode that another name of what was at `place` has got, or will keep."""
        if not self._tree.has_several_names(was.inode):
            return None
        made = self._made.get(place.ino)
        row = None if made is None else change.get(INODE, made)
        if row is not None and row.nlink:
            return row
        return self._kept(change, place, was)

    def _may_stand(self, change: Change, place: Place, was: State, row: Inode) -> bool:
        """Whether an inode is as it was, and stands for nothing else."""
        return (
            self._stands.get(row.ino, place.ino) == place.ino
            and not self._writeback.must_seal(row.ino)
            and same_bytes(change, was, row)
            and same_attributes(change, was, row)
        )

    def _kept(self, change: Change, place: Place, was: State) -> Inode | None:
        """The inode of then itself, if the walk will meet it as it was under another of its names:
        then that is left alone, and this name is linked to it."""
        row = change.get(INODE, place.ino)
        if row is None or not row.nlink or not self._may_stand(change, place, was, row):
            return None
        names = self._core.database.scan(
            DENTRY, (row.ino,), index="ino", limit=limits.LISTING_PAGE_ENTRIES
        )
        tops = self._tops()
        return row if any(self._is_in_place(name, tops) for name in names) else None

    def _is_in_place(self, name: Dentry, tops: set[int]) -> bool:
        """Whether a name, and the way to it from one of `tops`, have held since then."""
        while name.since <= self._tree.sequence:
            if name.parent in tops:
                return True
            above = self._core.database.scan(DENTRY, (name.parent,), index="ino", limit=2)
            leading = [row for row in above if row.parent != name.parent]
            if not leading:
                return False
            name = leading[0]
        return False
