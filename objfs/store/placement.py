"""Placement: on which devices a segment lies. The log talks to devices only through it.

One device for now. Replication will write every append to several devices, and erasure coding
will read a byte range from one shard of many, behind these same methods.

Open files are kept, `OPEN_SEGMENT_FILES_MAX` of them. A file that falls out of the cache is closed
when nobody reads from it any more (its last reference goes), so threads need no lock here.
"""

from itertools import pairwise

from objfs.base.errors import StoreError
from objfs.base.limits import OPEN_SEGMENT_FILES_MAX
from objfs.store.device import Device, DeviceFile, Space
from objfs.store.format import SegmentKind
from objfs.store.segment import parse_segment_name, segment_name


class Placement:
    """Segments on one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kinds: dict[int, SegmentKind] = {}
        self._open: dict[int, DeviceFile] = {}

    def segments(self) -> list[tuple[int, SegmentKind]]:
        """Every segment there is, by rising id. Other names are left alone. StoreError when two
        files have one id."""
        parsed = map(parse_segment_name, self._device.names())
        found = sorted(segment for segment in parsed if segment is not None)
        for (one, _), (other, _) in pairwise(found):
            if one == other:
                raise StoreError(
                    f"there are two segments with the id {one:016x}, a journal and a bulk: an id "
                    "is never used twice, so move the one away that does not belong to the store"
                )
        self._kinds = dict(found)
        return found

    def names(self) -> dict[int, str]:
        """The segment files that the device holds now, by id. OSError."""
        found = ((parse_segment_name(name), name) for name in self._device.names())
        return {parsed[0]: name for parsed, name in found if parsed is not None}

    def create(self, segment: int, kind: SegmentKind) -> DeviceFile:
        """A new segment's file, writable. It has no durable name before `sync_names`."""
        file = self._device.create(segment_name(segment, kind))
        self._kinds[segment] = kind
        self._keep(segment, file)
        return file

    def open_writable(self, segment: int) -> DeviceFile:
        """An existing segment's file, for recovery. FileNotFoundError."""
        return self._device.open(self._name(segment), True)

    def reader(self, segment: int) -> DeviceFile:
        """A file to read from, kept open. FileNotFoundError."""
        file = self._open.pop(segment, None)
        if file is None:
            file = self._device.open(self._name(segment), False)
        self._keep(segment, file)
        return file

    def remove(self, segment: int) -> None:
        """The segment's name is gone; who reads from it goes on."""
        self._device.remove(self._name(segment))
        self.forget(segment)

    def forget(self, segment: int) -> str:
        """Nobody finds the segment any more; the name of its file, for `remove_file`."""
        name = self._name(segment)
        self._open.pop(segment, None)
        del self._kinds[segment]
        return name

    def remove_file(self, name: str) -> None:
        """A forgotten segment's file is gone, durably, when this returns. In any thread."""
        self._device.remove(name)
        self._device.sync_names()

    def sync_names(self) -> None:
        """Names created and removed so far survive a power cut when this returns."""
        self._device.sync_names()

    def space(self) -> Space:
        """How full the device is."""
        return self._device.space()

    def close(self) -> None:
        """Close what nobody else holds."""
        self._open.clear()

    def _name(self, segment: int) -> str:
        kind = self._kinds.get(segment)
        if kind is None:
            raise FileNotFoundError(f"segment {segment:016x}")
        return segment_name(segment, kind)

    def _keep(self, segment: int, file: DeviceFile) -> None:
        self._open[segment] = file
        while len(self._open) > OPEN_SEGMENT_FILES_MAX:
            self._open.pop(next(iter(self._open)), None)
