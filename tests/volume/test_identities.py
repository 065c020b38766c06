"""Users, groups, roles, keys, policies, issuers: the verbs, and who a key stands for.

Long because each verb has its refusals.
"""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objfs.auth.managed import ADMINISTRATOR, BUILT_IN
from objfs.auth.policy import Request, decide
from objfs.auth.secrets import new_store_keys
from objfs.base import limits
from objfs.base.errors import (
    AlreadyExists,
    InvalidRequest,
    LimitExceeded,
    MalformedPolicy,
    NotFound,
    ReadOnly,
    StillNeeded,
    StoreKeyMissing,
)
from objfs.base.system import SystemRandomness
from objfs.meta.rows import AccessKey
from objfs.volume.identities import GROUP, ROLE, USER, Identities
from tests.volume.store import Store

Call = Callable[[], object]
READ = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"},
    }
)
WRITE = READ.replace("Get", "Put")
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"},
    }
)


STORE_KEYS = new_store_keys(SystemRandomness())


def ready(store: Store) -> Identities:
    identities = store.volume.identities
    identities.use(lambda: STORE_KEYS, SystemRandomness())
    return identities


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.make()
    ready(store)
    return store


@pytest.fixture
async def who(store: Store) -> Identities:
    return store.volume.identities


def may(who: Identities, key_id: str, action: str) -> bool:
    found = who.resolve(key_id)
    assert found is not None
    return decide(Request(action, "arn:aws:s3:::b/k", {}), found.identity).allowed


# --- Users ----------------------------------------------------------------------------------------


async def test_users(who: Identities) -> None:
    alice = who.principals.create_user("Alice", uid=1000, gid=100, path="/staff/", tags={"a": "b"})
    assert alice.id.startswith("AIDA")
    assert len(alice.canonical) == 64
    assert who.principals.get(USER, "aLICE") == alice
    assert who.principals.arn(alice) == f"arn:aws:iam::{who.account.number}:user/staff/Alice"
    bob = who.principals.create_user("bob")
    assert {alice.id, alice.canonical}.isdisjoint({bob.id, bob.canonical})
    assert [each.name for each in who.principals.all(USER)] == ["Alice", "bob"]
    assert [each.name for each in who.principals.all(USER, "/staff/")] == ["Alice"]
    with pytest.raises(AlreadyExists, match="User with name ALICE already exists"):
        who.principals.create_user("ALICE")
    assert who.principals.set_user("alice", uid=7).gid == 100
    assert who.display_name(alice.canonical) == "Alice"
    assert who.display_name("") == ""
    assert who.owner("") == who.account.canonical
    who.principals.delete_user("alice")
    assert who.display_name(alice.canonical) == alice.canonical
    with pytest.raises(NotFound, match="The user with name alice cannot be found"):
        who.principals.delete_user("alice")
    assert who.principals.create_user("alice").id != alice.id


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a" * 65, "é", "a\n"])
async def test_names_that_are_none(who: Identities, name: str) -> None:
    with pytest.raises(InvalidRequest, match="userName"):
        who.principals.create_user(name)


async def test_what_cannot_be_a_user(who: Identities) -> None:
    for path in ("", "a", "/a", "a/", "/" + "a" * 512 + "/"):
        with pytest.raises(InvalidRequest, match="path"):
            who.principals.create_user("a", path=path)
    with pytest.raises(InvalidRequest):
        who.principals.create_user("a", uid=-2)
    with pytest.raises(LimitExceeded):
        who.principals.create_user("a", tags={str(n): "" for n in range(51)})
    for tags in ({"": "x"}, {"a": "*"}, {"a\0": ""}):
        with pytest.raises(InvalidRequest):
            who.principals.create_user("a", tags=tags)
    assert who.principals.all(USER) == []


async def test_what_a_user_has_goes_first(who: Identities) -> None:
    who.principals.create_user("alice")
    who.principals.create_group("staff")
    who.principals.add_member("staff", "alice")
    key = who.keys.create("alice").row
    who.policies.attach(USER, "alice", ADMINISTRATOR)
    who.policies.put_inline(USER, "alice", "own", READ)
    steps: list[tuple[str, Call]] = [
        ("access keys", lambda: who.keys.delete(key.id)),
        ("must delete policies", lambda: who.policies.delete_inline(USER, "alice", "own")),
        ("detach all policies", lambda: who.policies.detach(USER, "alice", ADMINISTRATOR)),
        ("remove user from all groups", lambda: who.principals.remove_member("staff", "alice")),
    ]
    for words, mend in steps:
        with pytest.raises(StillNeeded, match=words):
            who.principals.delete_user("alice")
        mend()
    who.principals.delete_user("alice")


async def test_all_that_a_user_has_goes_by_force(who: Identities) -> None:
    who.principals.create_user("alice")
    key = who.keys.create("alice").row
    who.policies.put_inline(USER, "alice", "own", READ)
    who.principals.delete_user("alice", force=True)
    assert who.resolve(key.id) is None
    assert who.keys.all() == []


async def test_another_name_keeps_everything(who: Identities) -> None:
    alice = who.principals.create_user("alice")
    who.principals.create_group("staff")
    who.principals.add_member("staff", "alice")
    who.policies.put_inline(GROUP, "staff", "p", READ)
    key = who.keys.create("alice").row
    who.principals.create_user("bob")
    with pytest.raises(AlreadyExists):
        who.principals.rename(USER, "alice", new_name="Bob")
    with pytest.raises(InvalidRequest):
        who.principals.rename(USER, "alice", new_name="a b")
    renamed = who.principals.rename(USER, "alice", new_name="Carol", path="/x/")
    assert (renamed.id, renamed.canonical) == (alice.id, alice.canonical)
    who.principals.rename(GROUP, "staff", new_name="crew")
    assert [each.name for each in who.principals.members("crew")] == ["Carol"]
    found = who.resolve(key.id)
    assert found is not None
    assert found.identity.name == "Carol"
    assert may(who, key.id, "s3:GetObject")
    assert who.principals.rename(USER, "carol", new_name="CAROL").name == "CAROL"


# --- Groups and roles -----------------------------------------------------------------------------


async def test_groups(who: Identities) -> None:
    who.principals.create_group("staff")
    who.principals.create_user("alice")
    who.principals.add_member("staff", "alice")
    who.principals.add_member("Staff", "Alice")
    assert [each.name for each in who.principals.members("staff")] == ["alice"]
    assert [each.name for each in who.principals.groups_of("alice")] == ["staff"]
    with pytest.raises(StillNeeded, match="remove users from group"):
        who.principals.delete_group("staff")
    who.principals.delete_group("staff", force=True)
    assert who.principals.groups_of("alice") == []
    with pytest.raises(NotFound):
        who.principals.remove_member("staff", "alice")
    for name in range(11):
        who.principals.create_group(str(name))
    for name in range(10):
        who.principals.add_member(str(name), "alice")
    with pytest.raises(LimitExceeded, match="GroupsPerUser: 10"):
        who.principals.add_member("10", "alice")


async def test_a_group_of_many_users_goes(who: Identities) -> None:
    who.principals.create_group("all")
    for number in range(limits.ROWS_PER_BATCH_MAX + 5):
        who.principals.create_user(f"u{number}")
        who.principals.add_member("all", f"u{number}")
    with pytest.raises(LimitExceeded):
        who.principals.rename(GROUP, "all", new_name="some")
    assert len(who.principals.members("all")) == limits.ROWS_PER_BATCH_MAX + 5
    who.principals.delete_group("all", force=True)
    assert not any(each.groups for each in who.principals.all(USER))


async def test_roles(who: Identities) -> None:
    role = who.principals.create_role("auditor", TRUST, description="looks", session_seconds=7200)
    assert who.principals.arn(role).endswith(":role/auditor")
    who.policies.attach(ROLE, "auditor", ADMINISTRATOR)
    session = who.session(role.id, "monday")
    assert who.session(role.id, "monday") is session
    assert session.arn == f"arn:aws:sts::{who.account.number}:assumed-role/auditor/monday"
    assert session.user_id == f"{role.id}:monday"
    assert decide(Request("s3:GetObject", "x", {}), session)
    changed = who.principals.set_role("auditor", description="", session_seconds=3600, trust=TRUST)
    assert (changed.description, changed.session_seconds) == ("", 3600)
    with pytest.raises(StillNeeded):
        who.principals.delete_role("auditor")
    who.principals.delete_role("auditor", force=True)
    who.principals.create_role("auditor", TRUST)
    with pytest.raises(NotFound):
        who.session(role.id, "monday")
    alice = who.principals.create_user("alice")
    assert who.session(alice.id, "x").name == "alice"
    with pytest.raises(NotFound):
        who.session(who.principals.create_group("g").id, "x")
    for trust, seconds in ((READ, 3600), (TRUST, 1), (TRUST + " " * 9, 10**6)):
        with pytest.raises(InvalidRequest):
            who.principals.create_role("r", trust, session_seconds=seconds)
    long = json.dumps(json.loads(TRUST) | {"Id": "x" * 2048})
    with pytest.raises(LimitExceeded):
        who.principals.create_role("r", long)
    with pytest.raises(InvalidRequest):
        who.principals.create_role("r", TRUST, description="x" * 1001)


# --- Keys -----------------------------------------------------------------------------------------


async def test_keys(who: Identities) -> None:
    who.principals.create_user("alice", uid=5)
    key, secret = who.keys.create("alice")
    assert key.id.startswith("AKIA")
    assert len(key.id) == 20
    assert secret.encode() not in key.secret
    found = who.resolve(key.id)
    assert found is not None
    assert (found.secret, found.active, found.identity.name) == (secret, True, "alice")
    assert found.identity.uid == 5
    assert who.resolve(key.id) is found
    who.keys.set_active(key.id, False, "alice")
    found = who.resolve(key.id)
    assert found is not None
    assert not found.active
    assert who.resolve("AKIANONE") is None
    second = who.keys.create("ALICE").row
    assert [each.id for each in who.keys.keys("alice")] == [key.id, second.id]
    with pytest.raises(LimitExceeded, match="AccessKeysPerUser: 2"):
        who.keys.create("alice")
    who.principals.create_user("bob")
    calls: tuple[Call, ...] = (
        lambda: who.keys.delete(key.id, "bob"),
        lambda: who.keys.get("AKIANONE"),
    )
    for wrong in calls:
        with pytest.raises(NotFound, match="The Access Key with id"):
            wrong()
    who.keys.delete(key.id, "alice")
    assert who.resolve(key.id) is None


async def test_without_the_keys_of_the_store_there_are_no_secrets(store: Store) -> None:
    who = store.volume.identities
    who.principals.create_user("alice")
    key = who.keys.create("alice").row
    await store.close()
    who = store.again().identities
    calls: tuple[Call, ...] = (lambda: who.keys.create("alice"), lambda: who.resolve(key.id))
    for refused in calls:
        with pytest.raises(StoreKeyMissing, match="no keys of the store"):
            refused()


async def test_a_secret_of_another_key_is_refused(store: Store, who: Identities) -> None:
    who.principals.create_user("alice")
    key, other = who.keys.create("alice").row, who.keys.create("alice").row
    with store.volume.core.change() as change:
        change.put(AccessKey(key.id, key.user, other.secret, key.created_ns))
    with pytest.raises(StoreKeyMissing):
        who.resolve(key.id)


async def test_the_last_use_of_a_key_is_noted_now_and_then(store: Store, who: Identities) -> None:
    who.principals.create_user("alice")
    key = who.keys.create("alice").row
    resolved = who.resolve(key.id)
    assert who.keys.get(key.id).used_ns == 0
    who.keys.note_used(key.id, "s3", "us-east-1")
    used = who.keys.get(key.id)
    assert used.used_ns
    assert (used.used_service, used.used_region) == ("s3", "us-east-1")
    sequence = store.volume.core.log.last_sequence
    who.keys.note_used(key.id, "s3", "eu-west-1")
    who.keys.note_used("AKIANONE", "s3", "eu-west-1")
    assert store.volume.core.log.last_sequence == sequence
    assert who.resolve(key.id) is resolved
    store.volume.core.read_only = True
    who.keys.note_used(key.id, "s3", "eu-west-1")
    with pytest.raises(ReadOnly):
        who.keys.delete(key.id)


# --- Policies -------------------------------------------------------------------------------------


async def test_managed_policies(who: Identities) -> None:
    policy = who.policies.create("Reading", READ, description="reads")
    arn = who.policies.arn(policy)
    assert arn == f"arn:aws:iam::{who.account.number}:policy/Reading"
    assert policy.id.startswith("ANPA")
    assert who.policies.document(arn) == READ
    assert who.policies.arn_of("reading") == arn
    assert who.policies.arn_of(arn) == arn
    with pytest.raises(AlreadyExists, match="called READING already exists"):
        who.policies.create("READING", READ)
    with pytest.raises(MalformedPolicy):
        who.policies.create("other", "{}")
    long = json.dumps(json.loads(READ) | {"Id": "x" * limits.MANAGED_POLICY_CHARS_MAX})
    with pytest.raises(LimitExceeded, match="PolicySize: 6144"):
        who.policies.create("other", long)
    names = [each.name for each in who.policies.all()]
    assert names == ["Reading", *BUILT_IN]
    assert [each.name for each in who.policies.all(built_in=False)] == ["Reading"]
    for missing in ("arn:aws:iam::aws:policy/None", arn.replace("policy/", "policy/x/")):
        assert who.policies.document(missing) is None
        with pytest.raises(NotFound):
            who.policies.get(missing)
    with pytest.raises(NotFound, match="policy list"):
        who.policies.arn_of("none")
    who.policies.delete(arn)
    assert who.policies.document(arn) is None


async def test_versions_of_policies(who: Identities) -> None:
    arn = who.policies.arn(who.policies.create("p", READ))
    who.policies.create_version(arn, WRITE, current=False)
    assert who.policies.document(arn) == READ
    who.policies.set_current(arn, 2)
    assert who.policies.document(arn) == WRITE
    with pytest.raises(StillNeeded, match="default version"):
        who.policies.delete_version(arn, 2)
    with pytest.raises(StillNeeded, match="more than one version"):
        who.policies.delete(arn)
    who.policies.delete_version(arn, 1)
    assert who.policies.create_version(arn, READ, current=True).version == 3
    assert [each.version for each in who.policies.versions(arn)] == [3, 2]
    assert who.policies.version(arn).document == READ
    with pytest.raises(NotFound, match="v1"):
        who.policies.version(arn, 1)
    for _ in range(3):
        who.policies.create_version(arn, READ, current=False)
    with pytest.raises(LimitExceeded, match="up to 5 versions"):
        who.policies.create_version(arn, READ, current=False)
    who.policies.put("P", WRITE)
    assert who.policies.document(arn) == WRITE
    assert [each.version for each in who.policies.versions(arn)] == [7, 6, 5, 4, 3]
    assert who.policies.put("q", READ).current == 1
    who.policies.delete(arn, force=True)
    with pytest.raises(NotFound):
        who.policies.versions(arn)


async def test_built_in_policies_stay_as_they_are(who: Identities) -> None:
    assert who.policies.version(ADMINISTRATOR).document == BUILT_IN["AdministratorAccess"]
    assert who.policies.arn_of("administratoraccess") == ADMINISTRATOR
    calls: tuple[Call, ...] = (
        lambda: who.policies.delete(ADMINISTRATOR),
        lambda: who.policies.create_version(ADMINISTRATOR, READ, current=True),
        lambda: who.policies.delete_version(ADMINISTRATOR, 1),
    )
    for change in calls:
        with pytest.raises(InvalidRequest, match="built in"):
            change()
    own = who.policies.arn(who.policies.create("AdministratorAccess", READ))
    assert own != ADMINISTRATOR
    assert who.policies.arn_of("AdministratorAccess") == own


async def test_attached_policies(who: Identities) -> None:
    who.principals.create_user("alice")
    arn = who.policies.arn(who.policies.create("p", READ))
    who.policies.attach(USER, "alice", arn)
    who.policies.attach(USER, "alice", arn)
    assert [each.name for each in who.policies.attachments(arn)] == ["alice"]
    with pytest.raises(StillNeeded, match="attached to entities"):
        who.policies.delete(arn)
    who.policies.delete(arn, force=True)
    assert who.principals.get(USER, "alice").attached == []
    calls: tuple[Call, ...] = (
        lambda: who.policies.detach(USER, "alice", arn),
        lambda: who.policies.attach(USER, "alice", arn),
    )
    for missing in calls:
        with pytest.raises(NotFound):
            missing()
    for number in range(11):
        who.policies.create(str(number), READ)
    for number in range(10):
        who.policies.attach(USER, "alice", who.policies.arn_of(str(number)))
    with pytest.raises(LimitExceeded, match="PoliciesPerUser: 10"):
        who.policies.attach(USER, "alice", who.policies.arn_of("10"))


async def test_inline_policies(who: Identities) -> None:
    who.principals.create_user("alice")
    who.policies.put_inline(USER, "alice", "p", READ)
    assert who.policies.inline(USER, "alice", "p") == READ
    long = json.dumps(json.loads(READ) | {"Id": "x" * 1960})
    with pytest.raises(LimitExceeded, match="Maximum policy size of 2048 bytes exceeded"):
        who.policies.put_inline(USER, "alice", "q", long)
    with pytest.raises(MalformedPolicy, match="Syntax errors in policy"):
        who.policies.put_inline(USER, "alice", "q", "no")
    with pytest.raises(NotFound, match="The user policy with name q cannot be found"):
        who.policies.inline(USER, "alice", "q")
    who.policies.delete_inline(USER, "alice", "p")
    assert who.principals.get(USER, "alice").inline == {}


async def test_a_key_may_what_its_policies_say_now(who: Identities) -> None:
    """What was resolved is forgotten with every change."""
    who.principals.create_user("alice")
    who.principals.create_group("staff")
    key = who.keys.create("alice").row
    assert not may(who, key.id, "s3:GetObject")
    who.policies.put_inline(USER, "alice", "p", READ)
    assert may(who, key.id, "s3:GetObject")
    who.policies.delete_inline(USER, "alice", "p")
    assert not may(who, key.id, "s3:GetObject")
    arn = who.policies.arn(who.policies.create("m", WRITE))
    who.policies.attach(GROUP, "staff", arn)
    who.principals.add_member("staff", "alice")
    assert may(who, key.id, "s3:PutObject")
    who.policies.put("m", READ)
    assert not may(who, key.id, "s3:PutObject")
    assert may(who, key.id, "s3:GetObject")
    who.principals.remove_member("staff", "alice")
    assert not may(who, key.id, "s3:GetObject")


async def test_a_policy_that_does_not_parse_denies_everything(
    store: Store, who: Identities
) -> None:
    row = who.principals.create_user("alice")
    who.policies.attach(USER, "alice", ADMINISTRATOR)
    key = who.keys.create("alice").row
    assert may(who, key.id, "s3:GetObject")
    spoilt = type(row)(
        row.kind, row.key, row.id, row.name, 0, attached=[ADMINISTRATOR], inline={"p": "{"}
    )
    with store.volume.core.change() as change:
        change.put(spoilt)
    who.use(lambda: STORE_KEYS, SystemRandomness())
    assert not may(who, key.id, "s3:GetObject")


async def test_whom_a_bucket_policy_can_name(who: Identities) -> None:
    alice = who.principals.create_user("alice", path="/x/")
    who.principals.create_role("auditor", TRUST)
    number = who.account.number
    known = {
        "*": True,
        number: True,
        who.account.root: True,
        who.principals.arn(alice): True,
        f"arn:aws:iam::{number}:user/alice": False,
        "arn:aws:iam:::user/x/alice": True,
        alice.id: True,
        "AIDANOBODYNOBODY": False,
        f"arn:aws:iam::{number}:role/auditor": True,
        f"arn:aws:iam::{number}:role/other": False,
        f"arn:aws:sts::{number}:assumed-role/auditor/x": True,
        f"arn:aws:sts::{number}:assumed-role/other/x": False,
        "arn:aws:iam::000000000000:root": False,
    }
    assert {name: who.known(name) for name in known} == known


# --- Issuers --------------------------------------------------------------------------------------


async def test_issuers(who: Identities) -> None:
    keys = json.dumps({"keys": [{"kty": "RSA"}]})
    row = who.providers.create("https://id.example.com/realm", clients=["a", "a"], keys=keys)
    arn = who.providers.arn(row)
    assert arn.endswith(":oidc-provider/id.example.com/realm")
    assert row.clients == ["a"]
    assert who.providers.get(arn) == who.providers.get("https://id.example.com/realm") == row
    changed = who.providers.update(arn, clients=["b"], thumbprints=["a" * 40], keys="")
    assert who.providers.all() == [changed]
    with pytest.raises(AlreadyExists):
        who.providers.create("https://id.example.com/realm")
    calls: tuple[Call, ...] = (
        lambda: who.providers.create("id.example.com"),
        lambda: who.providers.create("https://a", clients=[""]),
        lambda: who.providers.create("https://a", clients=[str(n) for n in range(101)]),
        lambda: who.providers.create("https://a", thumbprints=["x"]),
        lambda: who.providers.create("https://a", thumbprints=["a" * 40] * 6),
        lambda: who.providers.create("https://a", keys="{}"),
        lambda: who.providers.create("https://a", keys="["),
        lambda: who.providers.create("https://a", keys="x" * (64 * 1024 + 1)),
    )
    for wrong in calls:
        with pytest.raises(InvalidRequest):
            wrong()
    who.providers.delete(arn)
    with pytest.raises(NotFound):
        who.providers.get(arn)


# --- All of it after a loss of the index ----------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["user", "unuser", "group", "ungroup", "key", "unkey"]), NAMES),
        st.tuples(st.sampled_from(["policy", "unpolicy", "inline", "join", "attach"]), NAMES),
    ),
    max_size=25,
)


def step(who: Identities, verb: str, name: str) -> None:
    keys = who.keys.all()
    calls: dict[str, Call] = {
        "user": lambda: who.principals.create_user(name),
        "unuser": lambda: who.principals.delete_user(name, force=True),
        "group": lambda: who.principals.create_group(name),
        "ungroup": lambda: who.principals.delete_group(name, force=True),
        "key": lambda: who.keys.create(name),
        "unkey": lambda: who.keys.delete(keys[0].id) if keys else None,
        "policy": lambda: who.policies.put(name, READ if name == "a" else WRITE),
        "unpolicy": lambda: who.policies.delete(who.policies.arn_of(name), force=True),
        "inline": lambda: who.policies.put_inline(USER, name, "p", READ),
        "join": lambda: who.principals.add_member(name, name),
        "attach": lambda: who.policies.attach(GROUP, name, who.policies.arn_of(name)),
    }
    calls[verb]()


@pytest.mark.slow
@settings(max_examples=40)
@given(STEPS)
async def test_identities_outlive_their_index(steps: list[tuple[str, str]]) -> None:
    store = Store()
    await store.make()
    who = ready(store)
    for verb, name in steps:
        try:
            step(who, verb, name)
        except (NotFound, AlreadyExists, LimitExceeded):
            continue
    resolved = {key.id: who.resolve(key.id) for key in who.keys.all()}
    rows = store.dump()
    await store.close()
    store.open("lost")
    assert store.dump() == rows
    who = ready(store)
    assert {key.id: who.resolve(key.id) for key in who.keys.all()} == resolved
    await store.close()
