"""objfs.toml: written, read back, and refused with a remedy when it is not what it should be."""

import re
import tomllib
import uuid
from pathlib import Path

import pytest

from objfs.base.errors import AlreadyExists, NewerFormat, NotAStore
from objfs.base.settings import Settings
from objfs.base.system import SystemClock, SystemRandomness
from objfs.cli.store_directory import (
    StoreDirectory,
    create_store,
    describe,
    is_store,
    read_store,
)

GOOD = describe(uuid.UUID(int=5).bytes, 0, Settings())


def make(path: Path, settings: Settings | None = None) -> StoreDirectory:
    return create_store(path, SystemClock(), SystemRandomness(), settings)


def test_a_new_store_reads_back_as_it_was_made(tmp_path: Path) -> None:
    settings = Settings(segment_bytes=2 << 20, compression="none")
    made = make(tmp_path / "deep/store", settings)
    assert read_store(tmp_path / "deep/store") == made
    assert made.settings == settings
    assert is_store(made.path)
    assert {entry.name for entry in made.path.iterdir()} == {
        "objfs.toml",
        "segments",
        "index",
        "log",
    }
    assert made.segments.stat().st_mode & 0o777 == 0o700


def test_defaults_are_shown_as_comments() -> None:
    text = describe(uuid.UUID(int=5).bytes, 0, Settings(dirty_bytes=77))
    assert tomllib.loads(text)["settings"] == {"dirty_bytes": 77}
    assert "# segment_bytes = 268435456" in text


def test_an_empty_directory_will_do_and_a_new_file_systems_too(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert make(tmp_path).path == tmp_path


def test_init_refuses_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AlreadyExists, match="is not empty"):
        make(tmp_path)
    with pytest.raises(AlreadyExists, match="something else"):
        make(tmp_path / "file")
    make(tmp_path / "store")
    with pytest.raises(AlreadyExists, match="is a store already"):
        make(tmp_path / "store")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAStore, match=r"no such directory.*objfs init"):
        read_store(tmp_path / "none")
    with pytest.raises(NotAStore, match=r"no objfs store, it has no objfs\.toml"):
        read_store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotAStore, match="no directory"):
        read_store(tmp_path / "file")
    assert not is_store(tmp_path)


def test_a_lost_description_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    assert is_store(tmp_path)
    with pytest.raises(NotAStore, match=re.escape(f"`objfs rebuild {tmp_path}`")):
        read_store(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = ", "this is no TOML"),
        ("\udcff", "this is no TOML"),
        ("", "`format` must be 1"),
        ('format = "1"', "`format` must be 1"),
        ("format = 0", "`format` must be 1"),
        ("format = 1", "must be the store's UUID"),
        ('format = 1\nstore = "x"', "must be the store's UUID"),
        ("format = 1\nstore = 5", "must be the store's UUID"),
        (GOOD.replace("[settings]", "[setings]"), "nothing is called 'setings'"),
        (GOOD + "speed = 3\n", "there is no setting 'speed'"),
        (GOOD + "segment_bytes = 'big'\n", "Expected `int`"),
        (GOOD + "segment_bytes = 5\n", "segment_bytes must be 1048576 to"),
        (GOOD + "compression = 'lzma'\n", "Invalid enum value 'lzma'"),
        (GOOD + "compression_level = 0\n", "compression_level must be 1 to 22"),
        (GOOD + "dirty_bytes = 0\n", "dirty_bytes must be more than 0"),
        (GOOD + "reserve_bytes = -1\n", "reserve_bytes must not be negative"),
        ("settings = 3\n" + GOOD.replace("[settings]", ""), "must be a table"),
    ],
)
def test_a_damaged_description_is_refused_and_left_alone(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "objfs.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(NotAStore, match=re.escape(message)):
        read_store(tmp_path)
    assert file.read_bytes() == text.encode(errors="surrogateescape")


def test_a_store_of_a_later_objfs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "objfs.toml").write_text(GOOD.replace("format = 1", "format = 2"))
    with pytest.raises(NewerFormat, match="format 2 and this objfs knows up to 1"):
        read_store(tmp_path)
