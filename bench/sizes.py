"""How much work a run does. Values only; they travel to the child processes as JSON."""

from dataclasses import dataclass, replace

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Sizes:
    """Amounts of work; a loop ends at its `seconds` or at its most, whatever comes first."""

    seconds: float
    files: int  # in the directory that is listed, stated and read
    created_most: int
    renamed: int
    unlinked: int
    large_created_most: int
    stream_bytes: int
    random_file_bytes: int
    random_writes: int
    tree_entries: int
    latency_bytes: int
    memory_bytes: int  # free pages to have at hand before a row over small files
    settle_seconds: float  # after caches were dropped: the filesystem hears of it asynchronously

    def space_bytes(self, rounds: int) -> int:
        """A bound of what the run puts on the disk. The plain directory holds its files once; a
        store gives nothing back, so there each round counts, and the fixtures."""
        streams = self.stream_bytes * 2 + self.latency_bytes + self.random_file_bytes
        small = 4 * KIB * (self.files + self.created_most + self.unlinked + self.renamed)
        large = 128 * KIB * self.large_created_most
        tree = 32 * KIB * self.tree_entries * 4
        return (streams + small + large + tree) * (rounds + 2)


FULL = Sizes(
    seconds=1.0,
    files=10_000,
    created_most=10_000,
    renamed=2_000,
    unlinked=3_000,
    large_created_most=1_500,
    stream_bytes=GIB,
    random_file_bytes=256 * MIB,
    random_writes=20_000,
    tree_entries=5_000,
    latency_bytes=2 * GIB,
    memory_bytes=256 * MIB,
    settle_seconds=0.5,
)

# Long enough for a sampling profiler.
PROFILED = replace(
    FULL,
    seconds=5.0,
    created_most=50_000,
    unlinked=15_000,
    large_created_most=10_000,
    stream_bytes=2 * GIB,
    random_writes=100_000,
)

QUICK = Sizes(
    seconds=0.2,
    files=500,
    created_most=1_000,
    renamed=200,
    unlinked=300,
    large_created_most=200,
    stream_bytes=128 * MIB,
    random_file_bytes=32 * MIB,
    random_writes=2_000,
    tree_entries=500,
    latency_bytes=256 * MIB,
    memory_bytes=32 * MIB,
    settle_seconds=0.1,
)
