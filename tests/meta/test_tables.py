"""The tables: their identities are fixed, their keys and columns are what rows have."""

import pytest
from hypothesis import given, settings

from objfs.meta import rows
from objfs.meta.rows import Row, RowWithBlobs
from objfs.meta.tables import (
    DENTRY,
    EXTENT_PAST,
    TABLE_BY_ID,
    TABLES,
    AnyRow,
    integers_fit,
    table_of,
)
from tests.meta.examples import any_row, dentry, inode


def test_ids_are_fixed() -> None:
    """They are in logs. A new table gets a new id; a row of this list never changes."""
    assert {table.name: table.id for table in TABLES} == {
        "bucket": 1,
        "usage": 2,
        "inode": 3,
        "inode_past": 4,
        "xattr": 5,
        "dentry": 6,
        "dentry_past": 7,
        "version": 8,
        "extent": 9,
        "extent_past": 10,
        "marker": 11,
        "erased": 12,
        "snapshot": 13,
        "orphan": 14,
        "setting": 15,
        "moment": 16,
        "unsealed": 17,
        "purge": 18,
        "retention": 19,
        "sweep": 20,
        "principal": 21,
        "access_key": 22,
        "policy": 23,
        "policy_version": 24,
        "provider": 25,
        "upload": 28,
        "part": 29,
        "ended_upload": 30,
    }
    assert all(TABLE_BY_ID[table.id] is table for table in TABLES)


def test_every_row_type_has_its_table() -> None:
    kinds = {
        kind
        for kind in vars(rows).values()
        if isinstance(kind, type) and issubclass(kind, Row | RowWithBlobs)
    }
    assert kinds - {Row, RowWithBlobs} == {table.row for table in TABLES}


@settings(max_examples=30)
@given(any_row)
def test_keys_and_columns_are_tuples_of_the_rows_values(row: AnyRow) -> None:
    table = table_of(row)
    assert table.key_of(row) == tuple(getattr(row, name) for name in table.key)
    assert table.columns_of(row) == tuple(getattr(row, name) for name in table.columns)
    for order in table.orders.values():
        assert order.of(row) == tuple(getattr(row, name) for name in order.columns)
        assert set(table.key) <= set(order.columns) <= set(table.columns)


def test_orders_are_total() -> None:
    assert DENTRY.orders["ino"].columns == ("ino", "parent", "key")
    assert DENTRY.orders["cookie"].columns == ("parent", "cookie", "key")
    assert EXTENT_PAST.orders["segment"].columns == ("segment", "content", "offset", "until")
    assert DENTRY.orders[None].columns == DENTRY.key == ("parent", "key")


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_integers_that_do_not_fit_are_found(value: int) -> None:
    good = dentry((1 << 63) - 1, b"a", -(1 << 63))
    assert integers_fit([(DENTRY, DENTRY.key_of(good), good)])
    for bad in (dentry(value, b"a", 5), dentry(1, b"a", value), dentry(1, b"a", 5, value)):
        assert not integers_fit([(DENTRY, DENTRY.key_of(bad), bad)])
    assert not integers_fit([(DENTRY, (value, b"a"), None)])
    assert integers_fit([(table_of(inode(1)), (1,), inode(1, rdev=value))])  # in the blob only
