"""The mount: what the kernel asks, translated into the volume's verbs.

`operations.py` says what each call means, `errors.py` what each error is called; `binding.py`
speaks pyfuse3's types, `waiter.py` waits for requests, `mount.py` mounts and unmounts. Importing
the package loads the shim, which has to be in the process before pyfuse3 is.
"""

from objfs.fuse.shim import load

SHIM = load()
