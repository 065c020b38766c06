"""A sampling profile of the objfs process under one row, by py-spy.

py-spy is no dependency of objfs; the first profile installs it into .venv.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PY_SPY = "py-spy==0.4.3"
RATE_HZ = 400
_LINE = re.compile(r":\d+\)$")


class NoProfiler(Exception):
    """py-spy can neither be found nor installed."""


def _program() -> Path:
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", PY_SPY]
        done = subprocess.run(pip, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoProfiler(f"{' '.join(pip)} failed: {done.stderr.strip()}")
    return program


@contextmanager
def recorded(pid: int, stacks: Path) -> Iterator[None]:
    """While inside, the process is sampled; afterwards `stacks` holds its stacks, one per line
    with a count."""
    command: list[str | Path] = [_program(), "record", "--pid", str(pid), "--rate", str(RATE_HZ)]
    command += ["--format", "raw", "--nonblocking", "--threads", "--output", stacks]
    command += ["--duration", "3600"]
    profiler = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert profiler.stdout is not None
        while b"Sampling process" not in (line := profiler.stdout.readline()):
            if not line:
                raise NoProfiler(f"py-spy ended with status {profiler.wait()}; is ptrace allowed?")
        yield
    finally:
        profiler.send_signal(signal.SIGINT)
        profiler.communicate()


def functions(lines: Iterable[str]) -> tuple[Counter[str], Counter[str], int]:
    """Samples by function, alone and with what it called, and their number, from collapsed stacks
    `outer;inner count`. A recursive function counts once per sample."""
    alone: Counter[str] = Counter()
    together: Counter[str] = Counter()
    total = 0
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if not stack:
            continue
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        total += int(count)
        alone[frames[-1]] += int(count)
        for frame in set(frames):
            together[frame] += int(count)
    return alone, together, total


def report(lines: Iterable[str], most: int = 40) -> str:
    """The functions by their own time."""
    alone, together, total = functions(lines)
    if not total:
        return "no samples: the process did nothing"
    head = f"{total} samples at {RATE_HZ} Hz\n   self   total  function"
    rows = [
        f"{100 * count / total:6.1f}% {100 * together[name] / total:6.1f}%  {name}"
        for name, count in alone.most_common(most)
    ]
    tail = "\nwith what they call:\n" + "\n".join(
        f"        {100 * count / total:6.1f}%  {name}" for name, count in together.most_common(most)
    )
    return "\n".join([head, *rows]) + "\n" + tail


def keep(stacks: Path, destination: Path) -> None:
    """Copy the raw stacks to where the user wants them (flame graph tools read them)."""
    shutil.copyfile(stacks, destination)
