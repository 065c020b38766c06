"""Whole trees as values, to be compared: of any moment, and of now."""

from typing import NamedTuple

from objfs.volume.trees import Place, Tree
from tests.model.harness import BUCKET, Harness


class Shown(NamedTuple):
    """What stat(2), a read and listxattr(2) tell of one path; hard links by their first path."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    rdev: int
    target: bytes | None
    xattrs: dict[bytes, bytes]
    data: bytes
    linked_to: bytes


def tree_at(store: Harness, sequence: int | None = None) -> Tree:
    """The tree of the bucket at a moment; None: as it is now, as far as it is sealed."""
    database = store.volume.core.database
    view = store.volume.at(database.sequence if sequence is None else sequence)
    return Tree(database, view, store.volume.bucket(BUCKET))


async def shown(
    store: Harness, sequence: int | None = None, below: bytes = b""
) -> dict[bytes, Shown]:
    """Every path below a directory (and b"" for itself), relative to it."""
    tree = tree_at(store, sequence)
    top = tree.find(below)
    assert top is not None
    first: dict[int, bytes] = {}
    found: dict[bytes, Shown] = {}
    waiting = [top]
    while waiting:
        place = waiting.pop()
        path = place.key[len(top.key) :]
        found[path] = await _shown(tree, place, first.setdefault(place.ino, path))
        if place.is_directory:
            waiting += reversed(children(tree, place))
    return found


def children(tree: Tree, place: Place) -> list[Place]:
    """All of a directory."""
    found: list[Place] = []
    reached: bytes | None = b""
    while reached is not None:
        page, reached = tree.children(place, reached, 3)
        found += page
    return found


async def _shown(tree: Tree, place: Place, linked_to: bytes) -> Shown:
    state = tree.state(place)
    inode = state.inode
    data = b"" if place.is_directory else bytes(await tree.view.read(place.ino, 0, inode.size))
    return Shown(
        inode.mode,
        inode.uid,
        inode.gid,
        inode.mtime_ns,
        inode.size,
        inode.rdev,
        inode.target,
        state.xattrs,
        data,
        linked_to,
    )
