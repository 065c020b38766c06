"""What objfs costs: the same work on a mounted store, on a filesystem that does nothing, and on
the plain disk, in one run. `scripts/bench` runs it; docs/PERFORMANCE.md says how to read it."""
