"""The payload of a META record: the row images of one change. Pure; docs/format/meta-record.md.

    payload = msgpack [time_ns, puts, deletes]
    puts    = [[table id, row], ...]          a row is the array of its struct's fields
    deletes = [[table id, [key, ...]], ...]

Decoding is strict: what does not have exactly these types is DataLost, a table id that this version
does not know is NewerFormat. Neither is ever passed over: half a change is worse than none.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from objfs.base.errors import DataLost, NewerFormat
from objfs.meta.engine import Changed
from objfs.meta.tables import TABLE_BY_ID, TABLES, Key, integers_fit

_Entries = list[tuple[int, msgspec.Raw]]


class ChangeRecord(NamedTuple):
    """One change, decoded. A key occurs at most once."""

    time_ns: int
    changes: list[Changed]


_encode = msgspec.msgpack.Encoder().encode
_outer = msgspec.msgpack.Decoder(tuple[int, _Entries, _Entries])
_row_decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
    table.id: msgspec.msgpack.Decoder(table.row) for table in TABLES
}
_key_decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
    table.id: msgspec.msgpack.Decoder(tuple[table.key_types])  # type: ignore[name-defined]
    for table in TABLES
}


def encode_change(time_ns: int, changes: Iterable[Changed]) -> bytes:
    """The payload of the META record of these changes."""
    puts: list[tuple[int, object]] = []
    deletes: list[tuple[int, Key]] = []
    for table, key, row in changes:
        if row is None:
            deletes.append((table.id, key))
        else:
            puts.append((table.id, row))
    return _encode((time_ns, puts, deletes))


def decode_change(payload: bytes, sequence: int) -> ChangeRecord:
    """What `encode_change` was given. `sequence` is for the message only.

    Raises DataLost when the payload is malformed and NewerFormat when it has a table that this
    version of objfs does not know.
    """
    try:
        time_ns, puts, deletes = _outer.decode(payload)
        changes: list[Changed] = [_decode_put(table_id, raw) for table_id, raw in puts]
        changes += [_decode_delete(table_id, raw) for table_id, raw in deletes]
    except msgspec.MsgspecError as error:
        raise DataLost(
            f"META {sequence} verifies but is no change of an index: {error}; "
            "it was not written by objfs, or by one with a defect"
        ) from error
    except KeyError as error:
        raise NewerFormat(
            f"META {sequence} changes table {error.args[0]}, which this version of objfs does not "
            "know: open the store with the version that wrote it"
        ) from None
    _check(sequence, changes)
    return ChangeRecord(time_ns, changes)


def _decode_put(table_id: int, raw: msgspec.Raw) -> Changed:
    table = TABLE_BY_ID[table_id]
    row = _row_decoders[table_id].decode(raw)
    return table, table.key_of(row), row


def _decode_delete(table_id: int, raw: msgspec.Raw) -> Changed:
    table = TABLE_BY_ID[table_id]
    return table, _key_decoders[table_id].decode(raw), None


def _check(sequence: int, changes: Sequence[Changed]) -> None:
    """Integers in keys and indexes fit an engine's columns, and no key occurs twice."""
    if not integers_fit(changes):
        raise DataLost(f"META {sequence} verifies but has a row with a key out of range")
    if len({(table.id, key) for table, key, _ in changes}) != len(changes):
        raise DataLost(f"META {sequence} verifies but changes a row twice")
