"""The shim is compiled once, and nothing breaks where it cannot be."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from objfs.fuse import shim


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a process that has not loaded pyfuse3, with an empty place for the shim."""
    monkeypatch.delitem(sys.modules, "pyfuse3", raising=False)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_it_is_compiled_once(fresh: Path) -> None:
    loaded = shim.load()
    assert loaded.granted == 0  # nothing is mounted
    (path,) = (fresh / "objfs").iterdir()
    before = path.stat()
    assert shim.compiled(fresh / "objfs") == path
    assert path.stat() == before


def test_without_a_compiler_there_is_none(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PATH", str(fresh))
    assert shim.load().granted == 0
    assert "no shim could be compiled" in caplog.text
    assert not list((fresh / "objfs").iterdir())


def test_a_compiler_that_fails_leaves_nothing(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim, "SOURCE", "this is no C")
    with pytest.raises(subprocess.CalledProcessError):
        shim.compiled(fresh)
    assert not list(fresh.iterdir())


def test_it_cannot_get_between_any_more_once_pyfuse3_is_there(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyfuse3", sys)
    assert shim.load().granted == 0
    assert not list(fresh.iterdir())
