"""Commands about background work."""

from objfs.maint.jobs import scheduler_of
from objfs.volume.volume import Volume


async def background_status(volume: Volume) -> dict[str, object]:
    """The jobs, when they are due and how they went."""
    return scheduler_of(volume).status()


async def background_pause(volume: Volume) -> dict[str, object]:
    """No job begins or goes on until `background_resume`."""
    scheduler_of(volume).pause()
    return scheduler_of(volume).status()


async def background_resume(volume: Volume) -> dict[str, object]:
    """Undoes `background_pause`."""
    scheduler_of(volume).resume()
    return scheduler_of(volume).status()
