"""What holds for all tests."""

from hypothesis import settings

# How long an example takes tells about the machine: benchmarks measure, tests do not.
settings.register_profile("objfs", deadline=None)
settings.load_profile("objfs")
