"""Clients of S3 that people use, as they come, against the door of a real process: beside a mount
over HTTP, and alone over HTTPS."""

import functools
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.certificate import make_signed_certificate
from tests.programs.drive import Drive, run, tree_of
from tests.programs.served import Door, client_run, make_account, mounted_door, serving

pytestmark = pytest.mark.slow

MIB = 1 << 20
AWS = str(Path(sys.executable).parent / "aws")


@pytest.fixture(scope="module", params=["http", "https"])
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """Beside a mount over HTTP, alone over HTTPS."""
    directory = tmp_path_factory.mktemp(request.param)
    drive = Drive(directory)
    account = make_account(drive)
    if request.param == "http":
        try:
            drive.mount("--s3", "127.0.0.1:0")
            yield mounted_door(drive, account)
        finally:
            drive.close()
    else:
        authority = directory / "authority.pem"
        server = make_signed_certificate(directory / "server.pem", authority)
        with serving(drive, account, "--tls-cert", server, authority=authority) as (served, _):
            yield served
    assert "objfs.s3.door ERROR" not in _log(directory, drive)
    fsck = drive.json("fsck", drive.store)
    assert fsck["problems"] == [], fsck


def _log(directory: Path, drive: Drive) -> str:
    files = [directory / "serve.log", drive.store / "log" / "objfs.log"]
    return "".join(file.read_text() for file in files if file.exists())


@pytest.fixture
def bucket(door: Door, request: pytest.FixtureRequest) -> str:
    """A new bucket that keeps versions."""
    name = request.node.originalname.removeprefix("test_").replace("_", "-")[:63].strip("-")
    client = door.client()
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return str(name)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of many sizes, some with difficult names."""
    root = tmp_path / "tree"
    generator = random.Random(4)
    for name, size in (
        ("empty", 0),
        ("small.txt", 100),
        ("dir/of/depth/file", 70_000),
        ("dir-x", 1),
        ("a name with + & % ü 字.bin", 3_000),
        ("large", 17 * MIB + 5),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(size))
    return root


def contents(root: Path) -> dict[str, bytes]:
    """The files below `root`."""
    return {name: entry[2] for name, entry in tree_of(root).items() if (root / name).is_file()}


def stored(client: Any, bucket: str, prefix: str = "") -> dict[str, bytes]:
    """The objects below `prefix`, by the rest of their keys."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = {}
    for page in pages:
        for entry in page.get("Contents", []):
            answer = client.get_object(Bucket=bucket, Key=entry["Key"])
            body = answer["Body"].read()
            assert (len(body), answer["ETag"]) == (entry["Size"], entry["ETag"])
            found[entry["Key"].removeprefix(prefix)] = body
    return found


# --- boto3 ----------------------------------------------------------------------------------------


def test_boto3(door: Door, bucket: str, tree: Path) -> None:
    client = door.client()
    for name in contents(tree):
        client.upload_file(str(tree / name), bucket, name)
    assert stored(client, bucket) == contents(tree)
    target = tree.parent / "down"
    client.download_file(bucket, "large", str(target))
    assert target.read_bytes() == (tree / "large").read_bytes()
    first = client.put_object(Bucket=bucket, Key="k", Body=b"one", Metadata={"colour": "blue"})
    second = client.put_object(Bucket=bucket, Key="k", Body=b"two")
    client.delete_object(Bucket=bucket, Key="k")
    versions = client.list_object_versions(Bucket=bucket, Prefix="k")
    ids = [entry["VersionId"] for entry in versions["Versions"]]
    assert ids == [second["VersionId"], first["VersionId"]]
    assert [marker["IsLatest"] for marker in versions["DeleteMarkers"]] == [True]
    old = client.get_object(Bucket=bucket, Key="k", VersionId=ids[1])
    assert (old["Body"].read(), old["Metadata"]) == (b"one", {"colour": "blue"})
    client.delete_object(
        Bucket=bucket, Key="k", VersionId=versions["DeleteMarkers"][0]["VersionId"]
    )
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"


_SENDER = """
import sys
from tests.programs.served import Account, Door
from tests.programs.test_s3_clients import part_of_big
url, key, secret, bucket, upload = sys.argv[1:]
client = Door(url, Account(key, secret), None).client()
for number in range(1, 17):
    client.upload_part(
        Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=part_of_big(number)
    )
    print(number, flush=True)
"""
PART_BYTES = 64 * MIB


def part_of_big(number: int) -> bytes:
    """A sixteenth of 1 GiB; no two are alike."""
    return number.to_bytes(8, "little") + _noise()


@functools.cache
def _noise() -> bytes:
    return random.Random(5).randbytes(PART_BYTES - 8)


def _parts_before_the_client_was_killed(door: Door, bucket: str, upload: str) -> dict[int, str]:
    """A client that sends one part after the other dies in the fifth: ETags by number."""
    command = [sys.executable, "-c", _SENDER, door.url, *door.account, bucket, upload]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        while (line := sender.stdout.readline()) != "4\n":
            assert line, "the client failed"
        sender.kill()
    listed = door.client().list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]
    return {part["PartNumber"]: part["ETag"] for part in listed}


def test_an_upload_of_1_gib_goes_on_after_its_client_was_killed(door: Door, bucket: str) -> None:
    if door.secure:
        pytest.skip("it takes long, and once is enough")
    client = door.client()
    upload = client.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    have = _parts_before_the_client_was_killed(door, bucket, upload)
    assert {1, 2, 3, 4} <= set(have) <= {1, 2, 3, 4, 5}

    def send(number: int) -> None:
        have[number] = client.upload_part(
            Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=part_of_big(number)
        )["ETag"]

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send, [number for number in range(16, 0, -1) if number not in have]))
    parts = [{"PartNumber": number, "ETag": have[number]} for number in range(1, 17)]
    done = client.complete_multipart_upload(
        Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    digests = b"".join(bytes.fromhex(have[number].strip('"')) for number in range(1, 17))
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-16"'
    answer = client.get_object(Bucket=bucket, Key="big")
    assert answer["ContentLength"] == 16 * PART_BYTES
    for number in range(1, 17):
        assert answer["Body"].read(PART_BYTES) == part_of_big(number)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


# --- awscli ---------------------------------------------------------------------------------------


def test_awscli(door: Door, tree: Path, tmp_path: Path) -> None:
    environment = door.environment(tmp_path)

    def aws(*words: str | Path) -> str:
        return client_run(environment, AWS, *words)

    assert aws("s3", "mb", "s3://awscli") == "make_bucket: awscli\n"
    status = "Status=Enabled"
    aws("s3api", "put-bucket-versioning", "--bucket=awscli", "--versioning-configuration", status)
    aws("s3", "sync", "--quiet", tree, "s3://awscli/tree")
    assert aws("s3", "sync", tree, "s3://awscli/tree") == ""
    assert stored(door.client(), "awscli", "tree/") == contents(tree)
    (tree / "small.txt").write_bytes(b"changed, and of another length")
    (tree / "dir-x").unlink()
    aws("s3", "sync", "--quiet", "--delete", tree, "s3://awscli/tree")
    aws("s3", "sync", "--quiet", "s3://awscli/tree", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tree)
    aws("s3", "mv", "--quiet", "s3://awscli/tree/large", "s3://awscli/moved")
    assert "18 MiB" not in aws("s3", "ls", "--human-readable", "s3://awscli/tree/")
    assert "17.0 MiB moved" in aws("s3", "ls", "--human-readable", "s3://awscli/")
    versions = json.loads(
        aws("s3api", "list-object-versions", "--bucket=awscli", "--prefix=tree/small.txt")
    )
    assert [entry["IsLatest"] for entry in versions["Versions"]] == [True, False]
    oldest = versions["Versions"][1]["VersionId"]
    aws(
        *("s3api", "get-object", "--bucket=awscli", "--key=tree/small.txt"),
        *("--version-id", oldest, tmp_path / "old"),
    )
    assert (tmp_path / "old").stat().st_size == 100


# --- rclone ---------------------------------------------------------------------------------------


def test_rclone(door: Door, bucket: str, tree: Path, tmp_path: Path) -> None:
    settings = tmp_path / "rclone.conf"
    settings.write_text(
        "[drive]\n"
        "type = s3\n"
        "provider = Other\n"
        f"endpoint = {door.url}\n"
        "region = us-east-1\n"
        f"access_key_id = {door.account.key}\n"
        f"secret_access_key = {door.account.secret}\n"
    )
    environment = door.environment(tmp_path)
    environment.pop("AWS_CA_BUNDLE", None)  # rclone 1.60 fails when it sees that
    trusted = [] if door.authority is None else ["--ca-cert", str(door.authority)]
    there = f"drive:{bucket}/tree"

    def rclone(*words: str | Path) -> str:
        return client_run(environment, "rclone", "--config", settings, *trusted, *words)

    rclone("copy", "--s3-upload-cutoff=8M", "--s3-chunk-size=5M", tree, there)
    assert stored(door.client(), bucket, "tree/") == contents(tree)
    assert "0 differences found" in rclone("check", tree, there)
    assert "0 differences found" in rclone("check", "--download", tree, there)
    os.utime(tree / "dir-x", ns=(1, 1_234_567_890_987_654_321))
    (tree / "small.txt").write_bytes(b"second")
    shutil.rmtree(tree / "dir")
    rclone("sync", tree, there)
    assert "0 differences found" in rclone("check", tree, there)
    assert "2009-02-13 23:31:30.987654321" in rclone("lsl", f"{there}/dir-x")
    assert rclone("sync", "--dry-run", "-v", tree, there).count("Skipped") == 0
    listed = rclone("lsf", "--s3-versions", there).splitlines()
    old = [name for name in listed if name.startswith("small-v")]
    assert (len(old), "small.txt" in listed) == (1, True)
    rclone("copy", "--s3-versions", "--include=small-v*", there, tmp_path / "old")
    assert (tmp_path / "old" / old[0]).stat().st_size == 100
    rclone("copyto", f"{there}/large", f"drive:{bucket}/copied")
    rclone("purge", there)
    assert stored(door.client(), bucket) == {"copied": (tree / "large").read_bytes()}


# --- s3cmd ----------------------------------------------------------------------------------------


def test_s3cmd(door: Door, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "s3cfg").write_text(
        "[default]\n"
        f"access_key = {door.account.key}\n"
        f"secret_key = {door.account.secret}\n"
        f"host_base = {door.place}\n"
        f"host_bucket = {door.place}\n"
        "bucket_location = us-east-1\n"
        f"use_https = {door.secure}\n"
        + ("" if door.authority is None else f"ca_certs_file = {door.authority}\n")
    )
    environment = door.environment(tmp_path)

    def s3cmd(*words: str | Path) -> str:
        return client_run(environment, "s3cmd", "-c", tmp_path / "s3cfg", *words)

    assert "Bucket 's3://s3cmd/' created" in s3cmd("mb", "s3://s3cmd")
    s3cmd("sync", "--multipart-chunk-size-mb=5", f"{tree}/", "s3://s3cmd/tree/")
    assert stored(door.client(), "s3cmd", "tree/") == contents(tree)
    assert "upload:" not in s3cmd("sync", f"{tree}/", "s3://s3cmd/tree/")
    (tmp_path / "back").mkdir()
    s3cmd("sync", "s3://s3cmd/tree/", f"{tmp_path / 'back'}/")
    assert contents(tmp_path / "back") == contents(tree)
    s3cmd("mv", "s3://s3cmd/tree/small.txt", "s3://s3cmd/moved.txt")
    assert "File size: 100" in s3cmd("info", "s3://s3cmd/moved.txt")
    s3cmd("rm", "--recursive", "--force", "s3://s3cmd/tree")
    assert s3cmd("ls", "--recursive", "s3://s3cmd").split()[-1] == "s3://s3cmd/moved.txt"
    s3cmd("rb", "--recursive", "--force", "s3://s3cmd")


# --- restic ---------------------------------------------------------------------------------------


def test_restic(door: Door, bucket: str, tree: Path, tmp_path: Path) -> None:
    environment = door.environment(tmp_path) | {
        "RESTIC_REPOSITORY": f"s3:{door.url}/{bucket}/backups",
        "RESTIC_PASSWORD": "correct horse",
    }
    trusted = [] if door.authority is None else ["--cacert", str(door.authority)]

    def restic(*words: str | Path) -> str:
        return client_run(environment, "restic", *trusted, *words)

    restic("init")
    restic("backup", "--quiet", tree)
    (tree / "small.txt").write_bytes(b"second")
    restic("backup", "--quiet", tree)
    assert "no errors were found" in restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "back")
    assert tree_of(Path(f"{tmp_path}/back{tree}")) == tree_of(tree)
    restic("forget", "--prune", "--keep-last=1")
    assert len(json.loads(restic("snapshots", "--json"))) == 1


# --- s3fs -----------------------------------------------------------------------------------------


def test_s3fs(door: Door, bucket: str, tree: Path, tmp_path: Path) -> None:
    password, point = tmp_path / "password", tmp_path / "s3fs"
    password.write_text(f"{door.account.key}:{door.account.secret}\n")
    password.chmod(0o600)
    point.mkdir()
    environment = door.environment(tmp_path)
    if door.authority is not None:
        environment["CURL_CA_BUNDLE"] = str(door.authority)
    options = f"url={door.url},use_path_request_style,endpoint=us-east-1,passwd_file={password}"
    client_run(environment, "s3fs", bucket, point, "-o", options)
    try:
        run("cp", "-r", f"{tree}/.", point)
        assert contents(point) == contents(tree)
        (point / "small.txt").rename(point / "renamed.txt")
        (point / "dir").rename(point / "other")
        (point / "dir-x").chmod(0o640)
        os.utime(point / "dir-x", (1_234_567_890, 1_234_567_890))
        with (point / "empty").open("ab") as file:
            file.write(b"no more")
        names = sorted(path.name for path in point.iterdir())
        assert "renamed.txt" in names
        assert "small.txt" not in names
        status = (point / "dir-x").stat()
        assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o640, 1_234_567_890)
    finally:
        run("umount", point)
    found = stored(door.client(), bucket)
    assert found["empty"] == b"no more"
    assert found["other/of/depth/file"] == (tree / "dir/of/depth/file").read_bytes()
    assert found["large"] == (tree / "large").read_bytes()


# --- curl -----------------------------------------------------------------------------------------


def test_curl(door: Door, bucket: str, tmp_path: Path) -> None:
    client, environment = door.client(), door.environment(tmp_path)
    trusted = [] if door.authority is None else ["--cacert", str(door.authority)]
    named = {"Bucket": bucket, "Key": "a/presigned key+ü"}
    body = tmp_path / "body"
    body.write_bytes(os.urandom(3 * MIB))

    def curl(*words: str | Path) -> str:
        return client_run(environment, "curl", "-sS", "--fail-with-body", *trusted, *words)

    curl("-T", body, client.generate_presigned_url("put_object", Params=named))
    curl("-o", tmp_path / "got", client.generate_presigned_url("get_object", Params=named))
    assert (tmp_path / "got").read_bytes() == body.read_bytes()
    curl("-X", "DELETE", client.generate_presigned_url("delete_object", Params=named))
    assert stored(client, bucket) == {}

    unsigned = "x-amz-content-sha256: UNSIGNED-PAYLOAD"  # S3 demands it, and curl 7.88 has none
    signed = ("--aws-sigv4", "aws:amz:us-east-1:s3", "--user", ":".join(door.account))
    curl(*signed, "-H", unsigned, "-T", body, f"{door.url}/{bucket}/signed")
    assert curl(*signed, "-H", unsigned, "-I", f"{door.url}/{bucket}/signed").startswith(
        "HTTP/1.1 200"
    )
    listed = curl(*signed, "-H", unsigned, f"{door.url}/{bucket}?list-type=2")
    assert "<Key>signed</Key>" in listed


def test_a_form_of_a_browser(door: Door, bucket: str, tmp_path: Path) -> None:
    client, environment = door.client(), door.environment(tmp_path)
    trusted = [] if door.authority is None else ["--cacert", str(door.authority)]
    body = tmp_path / "picture.png"
    body.write_bytes(os.urandom(200_000))
    form = client.generate_presigned_post(
        bucket,
        "from a form/${filename}",
        Fields={"Content-Type": "image/png", "success_action_status": "201"},
        Conditions=[
            {"Content-Type": "image/png"},
            {"success_action_status": "201"},
            ["content-length-range", 1, 300_000],
        ],
    )
    fields = [word for pair in form["fields"].items() for word in ("-F", "=".join(pair))]
    command = ["curl", "-sS", *trusted, *fields, "-F", f"file=@{body}", form["url"]]
    answer = client_run(environment, *command)
    assert "<Key>from a form/picture.png</Key>" in answer
    answer = client.get_object(Bucket=bucket, Key="from a form/picture.png")
    assert (answer["Body"].read(), answer["ContentType"]) == (body.read_bytes(), "image/png")
    body.write_bytes(os.urandom(300_001))
    assert "<Code>EntityTooLarge</Code>" in client_run(environment, *command)
