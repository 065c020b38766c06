"""Which background jobs a volume has. A part that has one adds a function to `JOBS`."""

from collections.abc import Callable

from objfs.maint.compaction import compaction_job
from objfs.maint.lifecycle import lifecycle_job
from objfs.maint.merging import merging_job
from objfs.maint.retention import retention_job
from objfs.maint.scheduler import Job, Scheduler
from objfs.maint.scrub import scrub_job
from objfs.volume.volume import Volume

JOBS: tuple[Callable[[Volume], Job], ...] = (
    compaction_job,
    lifecycle_job,
    merging_job,
    retention_job,
    scrub_job,
)


def scheduler_of(volume: Volume) -> Scheduler:
    """The scheduler of a volume, made when it is first asked for."""
    if isinstance(volume.jobs, Scheduler):
        return volume.jobs
    volume.jobs = scheduler = Scheduler(volume.core)
    for make in JOBS:
        scheduler.add(make(volume))
    return scheduler
