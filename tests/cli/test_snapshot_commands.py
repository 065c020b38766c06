"""`objfs snapshot`, with nothing mounted."""

from pathlib import Path

from tests.cli.conftest import CommandLine, put


def test_create_list_delete(objfs: CommandLine, store: Path) -> None:
    put(store, b"a", b"data")
    made = objfs("snapshot", "create", store, "one", "--json").json
    assert made["bucket"] is None
    assert objfs("snapshot", "create", f"{store}:main", "two").out == (
        "made snapshot two of bucket main\n"
    )
    objfs("snapshot", "create", f"{store}:main/a", "three")
    listed = objfs("snapshot", "list", store, "--json").json["snapshots"]
    assert [(each["name"], each["bucket"], each["prefix"]) for each in listed] == [
        ("one", None, ""),
        ("two", "main", ""),
        ("three", "main", "a"),
    ]
    assert listed[0] == made
    table = objfs("snapshot", "list", store).out.splitlines()
    assert table[1].endswith("the whole store")
    assert objfs("snapshot", "delete", store, "two").status == 0
    assert len(objfs("snapshot", "list", store, "--json").json["snapshots"]) == 2


def test_errors_say_what_to_do(objfs: CommandLine, store: Path) -> None:
    objfs("snapshot", "create", store, "one")
    assert "take another name" in objfs("snapshot", "create", store, "one").err
    assert "cannot be the name" in objfs("snapshot", "create", store, "a/b").err
    assert "snapshot list" in objfs("snapshot", "delete", store, "two").err
    assert objfs("snapshot", "create", f"{store}:main/none", "x").status == 1
    assert objfs("snapshot", "create", f"{store}:other", "x").status == 1
