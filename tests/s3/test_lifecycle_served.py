"""Lifecycle rules given by a client, and what it sees of them when days have a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from objfs.maint.jobs import scheduler_of
from tests.s3.door import Served, served

PATIENCE_SECONDS = 60  # of a busy machine; it takes about three


async def until(served: Served, look: Callable[[], Any], expected: object) -> None:
    """Ask until the answer is right."""
    found = await served.run(look)
    with trio.move_on_after(PATIENCE_SECONDS):
        while found != expected:
            found = await served.run(look)
    assert found == expected


def give(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    each = [{"ID": f"r{at}", "Status": "Enabled", **rule} for at, rule in enumerate(rules)]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": each})


def prepare(s3: Any) -> None:
    for bucket in ("plain", "kept"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    for key in ("go/a", "go/b", "stay"):
        s3.put_object(Bucket="plain", Key=key, Body=b"x")
    for number in range(3):
        s3.put_object(Bucket="kept", Key="k", Body=b"%d" % number)
    s3.put_object(Bucket="kept", Key="marked", Body=b"x")
    s3.delete_object(Bucket="kept", Key="marked")


def give_rules(s3: Any) -> None:
    give(s3, "plain", {"Filter": {"Prefix": "go/"}, "Expiration": {"Days": 1}})
    give(
        s3,
        "kept",
        {
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
        },
    )


@pytest.mark.slow
async def test_rules_are_seen_to_act(tmp_path: Path) -> None:
    """S16.1, S16.2, S16.3"""
    async with served(tmp_path) as door, trio.open_nursery() as nursery:
        s3 = door.client()
        await door.run(prepare, s3)
        door.volume.lifecycle_day_ns = 10**9
        await nursery.start(scheduler_of(door.volume).run)
        await door.run(give_rules, s3)

        def plain() -> list[str]:
            page = s3.list_objects_v2(Bucket="plain")
            return [each["Key"] for each in page.get("Contents", [])]

        def kept() -> tuple[list[str], list[str]]:
            page = s3.list_object_versions(Bucket="kept")
            return (
                [each["Key"] for each in page.get("Versions", [])],
                [each["Key"] for each in page.get("DeleteMarkers", [])],
            )

        def newest() -> bytes:
            body: bytes = s3.get_object(Bucket="kept", Key="k")["Body"].read()
            return body

        await until(door, plain, ["stay"])
        await until(door, kept, (["k"], []))
        await until(door, newest, b"2")
        nursery.cancel_scope.cancel()
