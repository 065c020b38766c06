"""A store on disk: what lies where in its directory, and `objfs.toml`, which describes it.

    objfs.toml     format, store id, settings      written once, by init or rebuild; edited by hand
    segments/      the log                         the only thing that must survive
    index/         the SQLite index                can be rebuilt
    keys/          what secrets are encrypted with only once the store has any: see store_keys.py
    lock           held by the owning process
    reserve        room for deleting on a full disk
    control.sock   where the owner takes commands
    log/           messages of the background process

Reading refuses what it does not understand (no store, newer format, unknown setting) with a remedy,
and never changes anything.
"""

import datetime
import os
import tomllib
import uuid
from pathlib import Path
from typing import Any

import msgspec

from objfs.base.errors import AlreadyExists, NewerFormat, NotAStore
from objfs.base.limits import SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN
from objfs.base.ports import Clock, Randomness
from objfs.base.settings import Settings

FORMAT = 1
DESCRIPTION = "objfs.toml"
SEGMENTS = "segments"
INDEX = "index"
LOCK = "lock"
RESERVE = "reserve"
LOG = "log"
KEYS = "keys"

COMPRESSION_LEVEL_MAX = 22  # zstd's


class StoreDirectory(msgspec.Struct, frozen=True):
    """A store's directory, read and understood."""

    path: Path
    store_id: bytes
    settings: Settings = Settings()

    @property
    def segments(self) -> Path:
        return self.path / SEGMENTS

    @property
    def index(self) -> Path:
        return self.path / INDEX

    @property
    def lock(self) -> Path:
        return self.path / LOCK

    @property
    def reserve(self) -> Path:
        return self.path / RESERVE

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def keys(self) -> Path:
        return self.path / KEYS

    def store_error(self, what: str) -> NotAStore:
        return NotAStore(f"{self.path}: {what}")


def is_store(path: bytes | str | Path) -> bool:
    """Whether this looks like a store, a damaged one included."""
    directory = os.fsdecode(path)
    # Unlike those of Path, these say no to a name that the system does not take.
    is_described = os.path.isfile(os.path.join(directory, DESCRIPTION))
    return is_described or os.path.isdir(os.path.join(directory, SEGMENTS))


def read_store(path: Path) -> StoreDirectory:
    """NotAStore, NewerFormat, or what the description says."""
    path = Path(os.path.realpath(path))
    file = path / DESCRIPTION
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_description(path) from error
    try:
        fields = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotAStore(
            f"{file}: this is no TOML ({error}); mend it, or move it away and run "
            f"`objfs rebuild {path}`"
        ) from error
    return _understand(path, fields)


def _no_description(path: Path) -> NotAStore:
    if (path / SEGMENTS).is_dir():
        return NotAStore(
            f"{path}: {DESCRIPTION} is missing, the segments are there; "
            f"run `objfs rebuild {path}` to make it again"
        )
    if not path.exists():
        return NotAStore(f"{path}: there is no such directory; `objfs init {path}` makes a store")
    if not path.is_dir():
        return NotAStore(f"{path}: this is no directory, so no store either")
    return NotAStore(f"{path}: this is no objfs store, it has no {DESCRIPTION}")


def _understand(path: Path, fields: dict[str, Any]) -> StoreDirectory:
    file = path / DESCRIPTION
    version = fields.get("format")
    if not isinstance(version, int) or version < 1:
        raise NotAStore(f"{file}: `format` must be {FORMAT}, not {version!r}")
    if version > FORMAT:
        raise NewerFormat(
            f"{file}: the store has format {version} and this objfs knows up to {FORMAT}; "
            "use the version of objfs that wrote it"
        )
    try:
        store_id = uuid.UUID(fields.get("store", ""))
    except (ValueError, AttributeError, TypeError) as error:
        raise NotAStore(
            f"{file}: `store` must be the store's UUID, not {fields.get('store')!r}; move the file "
            f"away and run `objfs rebuild {path}` to make it again"
        ) from error
    if unknown := sorted(fields.keys() - {"format", "store", "created", "settings"}):
        raise NotAStore(f"{file}: nothing is called {unknown[0]!r} here; settings go in [settings]")
    return StoreDirectory(path, store_id.bytes, _settings(file, fields.get("settings", {})))


def _settings(file: Path, fields: object) -> Settings:
    names = Settings.__struct_fields__
    if not isinstance(fields, dict):
        raise NotAStore(f"{file}: [settings] must be a table")
    if unknown := sorted(fields.keys() - set(names)):
        raise NotAStore(
            f"{file}: there is no setting {unknown[0]!r}; the settings are {', '.join(names)}"
        )
    try:
        settings = msgspec.convert(fields, Settings)
    except msgspec.ValidationError as error:
        raise NotAStore(f"{file}: [settings]: {error}") from error
    if wrong := broken_setting(settings):
        raise NotAStore(f"{file}: [settings]: {wrong}")
    return settings


def broken_setting(settings: Settings) -> str | None:
    """The first setting out of its range, as a sentence."""
    if not SEGMENT_BYTES_MIN <= settings.segment_bytes <= SEGMENT_BYTES_MAX:
        return f"segment_bytes must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"
    if not 1 <= settings.compression_level <= COMPRESSION_LEVEL_MAX:
        return f"compression_level must be 1 to {COMPRESSION_LEVEL_MAX}"
    for name in ("dirty_bytes", "dirty_seconds", "sync_seconds", "seal_open_seconds"):
        if getattr(settings, name) <= 0:
            return f"{name} must be more than 0"
    for name in Settings.__struct_fields__:
        if name.endswith(("_bytes", "_per_second")) and getattr(settings, name) < 0:
            return f"{name} must not be negative"
    return None


# --- Making one -----------------------------------------------------------------------------------


def new_store_id(randomness: Randomness) -> bytes:
    return uuid.UUID(int=randomness.bits(128), version=4).bytes


def describe(store_id: bytes, created_ns: int, settings: Settings) -> str:
    """The text of objfs.toml. What has its default is there as a comment, so that a later objfs may
    choose a better one."""
    created = datetime.datetime.fromtimestamp(created_ns // 10**9, datetime.UTC)
    lines = [
        "# An objfs store. segments/ holds everything; `objfs rebuild` can make this file again.",
        f"format = {FORMAT}",
        f'store = "{uuid.UUID(bytes=store_id)}"',
        f"created = {created:%Y-%m-%dT%H:%M:%SZ}",
        "",
        "# Take the # away to change a setting; it holds from the next mount on.",
        "[settings]",
    ]
    default = msgspec.to_builtins(Settings())
    for name, value in msgspec.to_builtins(settings).items():
        text = f'"{value}"' if isinstance(value, str) else str(value)
        lines.append(f"{'# ' if value == default[name] else ''}{name} = {text}")
    return "\n".join(lines) + "\n"


def create_store(
    path: Path, clock: Clock, randomness: Randomness, settings: Settings | None = None
) -> StoreDirectory:
    """An empty store in a new or empty directory; AlreadyExists for any other."""
    settings = settings or Settings()
    if path.is_dir() and {entry.name for entry in path.iterdir()} - {"lost+found"}:
        what = "is a store already" if is_store(path) else "is not empty"
        raise AlreadyExists(f"{path}: the directory {what}; init wants a new or empty one")
    if os.path.lexists(path) and not path.is_dir():
        raise AlreadyExists(f"{path}: there is something else; init wants a new or empty directory")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)  # everybody's files will lie in it
    path = Path(os.path.realpath(path))
    for name in (SEGMENTS, INDEX, LOG):
        (path / name).mkdir(mode=0o700)
    store_id = new_store_id(randomness)
    write_description(path, store_id, clock, settings)
    return StoreDirectory(path, store_id, settings)


def write_description(path: Path, store_id: bytes, clock: Clock, settings: Settings) -> None:
    """Durable when it returns, and never half a file."""
    write_file(path / DESCRIPTION, describe(store_id, clock.now_ns(), settings))


def write_file(file: Path, text: str, mode: int = 0o666) -> None:
    """A new text in the place of an old one, if any: durable when it returns, never half."""
    temporary = file.with_name(file.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)
    sync_directory(file.parent)


def sync_directory(path: Path) -> None:
    """The names in it are durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
