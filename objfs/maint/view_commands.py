"""What who reads beside the owner of a store has to ask it."""

from objfs.base.errors import InvalidRequest
from objfs.volume.volume import Volume


async def settle_moment(
    volume: Volume, at_ns: int | None = None, snapshot: str | None = None
) -> dict[str, object]:
    """The sequence of a time, or of a snapshot. When it is answered, everything up to it is in the
    index for other processes to read, and is amended no more. InvalidRequest, NotFound."""
    sequence = sequence_of_moment(volume, at_ns, snapshot)
    volume.core.shown = max(volume.core.shown, sequence)
    volume.core.database.commit()
    return {"sequence": sequence}


def sequence_of_moment(volume: Volume, at_ns: int | None, snapshot: str | None) -> int:
    """The sequence of a time, or of a snapshot. InvalidRequest, NotFound."""
    if snapshot is not None:
        return volume.snapshots.snapshot(snapshot).sequence
    if at_ns is None:
        raise InvalidRequest("a time or a snapshot is needed")
    return volume.moment(at_ns)
