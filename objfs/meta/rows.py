"""The rows of the index: one struct per table, key fields first (design 4).

Always holds: rows are frozen; a row's msgpack array form is its form in META records, in the index
and in checkpoints, so **fields are only ever added at the end, with a default**. Times are
nanoseconds since 1970. Intervals (`since`, `until`, `sealed`, `at`) are sequence numbers of META
records: a state holds in [since, until). 0 is no sequence: the first META has sequence 1.

Identifiers (ino, content, cookie, bucket id) are drawn from the sequence number of the change that
makes them: `sequence * IDS_PER_CHANGE_MAX + k`. They are never reused, and need no counter.
"""

import msgspec


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all rows."""


class RowWithBlobs(msgspec.Struct, frozen=True, array_like=True):
    """Base of rows that hold containers."""


class Bucket(RowWithBlobs, frozen=True):
    """A bucket: a tree of its own, with rules."""

    id: int
    name: str
    root: int  # ino of its root directory
    created_ns: int
    owner: str = ""
    versioning: str = "on"  # on | suspended | off
    lock: bool = False
    quota_bytes: int = 0  # 0: none
    policy: dict[str, bytes] = {}  # S3 configuration documents by name
    null_spans: list[int] = []  # begin, end, begin ...: entries made in these sequences are null
    off_spans: list[int] = []  # and in these, deletes left no marker


class Usage(Row, frozen=True):
    """What a bucket holds. Changed in the same change as what it counts."""

    bucket: int
    live_bytes: int = 0  # counted sizes of linked regular files as last sealed
    past_bytes: int = 0  # and of versions that are not the current one of a linked file
    objects: int = 0  # linked inodes, the root not counted


def counted_bytes(size: int) -> int:
    """What a file of `size` bytes counts in `usage`. Sparse files can be as large as 64 bits can
    say; this way some of them do not make the account overflow."""
    return min(size, 1 << 50)


class Inode(Row, frozen=True):
    """The current state of an inode: what stat(2) tells, and where its bytes are."""

    ino: int
    bucket: int
    mode: int  # with the file type bits
    uid: int
    gid: int
    nlink: int
    size: int  # the working size; a version keeps the sealed one
    allocated: int  # bytes held by extents, for st_blocks
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    rdev: int
    target: bytes | None  # a symlink's
    content: int  # identity of its bytes; 0 for what has none
    content_at: int  # not 0: the content is shared and read as of this sequence
    has_xattrs: bool
    sealed: int  # sequence of the newest version, 0: never sealed
    since: int  # when this state began
    since_ns: int
    given: bool = False  # it was made with its content, by a restore or over S3: not by a program
    unset: int = 0  # bits UNSET_*: what neither the mount nor a client has set


UNSET_MODE, UNSET_OWNER, UNSET_MTIME = 1, 2, 4
UNSET_ALL = UNSET_MODE | UNSET_OWNER | UNSET_MTIME


def new_inode(
    ino: int,
    bucket: int,
    mode: int,
    time_ns: int,
    since: int,
    *,
    uid: int = 0,
    gid: int = 0,
    nlink: int = 1,
    size: int = 0,
    rdev: int = 0,
    target: bytes | None = None,
    content: int = 0,
    has_xattrs: bool = False,
) -> Inode:
    """An inode as it is made at `time_ns`: it was never sealed, and nothing is stored of it."""
    return Inode(
        ino=ino,
        bucket=bucket,
        mode=mode,
        uid=uid,
        gid=gid,
        nlink=nlink,
        size=size,
        allocated=0,
        atime_ns=time_ns,
        mtime_ns=time_ns,
        ctime_ns=time_ns,
        birth_ns=time_ns,
        rdev=rdev,
        target=target,
        content=content,
        content_at=0,
        has_xattrs=has_xattrs,
        sealed=0,
        since=since,
        since_ns=time_ns,
    )


class InodePast(RowWithBlobs, frozen=True):
    """A state of an inode that ended."""

    ino: int
    until: int
    inode: Inode
    xattrs: dict[bytes, bytes] = {}


class Xattr(Row, frozen=True):
    """One extended attribute of the current state."""

    ino: int
    name: bytes
    value: bytes


class Dentry(Row, frozen=True):
    """A name. `key` is the name, with a slash at its end for a directory; b"" is the directory's
    own entry (the zero-byte object `dir/` of S3)."""

    parent: int
    key: bytes
    ino: int
    since: int
    cookie: int  # the persistent readdir position, unique in the directory
    entry: int = 0  # S3: its first entry is an older one that came back: the sequence of that one
    null: bool = False  # not used: `Bucket.null_spans` tells
    shown: int = 0  # nothing is shown under this name before this sequence: it was erased
    hidden: bool = False  # for S3 only: POSIX cannot name it, or a directory has the name


class DentryPast(Row, frozen=True):
    """A name that ended."""

    parent: int
    key: bytes
    until: int
    ino: int
    since: int
    entry: int = 0
    null: bool = False
    shown: int = 0
    replaced: bool = False  # it ended by a name in its place, of which nothing is left
    hidden: bool = False


class Version(RowWithBlobs, frozen=True):
    """The bytes of an inode as they were sealed; never changed but by the replacement rule."""

    ino: int
    sealed: int
    content: int
    content_at: int  # the extents are read as of this sequence
    size: int
    allocated: int
    time_ns: int  # when it was sealed
    etag: str = ""
    checksums: dict[str, bytes] | None = None
    parts: list[int] | None = None
    headers: dict[str, str] | None = None
    owner: str | None = None
    encryption: dict[str, bytes] | None = None
    tags: dict[str, str] | None = None
    acl: bytes | None = None
    retention: bytes | None = None
    hold: bool = False


class Extent(Row, frozen=True):
    """Bytes [offset, offset + length) of a content lie in a DATA record, `skip` bytes into its raw
    payload. (segment, position, stored) is the record's Location."""

    content: int
    offset: int
    length: int
    segment: int
    position: int
    stored: int
    skip: int
    hash32: int
    since: int


class ExtentPast(Row, frozen=True):
    """An extent that ended."""

    content: int
    offset: int
    until: int
    length: int
    segment: int
    position: int
    stored: int
    skip: int
    hash32: int
    since: int


class Marker(Row, frozen=True):
    """A stored delete marker: a delete that closed nothing, or whose version was erased. It stands
    for all ends of the path in [since, at], which show no marker of their own."""

    bucket: int
    key: bytes
    at: int
    null: bool = False  # not used: `Bucket.null_spans` tells
    owner: str | None = None
    since: int = 0  # 0: for none
    gone: bool = False  # it was erased, and those that it stands for with it


class Erased(Row, frozen=True):
    """One version of one key, erased at `at`."""

    bucket: int
    key: bytes
    entry: int
    at: int


class Snapshot(Row, frozen=True):
    """A pinned moment of a bucket, or a prefix of it; bucket 0 is the whole store."""

    name: str
    sequence: int
    time_ns: int
    bucket: int = 0
    prefix: bytes = b""


class Orphan(Row, frozen=True):
    """An inode without a name that is still open; cleaned at the next start."""

    ino: int
    since: int


class Unsealed(Row, frozen=True):
    """An inode whose logged state no version covers yet; recovery seals it."""

    ino: int
    since: int


class Purge(Row, frozen=True):
    """Work begun: the extents of `content` from `offset` on end. Those with `since` above `above`
    are seen by no version and go; the others move to the past."""

    content: int
    offset: int
    above: int
    ino: int = 0  # not 0: the inode whose allocated bytes shrink


class Sweep(Row, frozen=True):
    """Work begun: versions of `content` were erased that had seen it at sequences in [low, high].
    What extents of those no version needs any more go, from the given position on: first the past
    ones, then the current."""

    content: int
    low: int
    high: int
    current: bool = False
    offset: int = 0
    until: int = 0


class Upload(RowWithBlobs, frozen=True):
    """A multipart upload (S3): what the object that it becomes will have besides its bytes. Those
    are in its parts."""

    bucket: int
    key: bytes
    id: int  # ids grow, so the uploads of a key are in the order in which they began
    time_ns: int
    initiator: str = ""
    owner: str | None = None
    metadata: dict[str, str] | None = None  # of the user
    headers: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    acl: bytes | None = None
    retention: bytes | None = None
    hold: bool = False
    encryption: dict[str, bytes] | None = None
    checksum: str = ""  # the algorithm of the object's checksum; "": none
    composite: bool = False  # it is one over those of the parts, not over the bytes
    mode: int = -1  # permissions, owner and mtime of the file; -1: not given
    uid: int = -1
    gid: int = -1
    mtime_ns: int = -1


class EndedUpload(Row, frozen=True):
    """An upload that was completed or aborted. Its parts are to go; then the row of one that was
    completed stays for a while, to give the same answer again."""

    id: int
    bucket: int
    key: bytes
    ended_ns: int
    cleaned: bool = False  # its parts are gone
    ino: int = 0  # what it became; 0: it was aborted
    sealed: int = 0
    asked: bytes = b""  # a digest of the parts that it was completed with


class Part(RowWithBlobs, frozen=True):
    """A part of an upload. Its bytes are the extents of `content`, which no inode has."""

    upload: int
    number: int
    content: int
    size: int
    time_ns: int
    etag: str = ""
    checksums: dict[str, bytes] | None = None
    encryption: dict[str, bytes] | None = None


class Setting(Row, frozen=True):
    """A named value of the store."""

    name: str
    value: bytes


class Moment(Row, frozen=True):
    """The change `sequence` was made at `time_ns`; sparse."""

    time_ns: int
    sequence: int


class Retention(Row, frozen=True):
    """What is kept of histories in a bucket, or at and below a prefix of it (the longest prefix
    counts): whatever any rule keeps (`objfs/volume/retention_policy.py`). 0: no such rule."""

    bucket: int
    prefix: bytes  # whole components of a path, without a slash at its end; b"": the bucket
    keep_all: bool = False
    keep_for_seconds: int = 0
    keep_last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    deleted_days: int = 0  # of a deleted path, everything goes after this; 0: never
    set_ns: int = 0  # when these rules were given


class Principal(RowWithBlobs, frozen=True):
    """Who may ask, or a set of those: a user, a group of users, or a role."""

    kind: str  # user | group | role
    key: str  # the name in lower case: names that differ in case only are the same
    id: str  # AIDA..., AGPA..., AROA...: never used again, unlike the name
    name: str
    created_ns: int
    path: str = "/"
    canonical: str = ""  # of a user: 64 hexadecimal digits, its name in ACLs
    uid: int = -1  # of a user: the owner of what it makes, as the mount shows it; -1: not set
    gid: int = -1
    groups: list[str] = []  # of a user: keys of groups
    attached: list[str] = []  # ARNs of managed policies
    inline: dict[str, str] = {}  # documents of its own policies, by name
    trust: str = ""  # of a role: the policy that says who may take it
    description: str = ""
    session_seconds: int = 3600  # of a role: the longest session
    tags: dict[str, str] = {}


class AccessKey(Row, frozen=True):
    """A key that a user signs requests with."""

    id: str  # AKIA...
    user: str  # key of the principal
    secret: bytes  # encrypted, never as the user types it
    created_ns: int
    active: bool = True
    used_ns: int = 0  # not exact: noted once in a while; 0: never
    used_service: str = ""
    used_region: str = ""


class Policy(RowWithBlobs, frozen=True):
    """A managed policy: a document with versions, attached to principals by its ARN."""

    key: str  # the name in lower case
    id: str  # ANPA...
    name: str
    created_ns: int
    updated_ns: int
    path: str = "/"
    description: str = ""
    current: int = 1  # the version that counts
    made: int = 1  # the newest version's number, also of one that is gone
    tags: dict[str, str] = {}


class PolicyVersion(Row, frozen=True):
    """One version of a managed policy."""

    policy: str  # its key
    version: int
    document: str
    created_ns: int


class Provider(RowWithBlobs, frozen=True):
    """Who else may say who somebody is: an OpenID Connect issuer."""

    url: str  # without the scheme: host and path, as in its ARN
    created_ns: int
    clients: list[str] = []  # audiences whose tokens are taken
    thumbprints: list[str] = []  # of its certificates: kept, not used
    keys: str = ""  # its public keys, a JSON Web Key Set
    tags: dict[str, str] = {}
