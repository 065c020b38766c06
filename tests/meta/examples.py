"""Rows for tests: simple ones by hand, all sorts through hypothesis."""

from typing import Any, get_type_hints

from hypothesis import strategies as st

from objfs.meta.rows import Dentry, Extent, Inode, Version
from objfs.meta.tables import TABLES, AnyRow, KeyValue, Table

# Few values, so that keys meet; their order is not one that a wrong comparison would give too.
INTEGERS = (1, 2, 256, (1 << 63) - 1)
BLOBS = (b"", b"a", b"a\x00", b"a-", b"a/", b"\xff")
TEXTS = ("", "Z", "a\x00", "é", "\uffff", "\U0001f600")
POOLS: dict[object, tuple[Any, ...]] = {
    int: INTEGERS,
    bytes: BLOBS,
    str: TEXTS,
    bool: (False, True),
    bytes | None: (None, b"", b"target"),
    str | None: (None, "", "owner"),
    dict[str, bytes]: ({}, {"k": b"v"}),
    dict[str, str]: ({}, {"a": "b"}),
    list[int]: ([], [5, 6]),
    list[str]: ([], ["a", "b"]),
    dict[bytes, bytes]: ({}, {b"user.k": b"v", b"user.l": b""}),
    dict[str, bytes] | None: (None, {"md5": b"\x00" * 16}),
    dict[str, str] | None: (None, {"a": "b"}),
    list[int] | None: (None, [5, 6]),
}


def inode(ino: int, **fields: Any) -> Inode:
    """An empty regular file."""
    row = dict.fromkeys(Inode.__struct_fields__, 0)
    row |= {"ino": ino, "bucket": 1, "mode": 0o100644, "nlink": 1}
    return Inode(**row | {"target": None, "has_xattrs": False, "given": False} | fields)


def dentry(parent: int, key: bytes, ino: int, cookie: int = 0) -> Dentry:
    return Dentry(parent, key, ino, 1, cookie)


def version(ino: int, sealed: int, size: int) -> Version:
    return Version(ino, sealed, ino, 0, size, size, 0)


def extent(content: int, offset: int, segment: int) -> Extent:
    return Extent(content, offset, 10, segment, 64, 100, 0, 7, 1)


def rows_of(table: Table[Any]) -> st.SearchStrategy[AnyRow]:
    """Any row of a table, from the pools."""
    hints = get_type_hints(table.row)
    fields = [
        st.just(inode(1)) if hints[name] is Inode else st.sampled_from(POOLS[hints[name]])
        for name in table.row.__struct_fields__
    ]
    return st.builds(table.row, *fields)


# One example stays with few tables, so that reads meet writes.
some_tables = st.lists(st.sampled_from(TABLES), min_size=1, max_size=2)
any_table = st.shared(some_tables, key="tables").flatmap(st.sampled_from)
any_row = any_table.flatmap(rows_of)


def values_of(table: Table[Any], column: str) -> st.SearchStrategy[KeyValue]:
    return st.sampled_from(POOLS[table.column_types[column]])


@st.composite
def any_key(draw: st.DrawFn) -> tuple[Table[Any], tuple[KeyValue, ...]]:
    table = draw(any_table)
    return table, tuple(draw(values_of(table, column)) for column in table.key)


@st.composite
def any_scan(draw: st.DrawFn) -> tuple[Table[Any], tuple[KeyValue, ...], dict[str, Any]]:
    """Arguments of a scan."""
    table = draw(any_table)
    order = table.orders[draw(st.sampled_from(list(table.orders)))]
    width = draw(st.sampled_from((0, 0, 1, len(order.columns) - 1, len(order.columns))))
    prefix = tuple(draw(values_of(table, column)) for column in order.columns[:width])
    options: dict[str, Any] = {"index": order.name or None}
    if width < len(order.columns):
        bound = st.none() | values_of(table, order.columns[width])
        options |= {"lower": draw(bound), "upper": draw(bound)}
    options["limit"] = draw(st.sampled_from((None, 0, 1, 3)))
    options["reverse"] = draw(st.booleans())
    return table, prefix, options
