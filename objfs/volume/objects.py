"""Objects: the verbs of S3 over the same versioned files as the mount's (DESIGN 4, 5, 9).

An object is a key with entries (`object_entries.py`); reading is in `object_reading.py`, what gives
a key a new object in `object_writing.py`. Bucket names are text, keys bytes.
"""

from collections.abc import Awaitable, Callable

from objfs.volume.buckets import Buckets
from objfs.volume.core import Core
from objfs.volume.erasing import Erasing
from objfs.volume.forgetting import Forgetting
from objfs.volume.history import History
from objfs.volume.object_amending import ObjectAmending
from objfs.volume.object_buckets import ObjectBuckets
from objfs.volume.object_deleting import ObjectDeleting
from objfs.volume.object_expiring import ObjectExpiring
from objfs.volume.object_reading import ObjectReading
from objfs.volume.object_writing import ObjectWriting
from objfs.volume.reading import Reader
from objfs.volume.writeback import Writeback


class Objects:
    """The verbs of objects."""

    def __init__(
        self,
        core: Core,
        history: History,
        reader: Reader,
        writeback: Writeback,
        erasing: Erasing,
        buckets: Buckets,
        seen: Callable[[], Awaitable[None]],
    ) -> None:
        self.reading = reading = ObjectReading(core, history, reader)
        self.writing = writing = ObjectWriting(core, writeback, reading, seen)
        self.head = reading.head
        self.open = reading.open
        self.versions = reading.versions
        self.put = writing.put
        self.amend = ObjectAmending(core, reading).amend
        forget = Forgetting(core, history, erasing).forget
        self.delete_bucket = ObjectBuckets(core, reading, buckets, forget).delete_bucket
        self.delete = ObjectDeleting(core, reading, writing, erasing, seen).delete
        self.expire = ObjectExpiring(core, reading, erasing).expire
        self.copy = writing.copy
