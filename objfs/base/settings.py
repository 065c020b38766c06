"""What a user may set about a store, as a value. Only `objfs/cli` reads it from a file."""

from typing import Literal

import msgspec

from objfs.base import limits


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[settings]` table of `objfs.toml`. Sizes in bytes, times in seconds."""

    segment_bytes: int = limits.SEGMENT_BYTES
    compression: Literal["none", "zstd"] = "zstd"
    compression_level: int = 1
    dirty_bytes: int = limits.DIRTY_BYTES_MAX
    dirty_seconds: float = limits.DIRTY_SECONDS_MAX
    sync_seconds: float = limits.SYNC_SECONDS_MAX
    seal_open_seconds: float = limits.SEAL_OPEN_SECONDS
    block_cache_bytes: int = limits.BLOCK_CACHE_BYTES
    read_ahead_bytes: int = limits.READ_AHEAD_BYTES_MAX
    reserve_bytes: int = limits.RESERVE_BYTES
    checkpoint_meta_bytes: int = limits.CHECKPOINT_META_BYTES
    background_bytes_per_second: int = limits.BACKGROUND_BYTES_PER_SECOND  # 0: no limit
    scrub_days: float = limits.SCRUB_DAYS  # 0: only by hand
