"""objfs: a drive that never forgets."""

__version__ = "0.1.0"
