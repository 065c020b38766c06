"""`objfs user|key|group|policy|issuer`, on a store that nobody has open, and on one that is
served."""

import json
from pathlib import Path
from typing import Any

import pytest

from objfs.auth.policy import Request, decide
from objfs.volume.volume import Volume
from tests.cli.conftest import CommandLine, with_volume
from tests.cli.test_serve import served

READ = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"},
    }
)


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(READ)
    return path


def may(store: Path, key_id: str, action: str) -> bool | None:
    """What a key may now; None: there is no such key, or it is disabled."""

    async def work(volume: Volume) -> bool | None:
        found = volume.identities.resolve(key_id)
        if found is None or not found.active:
            return None
        return decide(Request(action, "arn:aws:s3:::b/k", {}), found.identity).allowed

    found: bool | None = with_volume(store, work)
    return found


def test_the_first_user_is_the_administrator(objfs: CommandLine, store: Path) -> None:
    made = objfs("user", "create", store, "alice", "--json").json
    assert list(made)[:3] == ["name", "access_key_id", "secret_access_key"]
    assert len(made["secret_access_key"]) == 40
    assert made["admin"]
    second = objfs("user", "create", store, "bob", "--uid", 7, "--json").json
    assert (second["admin"], second["uid"], second["gid"]) == (False, 7, None)
    third = objfs("user", "create", store, "carol", "--admin", "--json").json
    keys = [each["access_key_id"] for each in (made, second, third)]
    assert [may(store, key, "iam:CreateUser") for key in keys] == [True, False, True]


def test_a_first_user_may_be_none(objfs: CommandLine, store: Path) -> None:
    made = objfs("user", "create", store, "alice", "--no-admin", "--json").json
    assert not made["admin"]
    assert may(store, made["access_key_id"], "s3:GetObject") is False


@pytest.mark.slow
def test_users(objfs: CommandLine, store: Path) -> None:
    shown = objfs("user", "create", store, "alice").out
    assert "secret access key" in shown
    assert "only now" in shown
    assert "alice is an administrator" in shown
    objfs("user", "create", store, "bob")
    assert objfs("user", "set", store, "bob", "--uid", 5).out == "changed user bob\n"
    users = objfs("user", "list", store, "--json").json["users"]
    assert [(each["name"], each["uid"]) for each in users] == [("alice", None), ("bob", 5)]
    assert "AdministratorAccess" in objfs("user", "list", store).out
    assert "already exists" in objfs("user", "create", store, "ALICE").err
    assert objfs("user", "set", store, "bob").status == 2
    key = users[1]["access_keys"][0]
    assert objfs("user", "delete", store, "bob").out == "deleted user bob\n"
    assert may(store, key, "s3:GetObject") is None
    assert "cannot be found" in objfs("user", "delete", store, "bob").err
    assert "userName is invalid" in objfs("user", "create", store, "a b").err


@pytest.mark.slow
def test_keys(objfs: CommandLine, store: Path) -> None:
    first = objfs("user", "create", store, "alice", "--json").json["access_key_id"]
    second = objfs("key", "create", store, "alice", "--json").json["access_key_id"]
    assert "AccessKeysPerUser: 2" in objfs("key", "create", store, "alice").err
    assert objfs("key", "disable", store, first).out == (f"disabled access key {first} of alice\n")
    states = {
        each["access_key_id"]: each["active"]
        for each in objfs("key", "list", store, "alice", "--json").json["keys"]
    }
    assert states == {first: False, second: True}
    assert may(store, first, "s3:GetObject") is None
    objfs("key", "enable", store, first)
    assert may(store, first, "s3:GetObject")
    assert "secret" not in objfs("key", "list", store, "--json").out
    assert "enabled" in objfs("key", "list", store).out
    objfs("key", "delete", store, first)
    assert may(store, first, "s3:GetObject") is None
    assert "cannot be found" in objfs("key", "delete", store, first).err
    assert "secret access key" in objfs("key", "create", store, "alice").out


@pytest.mark.slow
def test_groups_and_policies(objfs: CommandLine, store: Path, policy_file: Path) -> None:
    objfs("user", "create", store, "admin")
    key = objfs("user", "create", store, "bob", "--json").json["access_key_id"]
    assert objfs("group", "create", store, "staff").out == "made group staff\n"
    assert objfs("policy", "put", store, "reading", policy_file).out == (
        "policy reading is at version 1\n"
    )
    objfs("policy", "attach", store, "reading", "--group", "staff")
    assert not may(store, key, "s3:GetObject")
    objfs("group", "add", store, "staff", "bob")
    assert may(store, key, "s3:GetObject")
    assert not may(store, key, "s3:PutObject")
    assert "staff" in objfs("user", "list", store).out
    assert "bob" in objfs("group", "list", store).out
    (group,) = objfs("group", "list", store, "--json").json["groups"]
    assert (group["users"], len(group["policies"])) == (["bob"], 1)
    policy_file.write_text(READ.replace("Get", "Put"))
    assert objfs("policy", "put", store, "reading", policy_file, "--json").json["version"] == 2
    assert may(store, key, "s3:PutObject")
    assert not may(store, key, "s3:GetObject")
    assert json.loads(objfs("policy", "show", store, "reading").out)["Statement"]
    shown = objfs("policy", "show", store, "AdministratorAccess", "--json").json
    assert '"Action": "*"' in shown["document"]
    assert "group staff" in objfs("policy", "list", store).out
    assert "attached" in objfs("policy", "delete", store, "reading").err
    assert "remove users" in objfs("group", "delete", store, "staff").err
    objfs("group", "remove", store, "staff", "bob")
    assert not may(store, key, "s3:PutObject")
    objfs("policy", "attach", store, "AmazonS3FullAccess", "--user", "bob")
    objfs("policy", "detach", store, "AmazonS3FullAccess", "--user", "bob")
    assert objfs("group", "delete", store, "staff", "--force").status == 0
    assert "more than one version" in objfs("policy", "delete", store, "reading").err
    gone = objfs("policy", "delete", store, "reading", "--force")
    assert gone.out == "deleted policy reading\n"


def test_wrong_policies_are_said(objfs: CommandLine, store: Path, policy_file: Path) -> None:
    policy_file.write_text("{")
    assert "Syntax errors in policy" in objfs("policy", "put", store, "p", policy_file).err
    assert objfs("policy", "put", store, "p", policy_file.parent / "none").status == 2
    assert "policy list" in objfs("policy", "show", store, "p").err
    assert objfs("policy", "attach", store, "p").status == 2
    assert objfs("policy", "attach", store, "p", "--user", "a", "--group", "b").status == 2
    assert "built in" in objfs("policy", "delete", store, "AdministratorAccess").err


def test_issuers(objfs: CommandLine, store: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"kty": "RSA"}]}))
    url = "https://id.example.com/realm"
    objfs("issuer", "put", store, url, "--client", "a", "--client", "b")
    made = objfs("issuer", "put", store, url, "--keys", keys, "--json").json
    assert (made["url"], made["clients"], made["keys"]) == (
        *("id.example.com/realm", ["a", "b"]),
        True,
    )
    assert "id.example.com" in objfs("issuer", "list", store).out
    keys.write_text("{}")
    assert "no keys" in objfs("issuer", "put", store, url, "--keys", keys).err
    objfs("issuer", "delete", store, url)
    assert objfs("issuer", "list", store, "--json").json == {"issuers": []}


def test_identities_outlive_the_index(objfs: CommandLine, store: Path) -> None:
    made = objfs("user", "create", store, "alice", "--json").json
    before = objfs("user", "list", store, "--json").json
    assert objfs("rebuild", store).status == 0
    assert objfs("user", "list", store, "--json").json == before
    assert may(store, made["access_key_id"], "s3:GetObject")


def test_without_the_keys_of_the_store_no_user_is_made(
    objfs: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBJFS_KEY_FILE", str(store / "none"))
    assert objfs("user", "create", store, "alice").status == 1
    assert objfs("user", "list", store, "--json").json == {"users": []}


@pytest.mark.slow
def test_while_the_store_is_served(objfs: CommandLine, store: Path) -> None:
    with served(store):
        made: Any = objfs("user", "create", store, "alice", "--json").json
        assert made["admin"]
        objfs("group", "create", store, "staff")
        objfs("group", "add", store, "staff", "alice")
        assert objfs("user", "list", store, "--json").json["users"][0]["groups"] == ["staff"]
        assert "already exists" in objfs("group", "create", store, "staff").err
    assert may(store, made["access_key_id"], "s3:GetObject")
