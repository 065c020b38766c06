"""The filesystem that does nothing, on objfs's waiter and behind its shim: what is left when
`bench.nothing_fs` is compared with objfs is objfs alone.

    python -m bench.nothing_waiting MOUNTPOINT    prints "ready", serves until unmounted
"""

import sys

from objfs.base.system import SystemClock
from objfs.fuse.waiter import install

# isort: split
# Only now: the shim has to be loaded before pyfuse3 is.
from bench.nothing_fs import main

if __name__ == "__main__":
    install(SystemClock())
    main(sys.argv[1])
