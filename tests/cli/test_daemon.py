"""Going into the background: the parent learns how it went, the log file takes the rest."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from objfs.base.errors import MountError, StoreHeld
from objfs.cli import daemon
from objfs.cli.daemon import LOG_FILE, LogFile, in_background

Ready = Callable[[], None]


def log_text(directory: Path) -> str:
    return (directory / "objfs.log").read_text()


def test_the_parent_goes_on_when_the_child_is_ready(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    may_end, end = os.pipe()

    def work(ready: Ready) -> None:
        ready()
        os.read(may_end, 1)  # still at work when the parent has gone on
        facts = [Path.cwd(), os.getsid(0) == os.getpid(), Path("/proc/self/comm").read_text()]
        os.write(1, b"printed\n")
        logging.getLogger("some").info("logged")
        os.write(writer, repr([str(fact) for fact in facts]).encode())

    in_background(tmp_path / "log", work)
    os.write(end, b"x")
    assert os.read(reader, 1000) == b"['/', 'True', 'objfs\\n']"
    os.wait()
    assert "INFO some: logged" in log_text(tmp_path / "log")
    assert "printed" in log_text(tmp_path / "log")
    for descriptor in (reader, writer, may_end, end):
        os.close(descriptor)


def test_an_error_before_that_is_the_parents(tmp_path: Path) -> None:
    def work(ready: Ready) -> None:
        raise StoreHeld("process 7 has it")

    with pytest.raises(MountError, match=r"^process 7 has it$"):
        in_background(tmp_path, work)
    assert "process 7 has it" in log_text(tmp_path)


def test_a_bug_before_that_is_told_too(tmp_path: Path) -> None:
    def work(ready: Ready) -> None:
        raise ZeroDivisionError("oh")

    with pytest.raises(MountError, match=r"ZeroDivisionError\('oh'\)\); .*objfs\.log says where"):
        in_background(tmp_path, work)
    assert "Traceback" in log_text(tmp_path)


def test_a_child_that_just_ends_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="without a word"):
        in_background(tmp_path, lambda ready: os._exit(0))


def test_an_error_afterwards_is_logged(tmp_path: Path) -> None:
    def work(ready: Ready) -> None:
        ready()
        raise StoreHeld("too late")

    in_background(tmp_path, work)
    _, status = os.wait()
    assert os.waitstatus_to_exitcode(status) == 1
    assert "too late" in log_text(tmp_path)


def test_the_log_file_is_bounded_and_keeps_the_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "LOG_FILE_BYTES_MAX", 500)
    monkeypatch.setattr(daemon, "LOG_FILES_KEPT", 2)
    saved = [os.dup(1), os.dup(2)]
    handler = LogFile(tmp_path / LOG_FILE)
    try:
        handler.take_standard_streams()
        logger = logging.Logger("test")
        logger.addHandler(handler)
        for number in range(100):
            logger.info("line %d", number)
        os.write(1, b"printed after the turn\n")
    finally:
        handler.close()
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
    assert sorted(os.listdir(tmp_path)) == ["objfs.log", "objfs.log.1", "objfs.log.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2000
    assert "printed after the turn" in log_text(tmp_path)
