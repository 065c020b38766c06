"""The S3 door: from a request to the verbs of the volume, and back to a response."""

from objfs.base.ports import Clock
from objfs.s3.http import Request, Response
from objfs.volume.volume import Volume

HEALTH = b"/.objfs/health"


class Door:
    """The handler of a volume's requests."""

    def __init__(self, volume: Volume, clock: Clock) -> None:
        self._volume = volume
        self._clock = clock

    async def __call__(self, request: Request) -> Response:
        """The answer to any request; never an error."""
        if request.path == HEALTH and request.method in {"GET", "HEAD"}:
            return Response(200, [("Content-Type", "text/plain")], b"ok\n")
        return Response(501)
