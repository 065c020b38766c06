"""The process that does the work: `python -m bench.child JSON`. It does one step of one row and
prints what it measured as JSON; the bench itself stays out of the measurement."""

import gc
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench.place import Place
from bench.rows import BY_KEY
from bench.sizes import Sizes

PREPARE = "prepare"
MEASURE = "measure"
CLEAN = "clean"


class WorkFailed(Exception):
    """A step of a row ended with an error; what it printed is in the message."""


def run_child(place: Place, step: str) -> dict[str, float]:
    """Do `step` in a process of its own; what it measured, by figure name."""
    request = {
        "step": step,
        "root": str(place.root),
        "row": place.row,
        "round": place.round,
        "source": str(place.source),
        "sizes": asdict(place.sizes),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "bench.child", json.dumps(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            _kill_group(process)
            raise
    if process.returncode != 0:
        raise WorkFailed(f"{place.row}: {step} in {place.root} failed:\n{errors.strip()}")
    figures: dict[str, float] = json.loads(output)
    return figures


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End the child and the programs it started: the filesystem they work on is to be unmounted."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _do(step: str, place: Place) -> dict[str, float]:
    row = BY_KEY[place.row]
    if step == MEASURE:
        measured = row.measure(place)
        return measured if isinstance(measured, dict) else {"": measured}
    if step == PREPARE:
        place.own()
        if row.prepare is not None:
            row.prepare(place)
    elif step == CLEAN:
        place.clean()
    else:
        raise ValueError(f"no such step: {step}")
    return {}


def _main() -> None:
    request = json.loads(sys.argv[1])
    step = request.pop("step")
    place = Place(
        root=Path(request["root"]),
        row=request["row"],
        round=request["round"],
        source=Path(request["source"]),
        sizes=Sizes(**request["sizes"]),
    )
    gc.disable()
    print(json.dumps(_do(step, place)))


if __name__ == "__main__":
    _main()
