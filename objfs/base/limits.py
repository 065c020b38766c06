"""Every bound of objfs, with the unit in its name. Queues, caches, retries and formats refer here.

What a user may set lives in `objfs/base/settings.py`; its defaults come from here.
"""

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

# --- Names and files (POSIX, Linux's <linux/limits.h>) --------------------------------------------
NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4096
SYMLINK_BYTES_MAX = 4095
LINKS_MAX = (1 << 31) - 1
FILE_BYTES_MAX = (1 << 63) - 1
XATTR_NAME_BYTES_MAX = 255
XATTR_VALUE_BYTES_MAX = 64 * KIB
XATTR_TOTAL_BYTES_MAX = 64 * KIB  # names with their zero bytes, as listxattr(2) returns them
XATTRS_MAX = 100  # of one inode: its removal, or a restore over it, is one change

# --- The log --------------------------------------------------------------------------------------
SEGMENT_BYTES = 256 * MIB
SEGMENT_BYTES_MIN = 1 * MIB
SEGMENT_BYTES_MAX = 4 * GIB
RECORD_ALIGNMENT_BYTES = 16
RECORD_PAYLOAD_BYTES_MAX = 64 * MIB
CHECKSUM_BLOCK_BYTES = 64 * KIB
INLINE_DATA_BYTES_MAX = 256 * KIB  # DATA below this goes inline into the journal segment
LARGE_RECORD_BYTES = 4 * MIB  # what one flush of incompressible data puts into a record
COMPRESSED_RECORD_BYTES = 256 * KIB  # raw bytes in a compressed record: a read unpacks all of it
MERGED_RECORD_BYTES_MAX = 128 * KIB  # neighbours that compaction puts into one record
SEGMENT_RECORDS_MAX = 1 << 20  # of one segment: bounds its index in memory and its footer
RECORD_HEADS_CACHED_MAX = 4096
OPEN_SEGMENT_FILES_MAX = 128
RESERVE_BYTES = 64 * MIB

# --- The index ------------------------------------------------------------------------------------
TRANSACTION_ROWS_MAX = 256
COMMIT_INTERVAL_SECONDS = 0.05
COMMIT_METAS_MAX = 500
INDEX_READ_AHEAD_BYTES_MAX = 512 * MIB  # of an index that is read ahead as a whole
INDEX_READ_AHEAD_SECONDS = 30.0  # between two times that the system is asked to
INDEX_WAL_BYTES_MAX = 64 * MIB
READER_SECONDS_MAX = 2.0
CHECKPOINT_META_BYTES = 64 * MIB
CHECKPOINT_PART_BYTES = 1 * MIB
CHECKPOINT_RETRY_SECONDS = 60.0  # after one that failed, on a full disk say
MOMENT_GAP_NS = 10_000_000  # one `moment` row per this much time at most
IDS_PER_CHANGE_MAX = 256
INDEX_CACHE_BYTES = 32 * MIB  # SQLite's page cache
INDEX_CACHED_ROWS_MAX = 4096  # decoded rows kept, per table
REPLAY_COMMIT_METAS = 5000
PAST_ROWS_MAX = 4096  # rows that one step of a skip-scan looks at: about a millisecond
STREAM_PAGE_ROWS = 2000  # rows per call of a maintenance scan
CLOCK_JUMP_NS = 86_400_000_000_000  # a day; a larger one is reported
CLOCK_JUMPS_KEPT_MAX = 16

# --- Scrub and fsck -------------------------------------------------------------------------------
SCRUB_READ_BYTES = 4 * MIB  # of a segment, in one read
SCRUB_PIECE_BYTES = 16 * MIB  # read and verified by one call of a thread
SCRUB_NOTE_SECONDS = 1.0  # how old the note of where it is may be
SCRUB_LOOK_SECONDS = 3600.0  # between two looks whether one is due
SCRUB_DAYS = 30.0  # between two scrubs
SCRUB_STEP_SECONDS = 1.0  # what one call of the control socket does
FSCK_STEP_SECONDS = 1.0  # what one call of the control socket does
FSCK_STRETCH_SECONDS = 0.002  # of the loop, before others run
FSCK_PAUSE_SECONDS = 0.004  # between two stretches while the store is in use
FSCK_PAGE_ROWS = 64  # read at a time
FSCK_STEADY_TRIES = 5  # at counting something that changes meanwhile
FSCK_RECENT_METAS = 200  # whose rows are compared with the index without --deep
FSCK_PROBLEMS_KEPT_MAX = 1000  # listed; the others are counted
DAMAGE_KEPT_MAX = 1000  # findings that are remembered
DAMAGE_HITS_MAX = 50  # files listed with one of them
DAMAGE_VERSIONS_MAX = 20  # versions listed with one of these

# --- The volume -----------------------------------------------------------------------------------
DIRTY_BYTES_MAX = 128 * MIB  # all unwritten data together; beyond it writers wait
DIRTY_SECONDS_MAX = 0.5  # the kernel gathers before us; sync(2) reaches us as writes only
SYNC_SECONDS_MAX = 1.0
SEAL_OPEN_SECONDS = 900.0
BLOCK_CACHE_BYTES = 64 * MIB
READ_AHEAD_BYTES_MAX = 8 * MIB
AMEND_NS = 10_000_000_000  # a state younger than this is amended in place (design 5)
LISTING_PAGE_ENTRIES = 256
SNAPSHOTS_MAX = 10_000
SNAPSHOT_ROUNDS_MAX = 8  # of sealing what is written while a snapshot is made
THREADS_MAX = 8
LARGE_APPENDS_MAX = 4  # bulk appends in flight
EXTENT_BYTES_MAX = 4 * MIB  # so that a scan of the past need look back no further
ROWS_PER_BATCH_MAX = 100  # rows one batch of long work reads: each may be written twice
FLUSH_BATCH_BYTES = 16 * MIB  # what one round of a flush takes out of the dirty buffer
SPACE_MARGIN_BYTES = 32 * MIB  # kept free for metadata: below it nothing may grow
SPACE_CHECK_BYTES = 16 * MIB  # growth accepted between two looks at the free space
SPACE_CHECK_SECONDS = 0.25
INDEX_ROOM_BYTES = 16 * MIB  # what one commit of the index may write
LATE_CTIMES_MAX = 10_000
DAY_NS = 86_400_000_000_000
PASSING_NS = 3_600_000_000_000  # how long a name may be used in passing (design 5)
RETENTION_INTERVAL_SECONDS = 6 * 3600.0  # between two passes in the background
RETENTION_GRACE_SECONDS = 3600.0  # before new rules count in the background
RETENTION_NOTE_SECONDS = 5.0  # between two notes of how far a pass is
RETENTION_COUNT_MAX = 1_000_000
RETENTION_SECONDS_MAX = 200 * 366 * 86_400
PREFETCH_WINDOW_BYTES = 1 * MIB
PREFETCH_WINDOWS_MAX = 4  # that one handle asks for at a time
PREFETCH_BYTES_MAX = 64 * MIB  # of all handles together

# --- Background work ------------------------------------------------------------------------------
BACKGROUND_BYTES_PER_SECOND = 32 * MIB  # read and written, all jobs together
BACKGROUND_BURST_SECONDS = 1.0  # of the budget that may be saved up
BACKGROUND_START_SECONDS = 60.0  # after a mount, before the first round of a job
BACKGROUND_QUIET_SECONDS = 0.002  # without a request: then the next piece of work may go
BACKGROUND_YIELD_SECONDS_MAX = 0.02  # but a piece of work does not wait longer than this
BACKGROUND_LOOK_SECONDS = 1.0  # between a change and the start of what is overdue
BACKGROUND_SLEEP_SECONDS_MAX = 3600.0
COMPACTION_INTERVAL_SECONDS = 600.0
COMPACTION_DEAD_SHARE_MIN = 0.3  # of a segment that is worth copying the rest of it
COMPACTION_DEAD_SHARE_BY_HAND_MIN = 0.05
COMPACTION_COPY_BYTES = 4 * MIB  # stored bytes that one thread reads, and one writes, at a time
COMPACTION_COPY_RECORDS = 64
COMPACTION_MOVE_ROWS = 64  # of extents, in one change
COMPACTION_PASSES_MAX = 8  # over the rows of a segment that change while they are moved
COMPACTION_RANGES_MAX = 64  # of one record, before they are united
COMPACTION_ROW_BYTES = 128  # what reading a row costs of the budget
FRAGMENT_BYTES = 32 * KIB  # pieces of a file below this are merged with their neighbours
MERGING_PIECES_MIN = 8  # in a copy
MERGING_GROWTH = 4  # how many times the largest of its pieces a copy has to be
MERGING_ROWS_MAX = 64  # of extents, in one change
MERGING_LOOK_ROWS = 500  # looked at in one stretch on the loop
MERGING_PAST_PAGES_MAX = 16  # of so many rows of the past, to find out what it needs
MERGING_INTERVAL_SECONDS = 3600.0

# --- The front doors ------------------------------------------------------------------------------
KERNEL_CACHE_SECONDS = 86_400.0
BUCKET_LIST_CACHE_SECONDS = 1.0  # how long the kernel keeps the list of buckets: it may change
INTERPRETER_SWITCH_SECONDS = 200e-6  # how long a thread may keep the loop from the interpreter
MOMENT_MOUNT_SECONDS = 60.0  # what a mount of a moment lets the kernel believe: it is told nothing
CHANGING_VIEW_SECONDS = 1.0  # and what a name of the past leads to that means something else later
MOUNT_NICENESS = -5  # a drive answers before the programs that wait for it
KERNEL_READ_AHEAD_BYTES = 4 * MIB
KERNEL_DIRTY_BYTES = 8 * MIB  # unwritten pages of a mount: a small file's wait behind these
KERNEL_BACKGROUND_MAX = 32  # write-back requests that the kernel hands over at a time, 1 MiB each
REQUESTS_WAITING_MAX = 24  # large requests read from the kernel while small ones are served
REQUESTS_PASSED_OVER_MAX = 16  # small requests in a row that go before a large one
LARGE_REQUEST_BYTES = 64 * KIB
HEAP_BUFFER_BYTES_MAX = 32 * MIB  # buffers up to this come from the heap (glibc's own limit)
HEAP_KEPT_BYTES = 192 * MIB  # freed memory that is not given back to the system at once
FUSE_WORKERS_MAX = 64  # requests in progress at a time
FUSE_WORKERS_IDLE_MAX = 4  # tasks kept for the next requests
WORK_SECONDS_MAX = 200e-6  # of requests in a row, before other tasks of the loop run
SPIN_SECONDS_MAX = 50e-6  # of polling for the next request, before the process sleeps
RECENT_SECONDS = 2e-3  # traffic this recent is worth spinning for
INVALIDATIONS_QUEUED_MAX = 65_536
INODES_WITHOUT_XATTRS_MAX = 65_536  # remembered by the mount, for the question before each write
READDIR_ENTRIES_MIN = 32  # asked of the volume for one answer to the kernel
READDIR_ENTRIES_MAX = 4096
UNMOUNT_GRACE_SECONDS = 1.0  # for the last users of a detached mount
CONTROL_MESSAGE_BYTES_MAX = 16 * MIB
CONTROL_CONNECTIONS_MAX = 64
CONTROL_IDLE_SECONDS_MAX = 3600.0  # a reader of `objfs cat` may pause
CONTROL_GOODBYE_SECONDS_MAX = 5.0  # for telling those who wait that the volume is closed
CONTROL_READ_BYTES_MAX = 4 * MIB  # of a version, in one answer
CONTROL_PAGE_ENTRIES = 1000
CHANGES_SHOWN = 100  # beneath a directory, if no number is asked for
STORE_HELD_SECONDS_MAX = 10.0  # how long a command waits for an owner that does not listen yet
STORE_HELD_POLL_SECONDS = 0.05
VISIBLE_SECONDS_MAX = 5.0  # how long a restore waits for the kernel to forget the old state
LOG_FILE_BYTES_MAX = 8 * MIB
LOG_FILES_KEPT = 4
BUCKET_NAME_CHARS_MIN = 3
BUCKET_NAME_CHARS_MAX = 63

# --- S3 -------------------------------------------------------------------------------------------
KEY_BYTES_MAX = 1024
OBJECT_TAGS_MAX = 10
BUCKET_TAGS_MAX = 50
TAG_KEY_CHARS_MAX = 128
TAG_VALUE_CHARS_MAX = 256
CORS_RULES_MAX = 100
LIFECYCLE_RULES_MAX = 1000
LIFECYCLE_NEWER_VERSIONS_MAX = 100
LIFECYCLE_DAYS_MAX = (1 << 31) - 1
RULE_ID_CHARS_MAX = 255
LOCK_DAYS_MAX = 36_500
LOCK_YEARS_MAX = 100
DELETED_KEYS_MAX = 1000  # of one DeleteObjects
LISTED_KEYS_MAX = 1000  # of one page of a list
LISTED_BUCKETS_MAX = 10_000
PARTS_MAX = 10_000
USER_METADATA_BYTES_MAX = 2 * KIB
XML_DEPTH_MAX = 32  # levels of a request's XML: no document of S3 has more than ten
XML_ELEMENTS_MAX = 100_000  # a completed upload of 10,000 parts, each with all its checksums
XML_BYTES_MAX = 4 * MIB  # of the XML of a request: 10,000 parts need about half of it
S3_PIECE_BYTES = 1 * MIB  # of a body, given to a handler at a time
