"""Going on in the background: a fork before any thread, database or FUSE session exists, a pipe on
which the child says that it is ready, or why not; and the log file that takes its words.

The parent returns when the child is ready: who waits for the command can use the mount.
"""

import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn

from objfs.base.errors import MountError, ObjfsError
from objfs.base.limits import LOG_FILE_BYTES_MAX, LOG_FILES_KEPT

LOG_FILE = "objfs.log"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
PROCESS_NAME = "objfs"
READY = b"ready"
STDIN, STDOUT, STDERR = 0, 1, 2

Work = Callable[[Callable[[], None]], None]


class LogFile(RotatingFileHandler):
    """The log file, bounded; takes standard output and error with it when it turns over."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        super().__init__(path, maxBytes=LOG_FILE_BYTES_MAX, backupCount=LOG_FILES_KEPT)
        self.setFormatter(logging.Formatter(LOG_FORMAT))

    def doRollover(self) -> None:
        super().doRollover()
        self.take_standard_streams()

    def take_standard_streams(self) -> None:
        """What is printed past the logging, by libraries and by a crash, lands here too."""
        assert self.stream is not None
        os.dup2(self.stream.fileno(), STDOUT)
        os.dup2(self.stream.fileno(), STDERR)


def log_to_stderr() -> None:
    """For a process that stays in the foreground."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, force=True)


def name_process() -> None:
    """So that ps and pgrep show objfs however it was started."""
    Path("/proc/self/comm").write_text(PROCESS_NAME)


def in_background(log_directory: Path, work: Work, log_file: str = LOG_FILE) -> None:
    """Run `work(ready)` in a process of its own; returns when that has called `ready()`. Raises
    what it said when it ended before."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_the_child(log_directory / log_file, work, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    if said != READY:
        os.waitpid(child, 0)
        log = log_directory / log_file
        reason = said.decode(errors="replace").removeprefix(READY.decode())
        raise MountError(reason or f"the background process ended without a word; see {log}")


def _be_the_child(log: Path, work: Work, pipe: int) -> NoReturn:
    def ready() -> None:
        os.write(pipe, READY)
        os.close(pipe)

    status = 1
    try:
        os.setsid()
        os.chdir("/")  # the directory it was started in may go away
        handler = LogFile(log)
        logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, STDIN)
        os.close(null)
        handler.take_standard_streams()
        name_process()
        work(ready)
        status = 0
    except ObjfsError as error:
        logging.getLogger(__name__).error("%s", error)
        _say(pipe, str(error))
    except BaseException as error:
        logging.getLogger(__name__).exception("ended unexpectedly")
        _say(pipe, f"it ended unexpectedly ({error!r}); {log} says where")
    finally:
        logging.shutdown()
        os._exit(status)  # nothing of the parent's is to be cleaned up twice


def _say(pipe: int, text: str) -> None:
    try:
        os.write(pipe, text.encode(errors="backslashreplace"))
    except OSError:
        logging.getLogger(__name__).info("nobody waits any more for this process to be ready")
