"""What a name shows: stretches, entries, and the one answer to "which version at this sequence?".

The theory (DESIGN 5): a path leads to an inode from `begin`, the latest `since` along it, until the
first of its entries closes: a *stretch*. The entries of a stretch are the version current at
`begin` and each one sealed inside it; an entry's sequence is max(begin, sealed).

Erasing hides entries, in two ways that mean the same:

- a name with `shown` shows nothing before that sequence: its first entries were erased. This is
  where nearly every erased entry ends, and it costs a lookup nothing;
- a row in `erased` hides one entry of one key, while other keys still show its version.

What is hidden reads as the entry before it in the stretch, or as nothing.
"""

from typing import NamedTuple

from objfs.base import limits
from objfs.meta.rows import Dentry, DentryPast, Version
from objfs.meta.tables import DENTRY, DENTRY_PAST, ERASED, VERSION
from objfs.volume.content import Source

# How a directory's own entry is named in a path: `dir/` leads to the directory, `dir/` and this to
# the object `dir/`. Names of the mount have no NUL, keys of S3 no byte that UTF-8 has not.
OWN_ENTRY = b"\0\xff"
FOREVER = limits.FILE_BYTES_MAX  # the `until` of what holds now: above every sequence


class Stretch(NamedTuple):
    """A path leads to `ino` for the sequences in [begin, until)."""

    ino: int
    begin: int
    until: int
    shown: int = 0  # entries before this sequence were erased
    replaced: bool = False  # another file took the name at `until`; nothing is left of that one
    entry: int = 0  # its first entry is that one of an earlier stretch, which came back
    own: bool = False  # a directory's own entry, that leads to the directory itself


class Shown(NamedTuple):
    """One entry: its sequence, and its version."""

    sequence: int
    version: Version


def split_key(key: bytes) -> list[bytes]:
    """The dentry keys along a path: every directory with its slash, the last as it is."""
    parts = key.split(b"/")
    if parts[-1] == OWN_ENTRY:
        return [part + b"/" for part in parts[:-1]] + [b""]
    return [part + b"/" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def dentry_at(source: Source, parent: int, key: bytes, sequence: int) -> Dentry | None:
    """The entry of a directory that held at `sequence`, unless it shows nothing then."""
    row: Dentry | None = source.get(DENTRY, parent, key)
    if row is not None and row.since <= sequence:
        return row if row.shown <= sequence else None
    for past in source.scan(DENTRY_PAST, (parent, key), lower=sequence + 1, limit=1):
        if max(past.since, past.shown) <= sequence:
            return Dentry(parent, key, past.ino, past.since, 0, past.entry, past.null, past.shown)
    return None


def version_at(source: Source, ino: int, sequence: int) -> Version | None:
    """The newest version sealed at or before `sequence`."""
    rows: list[Version] = source.scan(VERSION, (ino,), upper=sequence + 1, reverse=True, limit=1)
    return rows[0] if rows else None


def stretches_of(
    source: Source, root: int, key: bytes, lower: int = 0, upper: int = FOREVER
) -> list[Stretch]:
    """When the path led to which inode, newest first: the stretches that overlap [lower, upper)."""
    reached = [Stretch(root, 0, FOREVER)]
    for part in split_key(key):
        reached = [
            stretch for above in reached for stretch in _below(source, above, part, lower, upper)
        ]
    return sorted(reached, key=lambda stretch: stretch.begin, reverse=True)


def _below(source: Source, above: Stretch, key: bytes, lower: int, upper: int) -> list[Stretch]:
    """The stretches of an entry while its directory was reached."""
    rows: list[Dentry | DentryPast] = [
        *_pasts(source, above.ino, key, max(above.begin, lower) + 1, upper)
    ]
    current = source.get(DENTRY, above.ino, key)
    if current is not None and current.since < upper:
        rows.append(current)
    found = []
    for row in rows:
        until = row.until if isinstance(row, DentryPast) else FOREVER
        begin, end = max(above.begin, row.since), min(above.until, until)
        if begin < end and begin < upper and end > lower:
            replaced = isinstance(row, DentryPast) and row.replaced and end == until
            entry = row.entry if begin == row.since else 0
            own = row.ino == above.ino
            found.append(Stretch(row.ino, begin, end, row.shown, replaced, entry, own))
    return found


def _pasts(source: Source, parent: int, key: bytes, lower: int, upper: int) -> list[DentryPast]:
    """The past rows of a name that end at `lower` or later and begin before `upper`."""
    limit = None if upper >= FOREVER else 16
    found: list[DentryPast] = []
    while True:
        page = source.scan(DENTRY_PAST, (parent, key), lower=lower, limit=limit)
        found += [row for row in page if row.since < upper]
        if limit is None or len(page) < limit or page[-1].since >= upper:
            return found
        lower = page[-1].until + 1


def erased_entries(
    source: Source, bucket: int, key: bytes, lower: int = 0, upper: int = FOREVER
) -> set[int]:
    """The entries of a key in [lower, upper) that a row hides."""
    rows = source.scan(ERASED, (bucket, key), lower=lower, upper=upper)
    return {row.entry for row in rows}


def entries_of(source: Source, stretch: Stretch, erased: set[int]) -> list[Shown]:
    """The entries of a stretch, newest first; `erased` of its key are left out."""
    begin, first = stretch.begin, stretch.shown
    inside = source.scan(
        VERSION,
        (stretch.ino,),
        lower=max(begin + 1, first),
        upper=stretch.until,
        reverse=True,
    )
    entries = [Shown(row.sealed, row) for row in inside if row.sealed not in erased]
    if begin >= first and begin not in erased:
        current = version_at(source, stretch.ino, begin)
        if current is not None:
            entries.append(Shown(begin, current))
    return entries


def entry_at(source: Source, stretch: Stretch, erased: set[int], sequence: int) -> Shown | None:
    """The entry that the path shows at `sequence`, which lies in the stretch. None: no version;
    whether the name is there all the same, `is_there` tells."""
    upper = min(sequence + 1, stretch.until)
    while True:
        rows = source.scan(VERSION, (stretch.ino,), upper=upper, reverse=True, limit=1)
        if not rows:
            return None
        entry = max(rows[0].sealed, stretch.begin)
        if entry < stretch.shown:
            return None
        if entry not in erased:
            return Shown(entry, rows[0])
        if entry == stretch.begin:
            return None
        upper = rows[0].sealed


def is_there(source: Source, stretch: Stretch, erased: set[int], sequence: int) -> bool:
    """Whether the path leads to anything at `sequence`, which lies in the stretch: to a version, or
    to what has none (a directory, a symlink, a file that was not sealed yet)."""
    if sequence < stretch.shown:
        return False
    if not erased or entry_at(source, stretch, erased, sequence) is not None:
        return True
    return not any(stretch.begin <= entry <= sequence for entry in erased)
