"""The S3 door: from a request to the verbs of the volume, and back to a response."""

from typing import NamedTuple

from objfs.base.ports import Clock
from objfs.s3.errors import S3Error
from objfs.s3.http import Request, Response
from objfs.volume.volume import Volume

REGION = "us-east-1"  # what clients assume who were told nothing


class DoorSettings(NamedTuple):
    """What a user may set about the door."""

    region: str = REGION
    domains: tuple[str, ...] = ()  # names below which buckets are host names
    public_metrics: bool = False


class Door:
    """The handler of a volume's requests."""

    def __init__(self, volume: Volume, clock: Clock, settings: DoorSettings) -> None:
        self._volume = volume
        self._clock = clock
        self._settings = settings

    async def __call__(self, request: Request) -> Response:
        """The answer; what goes wrong is raised."""
        raise S3Error("NotImplemented", "The operations of S3 are not there yet.")
