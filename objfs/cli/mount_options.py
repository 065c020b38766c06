"""The words after `-o`, as mount(8), fstab and users write them: which are ours, which are the
kernel's, which mean nothing to us, and which are mistakes."""

from collections.abc import Iterable
from typing import NamedTuple

from objfs.base.errors import InvalidRequest

# Passed on to the kernel or to libfuse as they are.
KERNEL_WORDS = frozenset(
    [
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "lazytime",
        "nolazytime",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "sync",
        "async",
        "dirsync",
        "auto_unmount",
    ]
)
# For mount(8) and systemd; fstab may hold them.
IGNORED_WORDS = frozenset(
    ["defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev"]
)
IGNORED_PREFIXES = ("x-", "comment=")


class AskedOptions(NamedTuple):
    """What a mount was asked to be."""

    read_only: bool = False
    allow_other: bool = False
    nonempty: bool = False
    kernel: tuple[str, ...] = ()


def parse_options(texts: Iterable[str], read_only: bool, allow_other: bool) -> AskedOptions:
    """The options of the command line. InvalidRequest for a word that nobody knows."""
    options = AskedOptions(read_only, allow_other)
    for word in (word for text in texts for word in text.split(",") if word):
        options = _take(options, word)
    return options


def _take(options: AskedOptions, word: str) -> AskedOptions:
    match word:
        case "ro" | "rw":
            return options._replace(read_only=word == "ro")
        case "allow_other":
            return options._replace(allow_other=True)
        case "nonempty":
            return options._replace(nonempty=True)
        case "default_permissions":  # always on
            return options
    if word in KERNEL_WORDS:
        return options._replace(kernel=(*options.kernel, word))
    if word in IGNORED_WORDS or word.startswith(IGNORED_PREFIXES):
        return options
    known = sorted({"ro", "rw", "allow_other", "nonempty"} | KERNEL_WORDS)
    raise InvalidRequest(f"-o {word}: there is no such option; there are {', '.join(known)}")
