"""What the past of the model shows, when parts of it were erased.

It is worked out from the moments and the marks alone, by brute force:

- A path leads to one inode through the same directories for a *stretch* of moments. Its entries are
  the version that it shows when it begins, and each one sealed until it ends.
- A *mark* hides one entry of one path. In its time the path shows the entry before it in the
  stretch; without one, nothing. A stretch of which every entry is marked is gone, with the deletion
  that ended it.
  The time before the first version may be gone as soon as anything of the stretch is.
- Hard links are one file: a moment shows the newest version that any name of it shows then.
- A directory that nothing is shown in any more, in all of a stretch that has ended, *may* be gone.
- Attributes are those of the moment where the version of then is shown. Where it is erased, and
  before a node's `thinned`, they are those of any later state of the same version, unless a
  snapshot pins the moment.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tests.model.world import ROOT, Entry, Mark, Node, Pin, Sealed, State

if TYPE_CHECKING:
    from tests.model.timeline import Timeline

FOREVER = 1 << 61
NO_VERSION = Entry(0, None)


class Stretch(NamedTuple):
    """A path leads to `number` for the moments in [begin, until). Entries oldest first."""

    path: str  # of a directory with its slash
    number: int
    above: int  # the directory
    begin: int
    until: int
    ended: bool  # in a deletion
    entries: tuple[Entry, ...]

    @property
    def is_directory(self) -> bool:
        return self.path.endswith("/")

    def mark(self, entry: Entry) -> Mark:
        """What hides an entry."""
        if entry.sealed is None:
            return Mark(self.path, self.number, self.begin, self.begin, -1)
        since = entry.sealed.since
        return Mark(self.path, self.number, self.begin, entry.sequence, since)

    def marks(self) -> list[Mark]:
        """Of all entries; a name without a version has one too."""
        return [self.mark(entry) for entry in self.entries or (NO_VERSION,)]


class Interval(NamedTuple):
    """An entry that is shown, until the next one."""

    stretch: Stretch
    entry: Entry
    sequence: int
    until: int

    @property
    def mark(self) -> Mark:
        return self.stretch.mark(self.entry)

    @property
    def since(self) -> int:
        """The time before the first version of a stretch goes with that."""
        entries = self.stretch.entries
        first = not entries or self.entry in (entries[0], NO_VERSION)
        return self.stretch.begin if first else self.sequence

    @property
    def is_current(self) -> bool:
        return self.until == FOREVER


class Seen(NamedTuple):
    """An inode at a moment."""

    content: bytes
    states: tuple[State, ...]  # any of them


class Moment(NamedTuple):
    """One moment, as the past shows it."""

    names: dict[int, dict[str, int]]  # by directory
    optional: set[tuple[int, str]]  # names that may be gone
    files: dict[int, Seen]


class Past:
    """All of it, at the place where the timeline is now."""

    def __init__(self, timeline: "Timeline") -> None:
        self._timeline = timeline
        self._world = timeline.world
        self._pins = list(timeline.world.pins.values())
        self.stretches: dict[str, list[Stretch]] = {}  # by path, oldest first
        for stretch in self._stretches():
            self.stretches.setdefault(stretch.path, []).append(stretch)
        self._hidden = {mark.path for mark in timeline.world.erased}

    # --- stretches -------------------------------------------------------------------------------

    def _stretches(self) -> Iterator[Stretch]:
        timeline = self._timeline
        reached: dict[str, tuple[tuple[int, ...], int]] = {}
        for at in sorted(timeline.moments):
            chains = chains_at(timeline, at)
            for path, (chain, begin) in list(reached.items()):
                if chains.get(path) != chain:
                    del reached[path]
                    yield self._stretch(path, chain, begin, at, path not in chains)
            for path, chain in chains.items():
                if path not in reached:
                    reached[path] = chain, at
        for path, (chain, begin) in reached.items():
            yield self._stretch(path, chain, begin, FOREVER, False)

    def _stretch(
        self, path: str, chain: tuple[int, ...], begin: int, until: int, ended: bool
    ) -> Stretch:
        """What an operation seals it seals before it takes the name away: `until` is included."""
        end = min(until, self._timeline.sequence)
        number, above = chain[-1], chain[-2]
        node = self._world.nodes[number]
        sealed = [each for each in node.versions if each.since <= end]
        first = [each for each in sealed if each.since <= begin][-1:]
        later = [each for each in sealed if each.since > begin]
        entries = (Entry(max(each.since, begin), each, number) for each in first + later)
        return Stretch(path, number, above, begin, until, ended, tuple(entries))

    def files(self) -> dict[str, list[Stretch]]:
        """Stretches by the paths that led to anything but a directory."""
        return {
            path: stretches for path, stretches in self.stretches.items() if not path.endswith("/")
        }

    def is_hidden(self, stretch: Stretch, entry: Entry = NO_VERSION) -> bool:
        return stretch.path in self._hidden and stretch.mark(entry) in self._world.erased

    def is_gone(self, stretch: Stretch) -> bool:
        """Whether all of its entries were erased."""
        node = self._world.nodes[stretch.number]
        if node.vanishes and not node.versions:
            return True
        return stretch.path in self._hidden and set(stretch.marks()) <= self._world.erased

    # --- entries ---------------------------------------------------------------------------------

    def history(self, path: str) -> list[Entry]:
        """The versions of a path, newest first; None if it never was, or all of it is gone."""
        found: list[Entry] = []
        deleted = False
        for stretch in reversed(self.stretches.get(path, [])):
            deleted = deleted or stretch.ended
            if self.is_gone(stretch):
                continue
            if deleted:
                found.append(Entry(stretch.until, None))
            deleted = False
            found += [
                entry for entry in reversed(stretch.entries) if not self.is_hidden(stretch, entry)
            ]
        return found

    def exists(self, path: str) -> bool:
        """Whether the path has any history, that of a symlink say."""
        return any(not self.is_gone(each) for each in self.stretches.get(path, []))

    def intervals(self, path: str) -> list[Interval]:
        """What is shown of a path, newest first, until when; names without a version too."""
        found: list[Interval] = []
        for stretch in reversed(self.stretches.get(path, [])):
            until = stretch.until
            for entry in reversed(stretch.entries):
                if not self.is_hidden(stretch, entry):
                    found.append(Interval(stretch, entry, entry.sequence, until))
                    until = entry.sequence
            if not stretch.entries and not self.is_hidden(stretch):
                found.append(Interval(stretch, NO_VERSION, stretch.begin, until))
        return found

    def is_pinned(self, interval: Interval) -> bool:
        return any(self._pin(interval, pin) for pin in self._pins)

    def _pin(self, interval: Interval, pin: Pin) -> bool:
        inside = interval.since <= pin.sequence < interval.until
        return inside and pin.covers(interval.stretch.path)

    def is_purged(self, node: Node, sealed: Sealed, *, now: bool = False) -> bool:
        """Whether a version is not kept any more: every entry that showed it when one was erased
        (`now`) was, or all of an inode that is gone."""
        if not self._world.erased or (node.state.nlink and sealed == node.versions[-1]):
            return False
        if sealed.since in node.purged:
            return True
        stretches = [each for each in self._files() if each.number == node.number]
        if stretches and not node.state.nlink and all(self.is_gone(each) for each in stretches):
            return True
        hidden = [
            self.is_hidden(stretch, entry)
            for stretch in stretches
            for entry in stretch.entries
            if entry.sealed == sealed
        ]
        return now and bool(hidden) and all(hidden)

    def has_one_path(self, number: int) -> bool:
        """Whether an inode never was, as far as anything tells, anywhere else."""
        every = (each for stretches in self.stretches.values() for each in stretches)
        left = [
            each
            for each in every
            if each.number == number
            and not (self.may_be_gone(each) if each.is_directory else self.is_gone(each))
        ]
        return len(left) <= 1

    def had_other_names(self, node: Node, above: int, name: str) -> bool:
        """Whether any other name of a file than this one ended and is still shown."""
        return any(
            (each.above, each.path.rpartition("/")[2]) != (above, name)
            for each in self._files()
            if each.number == node.number and each.until < FOREVER and not self.is_gone(each)
        )

    def _files(self) -> Iterator[Stretch]:
        for stretches in self.files().values():
            yield from stretches

    # --- moments ---------------------------------------------------------------------------------

    def at(self, sequence: int) -> Moment:
        """What a moment shows."""
        chains = chains_at(self._timeline, sequence)
        names: dict[int, dict[str, int]] = {ROOT: {}}
        optional: set[tuple[int, str]] = set()
        newest: dict[int, Sealed | None] = {}
        held: dict[int, list[Interval | None]] = {}
        for path, chain in chains.items():
            stretch = self._at(path, sequence)
            number, above, name = chain[-1], chain[-2], path.rstrip("/").rpartition("/")[2]
            if stretch.is_directory:
                names.setdefault(number, {})
                names.setdefault(above, {})[name] = number
                if self.may_be_gone(stretch):
                    optional.add((above, name))
                continue
            shown, original = self._shown(stretch, sequence)
            if shown is None:
                continue
            names.setdefault(above, {})[name] = number
            sealed, before = shown.entry.sealed, newest.get(number)
            if before is None or (sealed is not None and sealed.since > before.since):
                newest[number] = sealed
            held.setdefault(number, []).append(shown if original else None)
            if shown.entry == NO_VERSION and self._is_touched(stretch):
                optional.add((above, name))
        return Moment(names, optional, self._seen(sequence, names, newest, held))

    def _at(self, path: str, sequence: int) -> Stretch:
        return next(each for each in self.stretches[path] if each.begin <= sequence < each.until)

    def _shown(self, stretch: Stretch, sequence: int) -> tuple[Interval | None, bool]:
        """The entry that the path shows; whether it is what it always showed."""
        until, original = stretch.until, True
        for entry in reversed(stretch.entries):
            if not self.is_hidden(stretch, entry):
                if entry.sequence <= sequence:
                    return Interval(stretch, entry, entry.sequence, until), original
                until = entry.sequence
            elif entry.sequence <= sequence:
                original = False
        if self.is_gone(stretch) and not stretch.entries:
            return None, False
        if not original and not self._has_another_route(stretch):
            return None, False
        return Interval(stretch, NO_VERSION, stretch.begin, stretch.until), original

    def _is_touched(self, stretch: Stretch) -> bool:
        """Whether any of its entries was erased."""
        return any(mark in self._world.erased for mark in stretch.marks())

    def _has_another_route(self, stretch: Stretch) -> bool:
        """Whether a file that had no version when the stretch began was reached by the same name
        of its directory at another path before. The product may show it without bytes then where
        its first version was erased."""
        name = stretch.path.rpartition("/")[2]
        return (bool(stretch.entries) and stretch.entries[0].sequence > stretch.begin) and any(
            each.number == stretch.number
            and each.above == stretch.above
            and each.path.rpartition("/")[2] == name
            and each.begin < stretch.begin
            for each in self._files()
        )

    def may_be_gone(self, stretch: Stretch) -> bool:
        """Of a directory; see the module."""
        if not self._world.touched or stretch.until == FOREVER:
            return False
        whole = Interval(stretch, NO_VERSION, stretch.begin, stretch.until)
        if self.is_pinned(whole):
            return False
        for path, stretches in self.stretches.items():
            if not path.startswith(stretch.path) or path == stretch.path:
                continue
            for each in stretches:
                inside = stretch.begin <= each.begin and each.until <= stretch.until
                if inside and not each.is_directory and not self.is_gone(each):
                    return False
                if inside and each.is_directory and not self.may_be_gone(each):
                    return False
        return True

    def _seen(
        self,
        sequence: int,
        names: dict[int, dict[str, int]],
        newest: dict[int, Sealed | None],
        held: dict[int, list[Interval | None]],
    ) -> dict[int, Seen]:
        seen: dict[int, Seen] = {}
        for number in {ROOT, *(child for below in names.values() for child in below.values())}:
            node, sealed = self._world.nodes[number], newest.get(number)
            whole = [each for each in held.get(number, []) if each is not None]
            exact = number not in held or bool(whole)
            states = self._states(node, sequence, self._end(node, sequence), exact=exact)
            seen[number] = Seen(sealed.content if sealed else b"", states)
        return seen

    def _end(self, node: Node, sequence: int) -> int:
        """Where the version of a moment ends: the last attributes of each are kept."""
        kept = [each.since for each in node.versions if each.since not in node.purged]
        if not any(since <= sequence for since in kept):
            return FOREVER
        return min((since for since in kept if since > sequence), default=FOREVER)

    def _states(self, node: Node, sequence: int, until: int, *, exact: bool) -> tuple[State, ...]:
        pinned = any(pin.sequence == sequence for pin in self._pins)
        if exact and (sequence >= node.thinned or pinned):
            return (node.state_at(sequence),)
        eras = [era.state for era in node.eras if sequence < era.since <= until]
        return (node.state_at(sequence), *eras)

    def states_of(self, entry: Entry) -> tuple[State, ...]:
        """The states that an entry may show where it begins."""
        node = self._world.nodes[entry.number]
        return self._states(node, entry.sequence, self._end(node, entry.sequence), exact=True)


def chains_at(timeline: "Timeline", sequence: int) -> dict[str, tuple[int, ...]]:
    """The inodes along every path of a moment, as the past shows it; directories with a slash."""
    found = timeline.chains.get(sequence)
    if found is None:
        names = timeline.names_at(sequence)
        found = {}
        pending: list[tuple[str, tuple[int, ...]]] = [("", (ROOT,))]
        while pending:
            above, chain = pending.pop()
            for name, child in names[chain[-1]].items():
                path = above + name
                if child in names:
                    path += "/"
                    pending.append((path, (*chain, child)))
                found[path] = (*chain, child)
        timeline.chains[sequence] = found
    return found
