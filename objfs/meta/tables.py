"""The tables of the index: which row type each holds, its key, its secondary indexes.

Always holds: a table id is in META records and checkpoints, so it is **never reused and never
changes**; ids 26 and 27 are kept for identities, 31 for uploads.
A key is a tuple of column values, each an integer that fits 64 signed bits, bytes or a string.
Rows are ordered by key: integers by value, bytes and strings by their bytes. A secondary index
orders them by its own fields and then by the key, so every order is total. `also` are fields that
an engine compares without decoding a row.
"""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_type_hints

from objfs.meta import rows
from objfs.meta.rows import Row, RowWithBlobs

AnyRow = Row | RowWithBlobs
KeyValue = int | bytes | str
Key = tuple[KeyValue, ...]
R = TypeVar("R", bound=AnyRow)

INTEGER_MIN = -(1 << 63)
INTEGER_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Index:
    """A second order of a table."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order(Generic[R]):
    """One order of a table's rows: all its columns, and their values in a row."""

    name: str  # of the index; "" for the key
    columns: tuple[str, ...]
    of: Callable[[R], Key]


@dataclass(frozen=True, slots=True, eq=False)
class Table(Generic[R]):
    """An ordered table of rows of one type."""

    id: int
    name: str
    row: type[R]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    also: tuple[str, ...] = ()  # fields that scans compare besides
    key_of: Callable[[R], Key] = field(init=False)
    orders: dict[str | None, Order[R]] = field(init=False)  # by index name; None: the key
    columns: tuple[str, ...] = field(init=False)  # of the key, then what indexes and scans need
    columns_of: Callable[[R], tuple[KeyValue, ...]] = field(init=False)
    column_types: dict[str, type] = field(init=False)
    key_types: tuple[type, ...] = field(init=False)
    integers_of: Callable[[R], tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        assert self.key == self.row.__struct_fields__[: len(self.key)], "key fields come first"
        put = object.__setattr__
        put(self, "key_of", _values_of(self.key))
        orders = [Order("", self.key, self.key_of)]
        for index in self.indexes:
            columns = index.fields + tuple(name for name in self.key if name not in index.fields)
            orders.append(Order(index.name, columns, _values_of(columns)))
        put(self, "orders", {order.name or None: order for order in orders})
        needed = [name for order in orders for name in order.columns]
        put(self, "columns", tuple(dict.fromkeys([*needed, *self.also])))
        put(self, "columns_of", _values_of(self.columns))
        hints = get_type_hints(self.row)
        put(self, "column_types", {name: hints[name] for name in self.columns})
        put(self, "key_types", tuple(hints[name] for name in self.key))
        integers = tuple(name for name in self.columns if hints[name] is int)
        put(self, "integers_of", _values_of(integers))


def _values_of(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """The values of the named fields as a tuple, for one name too."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda row: ()
    get = attrgetter(names[0])
    return lambda row: (get(row),)


BUCKET = Table(1, "bucket", rows.Bucket, ("id",), (Index("name", ("name",)),))
USAGE = Table(2, "usage", rows.Usage, ("bucket",))
INODE = Table(3, "inode", rows.Inode, ("ino",))
INODE_PAST = Table(4, "inode_past", rows.InodePast, ("ino", "until"))
XATTR = Table(5, "xattr", rows.Xattr, ("ino", "name"))
DENTRY = Table(
    6,
    "dentry",
    rows.Dentry,
    ("parent", "key"),
    (Index("ino", ("ino",)), Index("cookie", ("parent", "cookie"))),
)
DENTRY_PAST = Table(
    7,
    "dentry_past",
    rows.DentryPast,
    ("parent", "key", "until"),
    (Index("ino", ("ino",)),),
    also=("since",),
)
# "content" leads to the versions that see an extent: since <= content_at < until.
VERSION = Table(
    8,
    "version",
    rows.Version,
    ("ino", "sealed"),
    (Index("content", ("content", "content_at")),),
)
EXTENT = Table(9, "extent", rows.Extent, ("content", "offset"), (Index("segment", ("segment",)),))
EXTENT_PAST = Table(
    10,
    "extent_past",
    rows.ExtentPast,
    ("content", "offset", "until"),
    (Index("segment", ("segment",)),),
)
MARKER = Table(11, "marker", rows.Marker, ("bucket", "key", "at"))
ERASED = Table(12, "erased", rows.Erased, ("bucket", "key", "entry"))
SNAPSHOT = Table(13, "snapshot", rows.Snapshot, ("name",))
ORPHAN = Table(14, "orphan", rows.Orphan, ("ino",))
SETTING = Table(15, "setting", rows.Setting, ("name",))
# "sequence" leads from a sequence number back to its time.
MOMENT = Table(16, "moment", rows.Moment, ("time_ns",), (Index("sequence", ("sequence",)),))
# What a start after a crash has to seal, and what it has to finish.
UNSEALED = Table(17, "unsealed", rows.Unsealed, ("ino",))
PURGE = Table(18, "purge", rows.Purge, ("content", "offset"))
RETENTION = Table(19, "retention", rows.Retention, ("bucket", "prefix"))
SWEEP = Table(20, "sweep", rows.Sweep, ("content",))
# Identities: who may ask through S3.
PRINCIPAL = Table(
    21,
    "principal",
    rows.Principal,
    ("kind", "key"),
    (Index("id", ("id",)), Index("canonical", ("canonical",))),
)
ACCESS_KEY = Table(22, "access_key", rows.AccessKey, ("id",), (Index("user", ("user",)),))
POLICY = Table(23, "policy", rows.Policy, ("key",))
POLICY_VERSION = Table(24, "policy_version", rows.PolicyVersion, ("policy", "version"))
PROVIDER = Table(25, "provider", rows.Provider, ("url",))
UPLOAD = Table(28, "upload", rows.Upload, ("bucket", "key", "id"))
PART = Table(29, "part", rows.Part, ("upload", "number"))
# "cleaned" leads to those whose parts are to go, and to those that are old.
ENDED_UPLOAD = Table(
    30,
    "ended_upload",
    rows.EndedUpload,
    ("id",),
    (Index("cleaned", ("cleaned", "ended_ns")),),
)

TABLES: tuple[Table[Any], ...] = (
    BUCKET,
    USAGE,
    INODE,
    INODE_PAST,
    XATTR,
    DENTRY,
    DENTRY_PAST,
    VERSION,
    EXTENT,
    EXTENT_PAST,
    MARKER,
    ERASED,
    SNAPSHOT,
    ORPHAN,
    SETTING,
    MOMENT,
    UNSEALED,
    PURGE,
    RETENTION,
    SWEEP,
    PRINCIPAL,
    ACCESS_KEY,
    POLICY,
    POLICY_VERSION,
    PROVIDER,
    UPLOAD,
    PART,
    ENDED_UPLOAD,
)
TABLE_BY_ID: dict[int, Table[Any]] = {table.id: table for table in TABLES}
TABLE_IDS_END = max(TABLE_BY_ID) + 1
TABLE_OF: dict[type, Table[Any]] = {table.row: table for table in TABLES}
assert len(TABLE_BY_ID) == len(TABLE_OF) == len(TABLES)


def table_of(row: R) -> Table[R]:
    """The table that holds rows of this type."""
    table: Table[R] = TABLE_OF[type(row)]
    return table


def integers_fit(changes: Iterable[tuple[Table[Any], Key, AnyRow | None]]) -> bool:
    """Whether every integer that an engine keeps in a column fits 64 signed bits."""
    integers: list[int] = []
    for table, key, row in changes:
        if row is not None:
            integers += table.integers_of(row)
        else:
            integers += [value for value in key if isinstance(value, int)]
    try:
        array("q", integers)
    except OverflowError:
        return False
    return True
