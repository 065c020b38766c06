"""Makes the golden store with what came to format 1 later: `python -m tests.formats.make_time DIR`.

Run once, on a copy of the store `v1`; what it made is never made again. Snapshots, rules of
retention, a forgotten version, an erased entry of a file with two names, a restored tree, a
scrubbed store, and segments that compaction emptied: holes in the ids.
"""

import shutil
import sys
from pathlib import Path

import msgspec
import trio

from objfs.cli.main import run_command_line
from tests.formats.describe import describe


def objfs(*arguments: object) -> None:
    assert run_command_line([str(argument) for argument in arguments]) == 0, arguments


def make(directory: Path) -> None:
    shutil.copytree(Path(__file__).parent / "v1", directory)
    expected = msgspec.json.decode((directory / "expected.json").read_bytes())
    oldest = expected["main"]["files"]["b'noise'"]["versions"][-1][0]
    (directory / "expected.json").unlink()
    objfs("snapshot", "create", directory, "before")
    objfs("snapshot", "create", f"{directory}:main/papers", "papers")
    objfs(
        "restore",
        f"{directory}:main/papers",
        "--snapshot",
        "before",
        "--to",
        f"{directory}:main/copy",
    )
    objfs("restore", f"{directory}:main/noise", "--version", oldest)
    objfs(
        "retention", "set", directory, "--keep-for", "30d", "--daily", "7", "--deleted-days", "90"
    )
    objfs("retention", "set", f"{directory}:main/papers", "--keep-last", "3")
    objfs("snapshot", "delete", directory, "before")
    objfs("forget", "--yes", f"{directory}:main/hard link")
    objfs("forget", "--yes", f"{directory}:main/noise")
    objfs("forget", "--yes", f"{directory}:main/text")
    objfs("scrub", directory)
    objfs("compact", directory)


def main() -> None:
    directory = Path(sys.argv[1])
    make(directory)
    for path in ("index", "log"):
        shutil.rmtree(directory / path, ignore_errors=True)
    for path in ("lock", "reserve", "control.sock"):
        (directory / path).unlink(missing_ok=True)
    expected = trio.run(describe, directory)
    form = msgspec.json.format(msgspec.json.encode(expected), indent=1)
    (directory / "expected.json").write_bytes(form + b"\n")


if __name__ == "__main__":
    main()
