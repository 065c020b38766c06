"""The memory of a process that serves: how the C library and the interpreter keep it.

Promises nothing that can be seen but time: buffers of a megabyte are taken from the heap and go
back to it, instead of being mapped anew, page by page, for every piece of a body; and what a
program is made of (modules, classes, tables) is not walked through by the garbage collector again.
"""

import ctypes
import gc

from objfs.base.limits import HEAP_BUFFER_BYTES_MAX, HEAP_KEPT_BYTES

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h; mallopt(3)


def keep_heap() -> None:
    """Keep freed memory for the next buffer. Where the C library has no `mallopt`, nothing
    happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, HEAP_BUFFER_BYTES_MAX)
        mallopt(_M_TRIM_THRESHOLD, HEAP_KEPT_BYTES)


def freeze_program() -> None:
    """Leave what is there now out of later collections. To be called when all is imported."""
    gc.collect()
    gc.freeze()
