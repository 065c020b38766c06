"""The pages in `docs/format/` say what the code does."""

from pathlib import Path
from typing import Any, get_type_hints

from objfs.meta.engine import INDEX_VERSION
from objfs.meta.rows import Dentry, Inode
from objfs.meta.sqlite import SqliteEngine
from objfs.meta.sqlite_file import APPLICATION_ID
from objfs.meta.tables import DENTRY, TABLES, Table
from tests.meta.test_engine_contract import put

PAGES = Path(__file__).parents[2] / "docs" / "format"
WORDS = {int: "int", bytes: "bin", str: "str", bool: "bool", Inode: "inode"}


def word(kind: Any) -> str:
    return WORDS.get(kind) or str(kind).replace("bytes", "bin").replace(" | None", "?")


def line(table: Table[Any]) -> str:
    hints = get_type_hints(table.row)
    fields = [f"{name}: {word(hints[name])}" for name in table.row.__struct_fields__]
    key, others = fields[: len(table.key)], fields[len(table.key) :]
    return f"| {table.id} | {table.name} | {', '.join(key)} | {', '.join(others)} |"


def test_the_page_of_meta_records_has_every_table_as_it_is() -> None:
    lines = (PAGES / "meta-record.md").read_text().splitlines()
    start = next(n for n, text in enumerate(lines) if text.startswith("|---:|"))
    assert lines[start + 1 : start + 1 + len(TABLES)] == [line(table) for table in TABLES]
    assert not lines[start + 1 + len(TABLES)]


def test_the_page_of_the_index_has_every_secondary_index() -> None:
    text = (PAGES / "index.md").read_text()
    for table in TABLES:
        for index in table.indexes:
            fields = ", ".join(index.fields)
            assert f"| {table.name} | `{table.name}_{index.name}` | {fields}" in text
    assert f"`{APPLICATION_ID:#x}`" in text
    assert f"| {INDEX_VERSION}, the version of this page |" in text


def test_the_example_of_the_index_page_is_right(sqlite: SqliteEngine) -> None:
    put(sqlite, Dentry(256, b"a.txt", 512, 2, 512))
    sqlite.commit()
    row = sqlite._connection.execute(
        "SELECT parent, CAST(key AS TEXT), ino, cookie, hex(row) FROM dentry"
    ).fetchone()
    assert "|".join(map(str, row)) in (PAGES / "index.md").read_text()
    assert len(sqlite.scan(DENTRY)) == 1


def test_the_example_of_the_meta_page_is_the_tested_one() -> None:
    example = (PAGES / "meta-record.md").read_text().split("38 bytes:")[1].split("```")[1]
    tested = (Path(__file__).parent / "test_change_record.py").read_text()
    found = [part for text in example.splitlines() for part in text[:34].split() if len(part) == 2]
    digits = " ".join(part for part in found if all(c in "0123456789abcdef" for c in part))
    joined = tested.replace('"\n        "', "")
    assert digits in joined
