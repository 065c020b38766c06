"""What may be mounted on, and with which options; no mount is made here."""

import os
from pathlib import Path

import pytest

from objfs.base.errors import InvalidRequest, MountError
from objfs.cli import mount_point, mountinfo
from objfs.cli.mount_options import AskedOptions, parse_options
from objfs.cli.mount_point import prepare_mount_point
from objfs.cli.mountinfo import Mount
from tests.cli.conftest import CommandLine


def test_a_good_mount_point_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drive").mkdir()
    (tmp_path / "link").symlink_to("drive")
    monkeypatch.chdir(tmp_path)
    for name in ("drive", "drive/", "link", "./link/../drive"):
        assert prepare_mount_point(name, tmp_path / "store", False) == tmp_path / "drive"


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("none", "is missing; make it with: mkdir"),
        ("file", "has to be a directory"),
        ("file/below", "is no directory"),
        ("full", "not empty"),
        ("store/log", "lies in the store"),
        ("store", "not empty"),
        ("above", "would be hidden"),
    ],
)
def test_a_bad_mount_point_says_what_to_do(tmp_path: Path, point: str, message: str) -> None:
    store = tmp_path / "above/store" if point == "above" else tmp_path / "store"
    (store / "log").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match=message):
        prepare_mount_point(str(tmp_path / point), store, point == "above")


def test_a_full_directory_if_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    assert prepare_mount_point(str(tmp_path / "full"), tmp_path / "store", True)


def test_another_file_system_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MountError, match=r"busy: .*proc.* is mounted there"):
        prepare_mount_point("/proc", tmp_path, False)


def test_a_dead_mount_of_ours_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drive").mkdir()
    point = os.fsencode(tmp_path / "drive")
    dead = Mount(point, b"/", mountinfo.FILESYSTEM, b"/no/store", "0:99")
    monkeypatch.setattr(mountinfo, "read_mounts", lambda: [dead])
    taken: list[tuple[bytes, bool]] = []
    monkeypatch.setattr(
        mount_point, "kernel_unmount", lambda point, lazy: taken.append((point, lazy))
    )
    prepare_mount_point(str(tmp_path / "drive"), tmp_path / "store", False)
    assert taken == [(point, True)]


def test_options_as_mount_takes_them() -> None:
    options = parse_options(["ro,noatime,x-systemd.automount", "nodev,_netdev,,"], False, True)
    assert options == AskedOptions(True, True, False, ("noatime", "nodev"))
    assert parse_options(["rw,nonempty,allow_other"], True, False) == AskedOptions(
        False, True, True, ()
    )


def test_an_option_that_nobody_knows() -> None:
    with pytest.raises(InvalidRequest, match="-o allow_others: there is no such option"):
        parse_options(["ro,allow_others"], False, False)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{store}", "{tmp}/none"], 1, "mount point is missing"),
        (["{tmp}/none", "{tmp}"], 1, "no such directory"),
        (["{tmp}", "{tmp}"], 1, "no objfs store"),
        (["{tmp}/none:main", "{tmp}"], 1, "no such directory"),
        (["{store}:photos", "{tmp}/drive", "--all-buckets"], 2, "STORE alone"),
        (["{store}", "{tmp}/drive", "-o", "wrong"], 2, "no such option"),
    ],
)
def test_the_command_checks_before_it_mounts(
    objfs: CommandLine,
    store: Path,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    (tmp_path / "drive").mkdir()
    ran = objfs("mount", *(each.format(store=store, tmp=tmp_path) for each in arguments))
    assert (ran.status, ran.out) == (status, "")
    assert message in ran.err


@pytest.mark.parametrize(
    ("point", "message"),
    [("/proc", "no objfs mount but proc"), ("/nothing/there", "nothing is mounted there")],
)
def test_umount_of_something_else(objfs: CommandLine, point: str, message: str) -> None:
    ran = objfs("umount", point)
    assert ran.status == 1
    assert message in ran.err
