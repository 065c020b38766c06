"""`objfs serve` and `objfs mount --s3`: real processes, asked over HTTP."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from bench.certificate import make_certificate
from tests.cli.conftest import CommandLine
from tests.programs.drive import OBJFS, Drive

READY = "serving S3 at "


@contextmanager
def served(store: Path, *options: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`objfs serve` in a process of its own: its address, and the process."""
    command = [OBJFS, "serve", store, "--s3", "127.0.0.1:0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                assert process.stderr is not None
                pytest.fail(process.stderr.read())
            assert line.startswith(READY)
            yield line.removeprefix(READY).strip(), process
        finally:
            process.kill()


def get(url: str, path: str, trusted: Path | None = None) -> tuple[int, bytes]:
    place = urlsplit(url)
    assert place.hostname is not None
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=str(trusted))
        client: http.client.HTTPConnection = http.client.HTTPSConnection(
            place.hostname, place.port, timeout=30, context=context
        )
    else:
        client = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


@pytest.mark.slow
def test_a_store_is_served_alone(store: Path, objfs: CommandLine) -> None:
    with served(store) as (url, process):
        assert get(url, "/.objfs/ready") == (200, b"ready\n")
        assert b"objfs_state" in get(url, "/.objfs/metrics")[1]
        status = objfs("status", store, "--json").json
        assert status["owner"] == {
            "pid": process.pid,
            "mountpoint": None,
            "source": str(store),
            "read_only": False,
            "s3": url,
        }
        assert status["doors"]["s3"]["requests"] == {"Endpoint": {"200": 2}}
        assert f"at {url} by process {process.pid}" in objfs("status", store).out
        assert objfs("sync", store).status == 0  # there is no mount that has to be asked first
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "stopping: SIGTERM" in said
    lines = (store / "log" / "audit.jsonl").read_bytes().splitlines()
    entries: list[Any] = [msgspec.json.decode(line) for line in lines]
    assert [entry["target"] for entry in entries] == ["/.objfs/ready", "/.objfs/metrics"]
    assert objfs("status", store, "--json").json.get("owner") is None


@pytest.mark.slow
def test_a_store_is_served_with_tls(store: Path, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    with served(store, "--tls-cert", certificate) as (url, _):
        assert url.startswith("https://127.0.0.1:")
        assert get(url, "/.objfs/health", certificate) == (200, b"ok\n")


@pytest.mark.slow
def test_a_request_under_way_is_answered_before_the_end(store: Path) -> None:
    with served(store) as (url, process):
        place = urlsplit(url)
        with socket.create_connection((str(place.hostname), place.port or 0), timeout=30) as slow:
            slow.sendall(b"GET /.objfs/health HTTP/1.1\r\nHost: h\r\n")
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while "stopping: SIGINT" not in process.stderr.readline():
                assert process.poll() is None
            slow.sendall(b"\r\n")
            answer = slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close\r\n" in answer
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_mount_serves_s3_too(tmp_path: Path, objfs: CommandLine) -> None:
    drive = Drive(tmp_path)
    try:
        drive.mount("--s3", "127.0.0.1:0")
        status = objfs("status", drive.mountpoint, "--json").json
        url = status["owner"]["s3"]
        assert get(url, "/.objfs/ready") == (200, b"ready\n")
        (drive.mountpoint / "a").write_bytes(b"x" * 100_000)
        assert (drive.mountpoint / "a").read_bytes() == b"x" * 100_000
        doors = objfs("status", drive.mountpoint, "--json").json["doors"]
        assert doors["fuse"]["requests"] > 0
        assert doors["fuse"]["bytes_written"] == 100_000
        assert f"objfs_fuse_bytes_written_total {1e5}".encode() in get(url, "/.objfs/metrics")[1]
        drive.umount()
        with pytest.raises(ConnectionRefusedError):
            get(url, "/.objfs/health")
    finally:
        drive.close()


# --- What is wrong is said ------------------------------------------------------------------------


def test_a_port_in_use_is_said(store: Path, objfs: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = objfs("serve", store, "--s3", address)
    assert ran.status == 1
    assert f"cannot listen on {address}: Address already in use" in ran.err


def test_wrong_options_are_said(store: Path, objfs: CommandLine, tmp_path: Path) -> None:
    for options, status, said in (
        ((), 2, "--s3"),
        (("--s3", "9000"), 2, "give HOST:PORT"),
        (("--s3", "127.0.0.1:0", "--tls-key", "k"), 2, "--tls-key goes with --tls-cert"),
        (("--s3", "127.0.0.1:0", "--tls-cert", tmp_path / "none"), 1, "there is no such file"),
    ):
        ran = objfs("serve", store, *options)
        assert (ran.status, said in ran.err) == (status, True), ran
    point = tmp_path / "point"
    point.mkdir()
    for words in (("--domain", "s3.test"), ("--s3", "127.0.0.1:0", "--at", "1h")):
        assert objfs("mount", store, point, *words).status == 2


def test_a_key_that_cannot_be_read_is_said(store: Path, objfs: CommandLine, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    broken = tmp_path / "key.pem"
    broken.write_bytes(os.urandom(100))
    options = ("--tls-cert", certificate, "--tls-key", broken)
    ran = objfs("serve", store, "--s3", "127.0.0.1:0", *options)
    assert ran.status == 1
    assert f"{certificate} and {broken} are no certificate" in ran.err


@pytest.mark.slow
def test_a_store_that_is_served_is_not_served_twice(store: Path, objfs: CommandLine) -> None:
    with served(store) as (_, process):
        ran = objfs("serve", store, "--s3", "127.0.0.1:0")
        assert ran.status == 1
        assert str(process.pid) in ran.err
