"""The S3 servers that are compared, each in a process of its own over a directory on one disk.

Who syncs: objfs answers a PUT when it is on the device. rclone's server writes files and does not
sync them. moto keeps objects in memory, large ones in temporary files.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.s3_client import HOST, Endpoint

_PEERS = Path(__file__).parent.parent / ".venv-peers" / "bin"
_KEY, _SECRET = "AKIDBENCHBENCHBENCH1", "bench-secret-bench-secret-bench-secret-1"
_READY_SECONDS = 30.0


@contextmanager
def objfs(base: Path) -> Iterator[Endpoint]:
    """`objfs serve` over a fresh store."""
    command, store, port = Path(sys.executable).with_name("objfs"), base / "store", free_port()
    subprocess.run([command, "init", store], check=True, stdout=subprocess.DEVNULL)
    made = subprocess.run(
        [command, "user", "create", store, "bench", "--admin", "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    user = json.loads(made.stdout)
    address = f"{HOST}:{port}"
    with _running([command, "serve", store, "--s3", address], base, port):
        yield Endpoint(port, user["access_key_id"], user["secret_access_key"])


@contextmanager
def rclone(base: Path) -> Iterator[Endpoint]:
    """`rclone serve s3` over a directory."""
    (base / "served").mkdir()
    port = free_port()
    arguments: list[str | Path] = ["serve", "s3", base / "served", "--addr", f"{HOST}:{port}"]
    arguments += ["--auth-key", f"{_KEY},{_SECRET}", "--config", base / "none", "--log-level=ERROR"]
    with _running([_PEERS / "rclone", *arguments], base, port):
        yield Endpoint(port, _KEY, _SECRET)


@contextmanager
def moto(base: Path) -> Iterator[Endpoint]:
    """moto's server; its temporary files lie on the same disk."""
    port = free_port()
    with _running([_PEERS / "moto_server", "-H", HOST, "-p", str(port)], base, port):
        yield Endpoint(port, _KEY, _SECRET)


SERVERS: dict[str, Callable[[Path], object]] = {"objfs": objfs, "rclone": rclone, "moto": moto}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextmanager
def _running(command: list[str | Path], base: Path, port: int) -> Iterator[None]:
    """A server that listens; it is ended after the block. RuntimeError if it does not come up."""
    log = base / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(base)},
        ) as process,
    ):
        try:
            _wait(process, port, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    said = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{process.args!r} did not listen at port {port}: {said}")
