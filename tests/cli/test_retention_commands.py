"""`objfs retention`: rules given, shown, taken away; wrong ones refused."""

import os
from pathlib import Path

import pytest

from objfs.cli.retention_commands import duration_text
from tests.cli.conftest import CommandLine, put, version_ids


def rules_of(objfs: CommandLine, store: Path) -> dict[tuple[str | None, str], dict[str, object]]:
    shown = objfs("retention", "show", store, "--json").json["retention"]
    return {(each["bucket"], each["prefix"]): each["rules"] for each in shown}


def test_rules_of_a_store_a_bucket_and_a_path(objfs: CommandLine, store: Path) -> None:
    """S10.1"""
    assert "everything is kept" in objfs("retention", "show", store).out
    assert objfs("retention", "set", store, "--keep-for", "30d", "--daily", 7).status == 0
    assert objfs("retention", "set", f"{store}:main", "--keep-last", 5).status == 0
    assert objfs("retention", "set", f"{store}:main/a/b/", "--keep-all").status == 0
    assert rules_of(objfs, store) == {
        (None, ""): {"keep_for_seconds": 30 * 86400, "daily": 7},
        ("main", ""): {"keep_last": 5},
        ("main", "a/b"): {"keep_all": True},
    }
    table = objfs("retention", "show", store).out.splitlines()
    assert table[1].split() == ["(all)", "/", "for", "30d,", "7", "daily"]
    assert objfs("retention", "set", f"{store}:main", "--deleted-days", 9).status == 0
    assert objfs("retention", "remove", f"{store}:main/a/b").status == 0
    assert rules_of(objfs, store)["main", ""] == {"keep_all": True, "deleted_days": 9}
    assert ("main", "a/b") not in rules_of(objfs, store)
    assert "retention show" in objfs("retention", "remove", f"{store}:main/a/b").err


def test_every_rule_has_its_option(objfs: CommandLine, store: Path) -> None:
    given = "--keep-for 1y2w3d4h5m6s --keep-last 1 --hourly 2 --daily 3 --weekly 4 --monthly 5"
    more = "--yearly 6 --deleted-days 7 --json"
    answer = objfs("retention", "set", f"{store}:main", *given.split(), *more.split()).json
    assert answer["rules"] == {
        "keep_for_seconds": 365 * 86400 + 17 * 86400 + 4 * 3600 + 5 * 60 + 6,
        "keep_last": 1,
        "hourly": 2,
        "daily": 3,
        "weekly": 4,
        "monthly": 5,
        "yearly": 6,
        "deleted_days": 7,
    }
    assert duration_text(answer["rules"]["keep_for_seconds"]) == "1y17d4h5m6s"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), 2),
        (("--keep-for", "soon"), 2),
        (("--keep-for", "0d"), 2),
        (("--keep-for", "d"), 2),
        (("--keep-for", "9999999y"), 2),
        (("--keep-last", "-1"), 2),
        (("--daily", "many"), 2),
        (("--deleted-days", "0"), 2),
        (("--keep-all", "--daily", "3"), 1),
    ],
)
def test_malformed_rules_are_refused(
    objfs: CommandLine, store: Path, arguments: tuple[str, ...], status: int
) -> None:
    """S10.1"""
    ran = objfs("retention", "set", store, *arguments)
    assert ran.status == status
    assert ran.err
    assert rules_of(objfs, store) == {}


def test_targets_that_are_none(objfs: CommandLine, store: Path, tmp_path: Path) -> None:
    for target in (f"{store}:none", tmp_path / "nothing", f"{store}:main/a/../b//c"):
        ran = objfs("retention", "set", target, "--daily", 3)
        if ran.status == 0:
            assert (None, "") not in rules_of(objfs, store)
            assert rules_of(objfs, store).keys() == {("main", "b/c")}
        else:
            assert ran.status == 1
    long = "x" * 300
    assert objfs("retention", "set", f"{store}:main/{long}", "--daily", 3).status == 1
    assert os.listdir(store)


def test_apply_says_what_would_go_and_then_does_it(objfs: CommandLine, store: Path) -> None:
    """S10.6"""
    put(store, b"a", b"one", b"three", b"fifteen")
    assert objfs("retention", "apply", store).out.startswith("0 entries of 0 paths went")
    assert objfs("retention", "set", store, "--keep-last", 1).status == 0
    dry = objfs("retention", "apply", store, "--dry-run", "--json").json
    assert (dry["entries"], dry["versions"], dry["bytes"]) == (2, 2, 8)
    assert len(version_ids(objfs, f"{store}:main/a")) == 3
    assert "would go: 2 versions of 8 bytes" in objfs("retention", "apply", store, "--dry-run").out
    assert objfs("retention", "apply", store, "--json").json == dry | {"dry_run": False}
    assert len(version_ids(objfs, f"{store}:main/a")) == 1
    assert objfs("retention", "apply", store, "--json").json["entries"] == 0


def test_apply_says_what_snapshots_keep(objfs: CommandLine, store: Path) -> None:
    """S10.4"""
    put(store, b"a", b"one")
    assert objfs("snapshot", "create", store, "monday").status == 0
    put(store, b"a", b"two", b"three")
    assert objfs("retention", "set", f"{store}:main", "--keep-last", 1).status == 0
    ran = objfs("retention", "apply", store)
    assert "1 entries of 1 paths went" in ran.out
    assert "1 more are kept by snapshots only: monday (1)" in ran.out
    assert len(version_ids(objfs, f"{store}:main/a")) == 2
