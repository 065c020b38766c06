"""The problems that fsck knows: a stable code for each, and what to do about it.

Programs and people look for these codes: they are added, never renamed. docs/OPERATIONS.md lists
them; a test compares.
"""

from typing import Final

_REPAIR: Final = "objfs fsck --repair"
_PUT_BACK: Final = "put the segment's file back from a backup of the store, then objfs scrub"

CODES: Final[dict[str, str]] = {
    # The log
    "segment-missing": _PUT_BACK,
    "segment-unreadable": _PUT_BACK,
    "segment-unknown": "a file in segments/ that the log did not open: move it out of the store",
    "meta-missing": f"{_PUT_BACK}; what the index has of it stays: {_REPAIR} takes a checkpoint",
    "checkpoint-damaged": f"nothing is lost while the index is there: {_REPAIR} takes a new one",
    "record-missing": _PUT_BACK,
    "record-damaged": _PUT_BACK,
    # The index against the log
    "index-differs": f"{_REPAIR} takes the rows from the log",
    # Buckets and accounts
    "bucket-root": f"{_REPAIR} makes the root directory again",
    "usage-wrong": f"{_REPAIR} counts anew",
    "usage-of-nothing": _REPAIR,
    "moment-order": f"{_REPAIR} drops it: only the time of a change is known less exactly",
    "snapshot-wrong": _REPAIR,
    "retention-of-nothing": _REPAIR,
    # Inodes
    "inode-bucket": _REPAIR,
    "inode-kind": "report it with the output of objfs fsck --json",
    "inode-future": _REPAIR,
    "inode-unnamed": f"{_REPAIR} gives it a name in lost+found",
    "inode-version": f"{_REPAIR} seals the file as it is",
    "inode-allocated": _REPAIR,
    "inode-past-order": _REPAIR,
    "link-count": _REPAIR,
    "orphan-wrong": _REPAIR,
    "unsealed-wrong": _REPAIR,
    "part-of-nothing": f"{_REPAIR} drops it",
    "purge-left": f"{_REPAIR}, or the next opening, ends it",
    "xattr-flag": _REPAIR,
    "xattr-of-nothing": _REPAIR,
    # Names and the tree
    "name-of-nothing": f"{_REPAIR} brings the file back from its versions, or ends the name",
    "name-in-nothing": f"{_REPAIR} moves what it names to lost+found",
    "name-type": f"{_REPAIR} renames it",
    "name-overlap": _REPAIR,
    "name-future": _REPAIR,
    "cookie-twice": _REPAIR,
    "directory-names": f"{_REPAIR} keeps the oldest name",
    "directory-entry": _REPAIR,
    "tree-unreached": f"{_REPAIR} moves the directory to lost+found",
    "past-name-of-nothing": _REPAIR,
    # Versions and bytes
    "version-of-nothing": f"{_REPAIR} brings the file back in lost+found",
    "version-future": "report it with the output of objfs fsck --json",
    "version-allocated": _REPAIR,
    "extent-form": _REPAIR,
    "extent-overlap": f"{_REPAIR} lets the later write count",
    "erased-of-nothing": _REPAIR,
    "extent-of-nothing": f"{_REPAIR} drops what no version and no file has",
}
