"""Random lifecycle rules over random histories, against a plain reading of S3's rules."""

from random import Random
from typing import Any

import pytest

from objfs.maint.fsck import Asked, Fsck
from objfs.maint.lifecycle import now_ns
from objfs.volume.lifecycle_rules import Filter, LifecycleConfiguration, Rule
from objfs.volume.object_types import ObjectInfo
from tests.maint.test_lifecycle import BUCKET, SHORT_DAY_NS, Bucket
from tests.volume.store import Store

KEYS = [b"a", b"a/b", b"a//c", b"dir/", b"n" * 300, b"z"]


def some_rule(random: Random, number: int) -> Rule:
    def choice(*values: Any) -> Any:
        return random.choice(values)

    matching = Filter(
        prefix=choice("", "", "a", "a/", "n"),
        tags=choice({}, {}, {"t": "1"}),
        larger_than=choice(None, None, 2),
        smaller_than=choice(None, None, 6),
    )
    kind = choice("days", "date", "marker", "noncurrent", "both")
    fields: dict[str, Any] = {}
    if kind in ("days", "both"):
        fields["days"] = random.randint(1, 6)
    if kind == "date":
        fields["date_ns"] = START_NS + random.randint(0, 12) * SHORT_DAY_NS
    if kind == "marker":
        matching = Filter(prefix=matching.prefix)
        fields["expired_marker"] = True
    if kind in ("noncurrent", "both"):
        fields["noncurrent_days"] = random.randint(1, 6)
        fields["newer_noncurrent"] = choice(0, 0, 1, 2)
    return Rule(f"r{number}", random.random() < 0.9, matching, **fields)


START_NS = Store().clock.now_ns()


def expected(
    infos: list[ObjectInfo], configuration: LifecycleConfiguration, now: int, state: str
) -> list[str]:
    """What a plain reading of S3's rules leaves of a key: ids, `-` for a marker."""

    def over(start_ns: int, days: int) -> bool:
        midnight = -(-(start_ns + days * SHORT_DAY_NS) // SHORT_DAY_NS) * SHORT_DAY_NS
        return midnight <= now

    def matches(rule: Rule, info: ObjectInfo) -> bool:
        of = rule.filter
        return (
            rule.enabled
            and info.key.startswith(of.prefix.encode())
            and of.tags.items() <= info.tags.items()
            and (of.larger_than is None or info.size > of.larger_than)
            and (of.smaller_than is None or info.size < of.smaller_than)
        )

    def is_due(at: int, rule: Rule) -> bool:
        info = infos[at]
        if at > 0:
            newer = sum(not each.delete_marker for each in infos[1:at])
            return (
                rule.noncurrent_days is not None
                and newer >= rule.newer_noncurrent
                and over(infos[at - 1].time_ns, rule.noncurrent_days)
            )
        if info.delete_marker and len(infos) > 1:
            return False
        if info.delete_marker and rule.expired_marker:
            return True
        if rule.days is not None:
            return over(info.time_ns, rule.days)
        return rule.date_ns is not None and rule.date_ns <= now

    left = []
    for at, info in enumerate(infos):
        if not any(matches(rule, info) and is_due(at, rule) for rule in configuration.rules):
            left.append("-" if info.delete_marker else info.version_id)
        elif at == 0 and not info.delete_marker:
            left += {
                "on": ["-", info.version_id],
                "suspended": ["-", info.version_id],
                "off": [],
            }[state]
    if state == "suspended" and left[:1] == ["-"] and not infos[0].delete_marker:
        left = [each for each in left if each != "null"]  # the new marker is the null entry
    return left


async def random_history(random: Random, bucket: Bucket) -> None:
    for _ in range(60):
        key = random.choice(KEYS)
        name = random.choice(("put", "put", "put", "delete", "mount"))
        if name == "put":
            tags = random.choice(({}, {"t": "1"}, {"t": "2", "u": ""}))
            await bucket.put(key, random.randbytes(random.randint(0, 8)), tags=tags)
        elif name == "delete":
            await bucket.delete(key)
        else:
            root = bucket.store.volume.root(BUCKET)
            await bucket.store.put("z", random.randbytes(3), root)
        bucket.days(random.random() * 0.4)


def seen(bucket: Bucket) -> dict[bytes, list[str]]:
    return {key: bucket.shown(key) for key in KEYS}


async def check(seed: int, state: str) -> None:
    random = Random(seed)
    store = Store()
    await store.make()
    bucket = Bucket(store, versioning=state)
    await random_history(random, bucket)
    if state == "on" and random.random() < 0.5:
        store.volume.set_bucket(BUCKET, versioning="suspended")
        state = "suspended"
        await random_history(random, bucket)
    for _ in range(5):
        rules = [some_rule(random, number) for number in range(random.randint(1, 4))]
        bucket.rules(*rules)
        now = now_ns(store.volume)
        right = {
            key: expected(
                bucket.objects.versions(BUCKET, key),
                LifecycleConfiguration(tuple(rules)),
                now,
                state,
            )
            for key in KEYS
        }
        await bucket.apply()
        assert seen(bucket) == right, f"seed {seed}, {state}: {rules}"
        bucket.days(random.random() * 3)
    found = await Fsck(store.volume).run(Asked(), restart=True)
    assert not found.problems
    before = seen(bucket)
    await store.close()
    store.open("lost")
    assert seen(bucket) == before
    await store.close()


@pytest.mark.parametrize("state", ["off", "on", "suspended"])
async def test_what_the_rules_say_is_what_is_left(state: str) -> None:
    """S16.1, S16.2, S16.3"""
    await check(1, state)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["off", "on", "suspended"])
@pytest.mark.parametrize("seed", range(100, 130))
async def test_what_many_rules_say_is_what_is_left(seed: int, state: str) -> None:
    """S16.1, S16.2, S16.3"""
    await check(seed, state)
