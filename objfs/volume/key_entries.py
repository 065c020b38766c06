"""The entries of a key, newest first, without reading more than is asked: for listings.

What an entry is, `object_entries.py` says, and gives all of a key at once; this gives the same ones
as a generator over the rows. Whoever stops reading stops the work, and `before` begins anywhere. So
a page of a key with a hundred thousand versions costs what the page shows.

The theory. Rows of one name never overlap, and neither do the stretches of the directories above,
so reading both from the newest on gives the stretches of the key from the newest on. What a bucket
hides of its null entries is passed over by *eras*, the times in which entries are null: the first
null entry hides the others, so the rest of its era is read for what came back only, if at all.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import NamedTuple

from objfs.meta.rows import Bucket, Dentry, DentryPast, Marker, Version
from objfs.meta.tables import DENTRY, DENTRY_PAST, ERASED, MARKER, VERSION
from objfs.volume.content import Source
from objfs.volume.object_entries import is_null, was_off
from objfs.volume.object_keys import components, path_of
from objfs.volume.showing import FOREVER, Stretch

_PAGES = (2, 8, 32, 128)  # rows read at a time: most names have one, few have many


class KeyEntry(NamedTuple):
    """One entry of a key."""

    sequence: int  # its place in history
    id: int  # what S3 calls it: of one that came back, the place that it had before
    ino: int  # 0 for a delete marker
    version: Version | None  # None: a delete marker, or a directory's own entry
    marker: bool
    null: bool
    latest: bool = False
    owner: str | None = None  # of a stored delete marker


class Era(NamedTuple):
    """Entries made in [since, until) are null, or none of them is."""

    since: int
    until: int
    null: bool


def eras(bucket: Bucket) -> list[Era]:
    """The eras of a bucket, newest first."""
    bounds = [0, *bucket.null_spans, FOREVER]
    return [
        Era(since, until, is_null(bucket, since))
        for since, until in reversed(list(pairwise(bounds)))
        if since < until
    ]


class After(NamedTuple):
    """An entry of a key, to go on after: where it lies, and what it is called."""

    sequence: int
    id: int


BEGINNING = After(FOREVER, 0)


def entries(
    source: Source, bucket: Bucket, key: bytes, after: After = BEGINNING
) -> Iterator[KeyEntry]:
    """The entries of a key, newest first: those that come after one of them."""
    *above, name = components(key)
    return KeyHistory(source, bucket, key, reach(source, bucket, above), name).entries(after)


def null_entry(source: Source, bucket: Bucket, key: bytes) -> After | None:
    """The null entry of a key, if it has one."""
    *above, name = components(key)
    return KeyHistory(source, bucket, key, reach(source, bucket, above), name).null_entry(0)


def reach(source: Source, bucket: Bucket, parts: Iterable[bytes]) -> "Directories":
    """The directories that a path of dentry keys led to."""
    reached = Directories(source, [Stretch(bucket.root, 0, FOREVER)])
    for part in parts:
        reached = reached.below(part)
    return reached


class Directories:
    """The directories that a path led to, read as far as they are asked for."""

    def __init__(self, source: Source, stretches: Iterable[Stretch]) -> None:
        self._source = source
        self._stretches = stretches  # newest first

    def before(self, high: int) -> Iterator[Stretch]:
        """Those that began before `high`, newest first."""
        return (each for each in self._stretches if each.begin < high)

    def of(self, stretches: Iterable[Stretch]) -> "Directories":
        """The same, once they were read."""
        return Directories(self._source, stretches)

    def below(self, name: bytes) -> "Directories":
        """The directories that an entry of these led to."""
        return _Below(self._source, self, name)


class _Below(Directories):
    """One step further down."""

    def __init__(self, source: Source, above: Directories, name: bytes) -> None:
        super().__init__(source, ())
        self._above = above
        self._name = name

    def before(self, high: int) -> Iterator[Stretch]:
        return stretches_below(self._source, self._above, self._name, high)


def stretches_below(
    source: Source, above: Directories, name: bytes, high: int
) -> Iterator[Stretch]:
    """When an entry of directories led to what: what began before `high`, newest first."""
    for directory in above.before(high):
        top = min(directory.until, high)
        for row, until in _rows(source, directory.ino, name, top, directory.begin):
            begin, end = max(directory.begin, row.since), min(directory.until, until)
            if begin < min(end, high):
                replaced = isinstance(row, DentryPast) and row.replaced and end == until
                came_back = row.entry if begin == row.since else 0
                own = row.ino == directory.ino
                yield Stretch(row.ino, begin, end, row.shown, replaced, came_back, own)


def _rows(
    source: Source, parent: int, name: bytes, high: int, low: int
) -> Iterator[tuple[Dentry | DentryPast, int]]:
    """The rows of a name that held somewhere in [low, high), newest first, with their ends. They
    never overlap, so the one that held at `high`, if any, ends after it and is alone."""
    row: Dentry | None = source.get(DENTRY, parent, name)
    if row is not None and row.since < high:
        yield row, FOREVER
    elif high < FOREVER:
        for past in source.scan(DENTRY_PAST, (parent, name), lower=high + 1, limit=1):
            if past.since < high:
                yield past, past.until
    upper = min(high + 1, FOREVER)
    for rows in _pages():
        page = source.scan(
            DENTRY_PAST, (parent, name), lower=low + 1, upper=upper, reverse=True, limit=rows
        )
        for past in page:
            yield past, past.until
        if len(page) < rows:
            return
        upper = page[-1].until


def _pages() -> Iterator[int]:
    """How many rows to read, for each page."""
    yield from _PAGES
    while True:
        yield _PAGES[-1]


class KeyHistory:
    """One key of a bucket: the entry `name` of the directories `above`."""

    def __init__(
        self, source: Source, bucket: Bucket, key: bytes, above: Directories, name: bytes
    ) -> None:
        self._source = source
        self._bucket = bucket
        self._key = key
        self._above = above
        self._name = name
        self._hides: bool | None = None  # whether rows hide any of its entries
        self._covers: list[tuple[int, int]] = []  # what stored markers stand for, as far as known
        self._looked_at = FOREVER

    def entries(self, after: After = BEGINNING) -> Iterator[KeyEntry]:
        """See `entries`."""
        latest = after == BEGINNING
        held: KeyEntry | None = None  # a delete without versioning shows only above something
        for entry in self._not_hidden(after):
            if held is not None:
                yield held
                held = None
            shown = entry._replace(latest=latest)
            latest = False
            if entry.marker and was_off(self._bucket, entry.sequence):
                held = shown
            else:
                yield shown

    def null_entry(self, low: int) -> After | None:
        """The newest null entry at or above `low`, shown or not."""
        for era in eras(self._bucket):
            if era.null and era.until > low:
                for event in self._events(max(era.since, low), era.until):
                    if event.null:
                        return After(event.sequence, event.id)
        return None

    def _not_hidden(self, after: After) -> Iterator[KeyEntry]:
        """The entries, each once, without those that a newer null one hides."""
        before = after.sequence
        null_passed = before < FOREVER and self.null_entry(before) is not None
        seen = {after.id}  # ids of entries that came back
        periods = eras(self._bucket)
        for at, era in enumerate(periods):
            upper = min(era.until, before)
            if era.since >= upper:
                continue
            keeps = any(not older.null for older in periods[at + 1 :])
            for event in self._of_era(era, upper, hidden=null_passed, keeps=keeps):
                if event.id in seen or (event.null and null_passed):
                    continue
                if event.id != event.sequence:
                    seen.add(event.id)
                null_passed = null_passed or event.null
                yield event

    def _of_era(self, era: Era, upper: int, *, hidden: bool, keeps: bool) -> Iterator[KeyEntry]:
        """What an era shows below `upper`. Of one whose entries are null that is the newest of
        these, unless it is `hidden`, and what came back: if the bucket `keeps` anything older."""
        if not (era.null and hidden):
            for event in self._events(era.since, upper):
                yield event
                if era.null and event.null:
                    upper = event.sequence
                    break
            else:
                return
        if keeps:
            for stretch in stretches_below(self._source, self._above, self._name, upper):
                if stretch.begin < era.since:
                    return
                if stretch.entry:
                    found = self._shown(stretch, stretch.begin + 1)
                    yield from (each for each in found if not each.null)

    def _events(self, low: int, high: int) -> Iterator[KeyEntry]:
        """Everything with a sequence in [low, high), newest first."""
        stored = self._markers(low, high)
        marker = next(stored, None)
        for event in self._derived(low, high):
            while marker is not None and marker.sequence >= event.sequence:
                if not (event.marker and marker.sequence == event.sequence):
                    yield marker
                marker = next(stored, None)
            yield event
        yield from chain([marker] if marker is not None else [], stored)

    def _markers(self, low: int, high: int) -> Iterator[KeyEntry]:
        place, upper = (self._bucket.id, self._key), high
        for rows in _pages():
            page: list[Marker] = self._source.scan(
                MARKER, place, lower=max(low, 1), upper=upper, reverse=True, limit=rows
            )
            for row in page:
                if not row.gone:
                    yield self._marker(row.at, row.owner)
            if len(page) < rows:
                return
            upper = page[-1].at

    def _marker(self, at: int, owner: str | None = None) -> KeyEntry:
        null = is_null(self._bucket, at)
        return KeyEntry(at, at, 0, None, marker=True, null=null, owner=owner)

    def _derived(self, low: int, high: int) -> Iterator[KeyEntry]:
        """The entries of the stretches, and the markers between them."""
        newer: int | None = None  # where the object begins that comes after
        deleted = False
        self._covers, self._looked_at = [], FOREVER
        for stretch in stretches_below(self._source, self._above, self._name, high):
            until = stretch.until
            if until < low:
                return
            found = self._shown(stretch, min(until, high))
            first = next(found, None)
            if first is None and not self._is_object(stretch):
                continue
            if newer is None:
                newer = self._object_from(until)
            ended = until not in (FOREVER, newer) and not stretch.replaced
            deleted = deleted or (ended and not self._is_covered(until))
            if first is not None or (until > high and self._shows_anything(stretch)):
                if deleted and until < high:
                    yield self._marker(until)
                deleted = False
            for entry in chain([first] if first is not None else [], found):
                if entry.sequence < low:
                    break
                yield entry
            newer = stretch.begin

    def _object_from(self, sequence: int) -> int:
        """`sequence` if an object begins to be there, else 0."""
        if sequence < FOREVER:
            for stretch in stretches_below(self._source, self._above, self._name, sequence + 1):
                if stretch.begin == sequence and self._is_object(stretch):
                    return sequence
                break
        return 0

    def _is_covered(self, end: int) -> bool:
        """Whether a stored marker, perhaps one that is gone, stands for the end of a stretch. Ends
        are asked for from the newest on, so every marker is looked at once."""
        rows: list[Marker] = self._source.scan(
            MARKER, (self._bucket.id, self._key), lower=end, upper=self._looked_at
        )
        self._looked_at = end
        self._covers += [(row.since, row.at) for row in rows if row.since]
        return any(since <= end <= at for since, at in self._covers)

    def _shows_anything(self, stretch: Stretch) -> bool:
        return next(self._shown(stretch, stretch.until), None) is not None

    def _shown(self, stretch: Stretch, upper: int) -> Iterator[KeyEntry]:
        """The entries of a stretch below `upper`, newest first, without those that are erased."""
        begin = stretch.begin
        if stretch.own:
            if begin >= stretch.shown and not self._is_erased(begin):
                yield self._entry(stretch, begin, None)
            return
        for rows in _pages():
            page: list[Version] = self._source.scan(
                VERSION, (stretch.ino,), upper=upper, reverse=True, limit=rows
            )
            for version in page:
                sequence = max(version.sealed, begin)
                if sequence < stretch.shown:
                    return
                if not self._is_erased(sequence):
                    yield self._entry(stretch, sequence, version)
                if version.sealed <= begin:
                    return
            if len(page) < rows:
                return
            upper = page[-1].sealed

    def _entry(self, stretch: Stretch, sequence: int, version: Version | None) -> KeyEntry:
        id = stretch.entry if stretch.entry and sequence == stretch.begin else sequence
        null = is_null(self._bucket, id)
        return KeyEntry(sequence, id, stretch.ino, version, marker=False, null=null)

    def _is_erased(self, sequence: int) -> bool:
        path = path_of(self._key)
        if self._hides is None:
            self._hides = bool(self._source.scan(ERASED, (self._bucket.id, path), limit=1))
        if not self._hides:
            return False
        return self._source.get(ERASED, self._bucket.id, path, sequence) is not None

    def _is_object(self, stretch: Stretch) -> bool:
        """Whether S3 ever saw what a stretch led to: a sealed file, or a directory's own entry."""
        return stretch.own or bool(
            self._source.scan(VERSION, (stretch.ino,), upper=stretch.until, limit=1)
        )
