"""IAM's query API, called by boto3."""

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

from objfs.auth.identity import request_context
from objfs.auth.managed import ADMINISTRATOR, BUILT_IN
from objfs.base.system import SystemRandomness
from objfs.s3.iam import api
from objfs.volume.identities import USER, Identities
from tests.s3.iam.client import iam_client
from tests.volume.store import Store
from tests.volume.test_identities import READ, STORE_KEYS, TRUST, WRITE

Failing = Callable[[], object]


@pytest.fixture
async def who() -> Identities:
    store = Store()
    await store.make()
    identities = store.volume.identities
    identities.use(lambda: STORE_KEYS, SystemRandomness())
    identities.principals.create_user("admin")
    identities.policies.attach(USER, "admin", ADMINISTRATOR)
    return identities


@pytest.fixture
async def iam(who: Identities) -> Any:
    return iam_client(who, who.user("admin"))


def code(call: Failing) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


async def test_users(iam: Any, who: Identities) -> None:
    tags = [{"Key": "team", "Value": "x"}]
    made = iam.create_user(UserName="alice", Path="/staff/", Tags=tags)["User"]
    assert made["Arn"] == f"arn:aws:iam::{who.account.number}:user/staff/alice"
    assert made["CreateDate"].tzinfo is not None
    assert iam.get_user(UserName="alice")["User"] == made
    assert iam.get_user()["User"]["UserName"] == "admin"
    assert [each["UserName"] for each in iam.list_users()["Users"]] == ["admin", "alice"]
    assert [each["UserName"] for each in iam.list_users(PathPrefix="/staff/")["Users"]] == ["alice"]
    assert code(lambda: iam.create_user(UserName="Alice")) == "EntityAlreadyExists"
    iam.update_user(UserName="alice", NewUserName="carol", NewPath="/")
    assert iam.get_user(UserName="carol")["User"]["UserId"] == made["UserId"]
    iam.tag_user(UserName="carol", Tags=[{"Key": "a", "Value": "b"}])
    iam.untag_user(UserName="carol", TagKeys=["team"])
    assert iam.list_user_tags(UserName="carol")["Tags"] == [{"Key": "a", "Value": "b"}]
    iam.delete_user(UserName="carol")
    assert code(lambda: iam.get_user(UserName="carol")) == "NoSuchEntity"
    assert code(lambda: iam.get_login_profile(UserName="admin")) == "NoSuchEntity"
    assert code(lambda: iam.create_user(UserName="b", PermissionsBoundary=ADMINISTRATOR)) == (
        "ValidationError"
    )


async def test_lists_go_on(iam: Any) -> None:
    for number in range(25):
        iam.create_user(UserName=f"u{number:02}")
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 10}))
    assert [len(page["Users"]) for page in pages] == [10, 10, 6]
    names = [each["UserName"] for page in pages for each in page["Users"]]
    assert names == sorted(names)
    assert code(lambda: iam.list_users(Marker="?")) == "ValidationError"


async def test_access_keys(iam: Any, who: Identities) -> None:
    iam.create_user(UserName="alice")
    made = iam.create_access_key(UserName="alice")["AccessKey"]
    holder = who.resolve(made["AccessKeyId"])
    assert holder is not None
    assert holder.secret == made["SecretAccessKey"]
    assert made["Status"] == "Active"
    own = iam.create_access_key()["AccessKey"]
    assert own["UserName"] == "admin"
    iam.update_access_key(UserName="alice", AccessKeyId=made["AccessKeyId"], Status="Inactive")
    (listed,) = iam.list_access_keys(UserName="alice")["AccessKeyMetadata"]
    assert (listed["AccessKeyId"], listed["Status"]) == (made["AccessKeyId"], "Inactive")
    used = iam.get_access_key_last_used(AccessKeyId=made["AccessKeyId"])
    assert used["UserName"] == "alice"
    assert used["AccessKeyLastUsed"]["ServiceName"] == "N/A"
    who.keys.note_used(made["AccessKeyId"], "s3", "us-east-1")
    used = iam.get_access_key_last_used(AccessKeyId=made["AccessKeyId"])["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("s3", "us-east-1")
    assert "LastUsedDate" in used
    assert code(lambda: iam.delete_access_key(AccessKeyId=made["AccessKeyId"])) == "NoSuchEntity"
    assert code(lambda: iam.delete_user(UserName="alice")) == "DeleteConflict"
    iam.delete_access_key(UserName="alice", AccessKeyId=made["AccessKeyId"])
    iam.delete_user(UserName="alice")
    iam.create_access_key()
    assert code(iam.create_access_key) == "LimitExceeded"
    assert code(
        lambda: iam.update_access_key(AccessKeyId=own["AccessKeyId"], Status="Expired")
    ) == ("ValidationError")


async def test_groups(iam: Any) -> None:
    made = iam.create_group(GroupName="staff")["Group"]
    iam.create_user(UserName="alice")
    iam.add_user_to_group(GroupName="staff", UserName="alice")
    found = iam.get_group(GroupName="staff")
    assert found["Group"] == made
    assert [each["UserName"] for each in found["Users"]] == ["alice"]
    assert iam.list_groups_for_user(UserName="alice")["Groups"] == [made]
    assert code(lambda: iam.delete_group(GroupName="staff")) == "DeleteConflict"
    iam.update_group(GroupName="staff", NewGroupName="crew")
    iam.remove_user_from_group(GroupName="crew", UserName="alice")
    iam.delete_group(GroupName="crew")
    assert iam.list_groups()["Groups"] == []


async def test_managed_policies(iam: Any) -> None:
    made = iam.create_policy(PolicyName="p", PolicyDocument=READ, Description="d")["Policy"]
    arn = made["Arn"]
    assert iam.get_policy(PolicyArn=arn)["Policy"] == made
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=WRITE, SetAsDefault=True)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    shown = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert shown["Document"] == json.loads(WRITE)
    assert shown["IsDefaultVersion"]
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [each["VersionId"] for each in versions] == ["v2", "v1"]
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    iam.create_user(UserName="alice")
    iam.attach_user_policy(UserName="alice", PolicyArn=arn)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    attached = iam.list_attached_user_policies(UserName="alice")["AttachedPolicies"]
    assert attached == [{"PolicyName": "p", "PolicyArn": arn}]
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [each["UserName"] for each in entities["PolicyUsers"]] == ["alice"]
    assert code(lambda: iam.delete_policy(PolicyArn=arn)) == "DeleteConflict"
    local = iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"]
    assert [each["PolicyName"] for each in local] == ["p"]
    names = {each["PolicyName"] for each in iam.list_policies(Scope="AWS")["Policies"]}
    assert names == set(BUILT_IN)
    assert len(iam.list_policies(MaxItems=3)["Policies"]) == 3
    iam.detach_user_policy(UserName="alice", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    assert code(lambda: iam.get_policy(PolicyArn=arn)) == "NoSuchEntity"
    assert code(lambda: iam.create_policy(PolicyName="p", PolicyDocument="{}")) == (
        "MalformedPolicyDocument"
    )
    assert code(lambda: iam.delete_policy(PolicyArn=ADMINISTRATOR)) == "ValidationError"


@pytest.mark.parametrize("kind", ["user", "group", "role"])
async def test_policies_of_one(iam: Any, kind: str) -> None:
    name = {f"{kind.title()}Name": "one"}
    more = {"AssumeRolePolicyDocument": TRUST} if kind == "role" else {}
    getattr(iam, f"create_{kind}")(**name, **more)
    getattr(iam, f"put_{kind}_policy")(**name, PolicyName="p", PolicyDocument=READ)
    found = getattr(iam, f"get_{kind}_policy")(**name, PolicyName="p")
    assert found["PolicyDocument"] == json.loads(READ)
    assert getattr(iam, f"list_{kind}_policies")(**name)["PolicyNames"] == ["p"]
    getattr(iam, f"attach_{kind}_policy")(**name, PolicyArn=ADMINISTRATOR)
    listed = getattr(iam, f"list_attached_{kind}_policies")(**name)["AttachedPolicies"]
    assert [each["PolicyArn"] for each in listed] == [ADMINISTRATOR]
    assert code(lambda: getattr(iam, f"delete_{kind}")(**name)) == "DeleteConflict"
    getattr(iam, f"detach_{kind}_policy")(**name, PolicyArn=ADMINISTRATOR)
    getattr(iam, f"delete_{kind}_policy")(**name, PolicyName="p")
    getattr(iam, f"delete_{kind}")(**name)


async def test_roles(iam: Any) -> None:
    made = iam.create_role(
        RoleName="auditor", AssumeRolePolicyDocument=TRUST, MaxSessionDuration=7200
    )["Role"]
    assert made["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert iam.get_role(RoleName="auditor")["Role"] == made
    iam.update_role(RoleName="auditor", Description="looks", MaxSessionDuration=3600)
    iam.update_assume_role_policy(RoleName="auditor", PolicyDocument=TRUST)
    iam.tag_role(RoleName="auditor", Tags=[{"Key": "a", "Value": "b"}])
    assert iam.list_role_tags(RoleName="auditor")["Tags"]
    iam.untag_role(RoleName="auditor", TagKeys=["a"])
    (listed,) = iam.list_roles()["Roles"]
    assert (listed["Description"], listed["MaxSessionDuration"]) == ("looks", 3600)
    changed = iam.update_role_description(RoleName="auditor", Description="")["Role"]
    assert "Description" not in changed
    assert iam.list_instance_profiles_for_role(RoleName="auditor")["InstanceProfiles"] == []
    iam.delete_role(RoleName="auditor")
    assert code(lambda: iam.get_role(RoleName="auditor")) == "NoSuchEntity"


async def test_issuers(iam: Any) -> None:
    arn = iam.create_open_id_connect_provider(
        Url="https://id.example.com/r", ClientIDList=["a"], ThumbprintList=["0" * 40]
    )["OpenIDConnectProviderArn"]
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="b & c")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(
        OpenIDConnectProviderArn=arn, ThumbprintList=["1" * 40]
    )
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"]) == ("id.example.com/r", ["b & c"])
    assert found["ThumbprintList"] == ["1" * 40]
    listed = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert listed == [{"Arn": arn}]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


# --- Who may --------------------------------------------------------------------------------------


async def test_policies_decide_who_may(who: Identities) -> None:
    who.principals.create_user("alice")
    iam = iam_client(who, who.user("alice"))
    assert code(iam.get_user) == "AccessDenied"
    assert code(lambda: iam.create_user(UserName="x")) == "AccessDenied"
    own = {
        "Effect": "Allow",
        "Action": ["iam:*AccessKey*", "iam:GetUser"],
        "Resource": f"arn:aws:iam::{who.account.number}:user/${{aws:username}}",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": own})
    who.policies.put_inline(USER, "alice", "own", document)
    iam = iam_client(who, who.user("alice"))
    assert iam.get_user()["User"]["UserName"] == "alice"
    key = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    assert iam.get_access_key_last_used(AccessKeyId=key)["UserName"] == "alice"
    assert code(lambda: iam.create_access_key(UserName="admin")) == "AccessDenied"
    assert code(lambda: iam.get_user(UserName="admin")) == "AccessDenied"
    assert (
        code(lambda: iam.get_access_key_last_used(AccessKeyId="AKIA" + "N" * 16)) == "AccessDenied"
    )
    # Nobody learns from the answer whether there is such a user.
    assert code(lambda: iam.get_user(UserName="nobody")) == "AccessDenied"
    assert code(iam_client(who, None).get_user) == "MissingAuthenticationToken"


async def test_a_session_has_no_user(who: Identities) -> None:
    role = who.principals.create_role("auditor", TRUST)
    who.policies.attach("role", "auditor", ADMINISTRATOR)
    iam = iam_client(who, who.session(role.id, "monday"))
    assert code(iam.get_user) == "ValidationError"
    assert iam.get_user(UserName="admin")["User"]["UserName"] == "admin"


# --- What is no call ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({}, "InvalidAction"),
        ({"Action": "Fly"}, "InvalidAction"),
        ({"Action": "GetUser", "Version": "2000-01-01"}, "InvalidAction"),
        ({"Action": "CreateUser"}, "ValidationError"),
        ({"Action": "CreateUser", "UserName": "\0<&>\ud800"}, "ValidationError"),
        ({"Action": "ListUsers", "MaxItems": "0"}, "ValidationError"),
        ({"Action": "ListUsers", "MaxItems": "²"}, "ValidationError"),
        ({"Action": "ListUsers", "Marker": "é"}, "ValidationError"),
        ({"Action": "ListPolicies", "Scope": "x"}, "ValidationError"),
        ({"Action": "ListPolicies", "OnlyAttached": "x"}, "ValidationError"),
        ({"Action": "GetPolicyVersion", "PolicyArn": "x", "VersionId": "1"}, "ValidationError"),
        ({"Action": "GetPolicy", "PolicyArn": "x"}, "NoSuchEntity"),
        ({"Action": "CreateUser", "UserName": "a", "Tags.member.x.Key": "a"}, "ValidationError"),
        ({"Action": "CreateUser", "UserName": "a", "Tags.member.1.Key": "a"}, "ValidationError"),
        (
            {"Action": "CreateUser", "UserName": "a"}
            | {f"Tags.member.{n}.{part}": "a" for n in (1, 2) for part in ("Key", "Value")},
            "ValidationError",
        ),
        (
            {"Action": "UntagUser", "UserName": "admin"}
            | {f"TagKeys.member.{n}": "a" for n in range(101)},
            "ValidationError",
        ),
    ],
)
async def test_what_is_no_call(who: Identities, form: dict[str, str], expected: str) -> None:
    admin = who.user("admin")
    context = request_context(admin, time_ns=0, source="::1", secure=True)
    status, body, found = api.answer(who, admin, form, context, "ID-2")
    assert found == expected
    assert 400 <= status < 500
    root = ElementTree.fromstring(body)
    assert root.tag.endswith("ErrorResponse")
    assert root.findtext(f"{{{api.NAMESPACE}}}RequestId") == "ID-2"


async def test_a_fault_of_ours_is_one_and_tells_nothing(
    who: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(who.principals, "delete_user", broken)
    admin = who.user("admin")
    form = {"Action": "DeleteUser", "UserName": "x"}
    status, body, found = api.answer(who, admin, form, {}, "ID-3")
    assert (status, found) == (500, "ServiceFailure")
    assert b"secret" not in body
