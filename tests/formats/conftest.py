"""The command line, for golden stores."""

from tests.cli.conftest import objfs

__all__ = ["objfs"]
