"""STS end to end: boto3's clients take roles and use what they get."""

import datetime
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from objfs.auth.managed import ADMINISTRATOR
from objfs.volume.identities import ROLE, USER
from tests.auth.test_web_identity import SIGNERS, document, jwk_of, token_of
from tests.s3.door import REGION, Key, Served, refused, served

pytestmark = pytest.mark.slow
ISSUER = "issuer.example/realm"
KEYS = document(*(jwk_of(key.public_key(), kid=kid) for kid, (_, key) in SIGNERS.items())).decode()


def allow(*actions: str, resource: str = "*", **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal: Any, action: str = "sts:AssumeRole", **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Roles:
    """A door with alice, who may do nothing, and what she may become."""

    def __init__(self, door: Served) -> None:
        self.door = door
        self.who = door.who
        self.alice = door.new_user("alice")
        self.account = self.who.account
        door.client().create_bucket(Bucket="one")
        door.client().put_object(Bucket="one", Key="a", Body=b"text")

    def role(self, name: str, policy: str | None = None, **settings: Any) -> str:
        """The ARN of a role that alice may take."""
        settings.setdefault("trust", trust({"AWS": self.account.arn("user", "alice")}))
        row = self.who.principals.create_role(name, **settings)
        if policy is not None:
            self.who.policies.put_inline(ROLE, name, "own", policy)
        arn: str = self.who.principals.arn(row)
        return arn

    def sts(self, key: Key | None = None) -> Any:
        return self.door.client(key or self.alice, "sts", parameter_validation=False)

    def take(self, arn: str, key: Key | None = None, **more: Any) -> Key:
        named = {"RoleArn": arn, "RoleSessionName": "monday", **more}
        return Key.of(self.sts(key).assume_role(**named)["Credentials"])

    def refused(self, arn: str, key: Key | None = None, **more: Any) -> tuple[str, int]:
        named = {"RoleArn": arn, "RoleSessionName": "monday", **more}
        return refused(self.sts(key).assume_role, **named)


@pytest.fixture
async def with_roles(tmp_path: Path) -> Any:
    async def run(work: Callable[[Roles], None]) -> None:
        async with served(tmp_path) as door:
            await door.run(lambda: work(Roles(door)))

    return run


DENIED = ("AccessDenied", 403)
INVALID = ("ValidationError", 400)


async def test_a_role_is_taken(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        s3 = roles.door.client(roles.alice)
        assert refused(s3.get_object, Bucket="one", Key="a") == DENIED
        arn = roles.role("reader", allow("s3:GetObject"), path="/team/")
        answer = roles.sts().assume_role(RoleArn=arn, RoleSessionName="monday")
        role = roles.who.principals.get(ROLE, "reader")
        taken = f"arn:aws:sts::{roles.account.number}:assumed-role/reader/monday"
        assert answer["AssumedRoleUser"] == {"AssumedRoleId": f"{role.id}:monday", "Arn": taken}
        left = answer["Credentials"]["Expiration"] - datetime.datetime.now(datetime.UTC)
        assert 3590 < left.total_seconds() <= 3600
        assert "PackedPolicySize" not in answer
        key = Key.of(answer["Credentials"])
        assert key.id.startswith("ASIA")
        s3 = roles.door.client(key)
        assert s3.get_object(Bucket="one", Key="a")["Body"].read() == b"text"
        assert refused(s3.put_object, Bucket="one", Key="a") == DENIED
        identity = roles.sts(key).get_caller_identity()
        assert (identity["Arn"], identity["UserId"]) == (taken, f"{role.id}:monday")
        assert identity["Account"] == roles.account.number

    await with_roles(work)


async def test_a_session_ends_with_its_role(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        arn = roles.role("reader", allow("s3:GetObject"))
        s3 = roles.door.client(roles.take(arn))
        s3.get_object(Bucket="one", Key="a")
        roles.who.policies.put_inline(ROLE, "reader", "own", allow("s3:ListBucket"))
        assert refused(s3.get_object, Bucket="one", Key="a") == DENIED
        s3.list_objects_v2(Bucket="one")
        roles.who.principals.delete_role("reader", force=True)
        assert refused(s3.list_objects_v2, Bucket="one") == ("InvalidAccessKeyId", 403)
        roles.role("reader", allow("s3:*"))  # another of the same name
        assert refused(s3.list_objects_v2, Bucket="one") == ("InvalidAccessKeyId", 403)

    await with_roles(work)


async def test_a_session_policy_narrows_the_role(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        arn = roles.role("writer", allow("s3:GetObject", "s3:PutObject"))
        narrow = allow("s3:GetObject", "s3:ListBucket")
        answer = roles.sts().assume_role(RoleArn=arn, RoleSessionName="monday", Policy=narrow)
        assert 0 < answer["PackedPolicySize"] <= 100
        s3 = roles.door.client(Key.of(answer["Credentials"]))
        s3.get_object(Bucket="one", Key="a")
        assert refused(s3.put_object, Bucket="one", Key="a") == DENIED
        assert refused(s3.list_objects_v2, Bucket="one") == DENIED  # not the role's
        made = roles.who.policies.create("reading", allow("s3:GetObject"))
        policy = roles.who.policies.arn(made)
        s3 = roles.door.client(roles.take(arn, PolicyArns=[{"arn": policy}]))
        s3.get_object(Bucket="one", Key="a")
        assert refused(s3.put_object, Bucket="one", Key="a") == DENIED
        roles.who.policies.delete(policy)
        assert refused(s3.get_object, Bucket="one", Key="a") == DENIED
        assert roles.refused(arn, PolicyArns=[{"arn": policy}]) == INVALID
        bad = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]})
        assert roles.refused(arn, Policy=bad) == ("MalformedPolicyDocument", 400)
        assert roles.refused(arn, Policy=allow("s3:*", resource=f"arn:aws:s3:::{'x' * 2100}")) == (
            INVALID
        )

    await with_roles(work)


async def test_a_session_policy_narrows_what_iam_and_sts_do_too(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        arn = roles.role("admin")
        roles.who.policies.attach(ROLE, "admin", ADMINISTRATOR)
        other = roles.role(
            "other", trust=trust({"AWS": roles.account.arn("role", "admin")}), policy=allow("s3:*")
        )
        whole, narrow = roles.take(arn), roles.take(arn, Policy=allow("s3:*"))
        roles.take(other, whole)
        assert roles.refused(other, narrow) == DENIED
        roles.door.client(whole, "iam").create_user(UserName="bob")
        iam = roles.door.client(narrow, "iam")
        assert refused(iam.create_access_key, UserName="bob") == DENIED
        named = trust({"AWS": f"arn:aws:sts::{roles.account.number}:assumed-role/admin/monday"})
        roles.who.principals.set_role("other", trust=named)
        roles.take(other, narrow)

    await with_roles(work)


async def test_trust(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        bob = roles.door.new_user("bob")
        arn = roles.role("reader")
        assert roles.refused(arn, bob) == DENIED
        assert roles.refused(roles.account.arn("role", "nobody")) == DENIED
        assert roles.refused(arn.replace(roles.account.number, "123456789012")) == DENIED
        assert roles.refused(arn.replace(":role/", ":role/other/")) == DENIED
        assert roles.refused(arn.replace(":role/", ":user/")) == DENIED
        # the account as the principal leaves it to the account's policies
        roles.who.principals.set_role("reader", trust=trust({"AWS": roles.account.root}))
        assert roles.refused(arn, bob) == DENIED
        roles.who.policies.put_inline(USER, "bob", "own", allow("sts:AssumeRole", resource=arn))
        roles.take(arn, bob)
        external = {"StringEquals": {"sts:ExternalId": "secret"}}
        names = {"StringLike": {"sts:RoleSessionName": "mon*"}}
        everyone = {"AWS": "*"}
        roles.who.principals.set_role("reader", trust=trust(everyone, Condition=external | names))
        assert roles.refused(arn) == DENIED
        assert roles.refused(arn, ExternalId="other") == DENIED
        assert roles.refused(arn, ExternalId="secret", RoleSessionName="tuesday") == DENIED
        roles.take(arn, ExternalId="secret")
        denying = json.loads(trust(everyone))
        denying["Statement"].append(
            json.loads(trust({"AWS": roles.account.arn("user", "alice")}))["Statement"][0]
            | {"Effect": "Deny"}
        )
        roles.who.principals.set_role("reader", trust=json.dumps(denying))
        assert roles.refused(arn) == DENIED
        roles.take(arn, bob)

    await with_roles(work)


async def test_durations_and_names(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        everyone = trust({"AWS": "*"})
        short = roles.role("short", allow("sts:AssumeRole"), trust=everyone)
        long = roles.role("long", trust=everyone, session_seconds=7200)
        assert roles.refused(short, DurationSeconds=3601) == INVALID
        assert roles.refused(short, DurationSeconds=900 - 1) == INVALID
        roles.take(long, DurationSeconds=7200)
        chained = roles.take(short)
        assert roles.refused(long, chained, DurationSeconds=3601) == INVALID
        roles.take(long, chained, DurationSeconds=3600)
        assert roles.refused(short, RoleSessionName="two words") == INVALID
        for more in (
            {"Tags": [{"Key": "a", "Value": "b"}]},
            {"TransitiveTagKeys": ["a"]},
            {"SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"},
            {"SourceIdentity": "me"},
        ):
            with pytest.raises(ClientError, match="is not supported by this server"):
                roles.sts().assume_role(RoleArn=short, RoleSessionName="monday", **more)

    await with_roles(work)


async def test_session_tokens_of_users(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        roles.who.policies.put_inline(USER, "alice", "own", allow("s3:GetObject", "iam:*"))
        key = Key.of(roles.sts().get_session_token()["Credentials"])
        s3 = roles.door.client(key)
        s3.get_object(Bucket="one", Key="a")
        assert refused(s3.put_object, Bucket="one", Key="a") == DENIED
        arn = roles.account.arn("user", "alice")
        assert roles.sts(key).get_caller_identity()["Arn"] == arn
        assert refused(roles.sts(key).get_session_token) == DENIED
        iam = roles.door.client(key, "iam")
        assert refused(iam.create_access_key) == ("InvalidClientTokenId", 403)
        assert refused(roles.sts().get_session_token, DurationSeconds=129_601) == INVALID
        roles.sts().get_session_token(DurationSeconds=129_600)
        roles.who.principals.delete_user("alice", force=True)
        assert refused(s3.get_object, Bucket="one", Key="a") == ("InvalidAccessKeyId", 403)

    await with_roles(work)


async def test_tokens_are_of_their_key(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        arn = roles.role("reader", allow("s3:GetObject"))
        one, other = roles.take(arn), roles.take(arn)
        wanted = {"Bucket": "one", "Key": "a"}
        for key, code in (
            (one._replace(token=other.token), ("InvalidToken", 400)),
            (one._replace(token=None), ("InvalidAccessKeyId", 403)),
            (roles.alice._replace(token=one.token), ("InvalidToken", 400)),
            (one._replace(token=(one.token or "")[:-4] + "AAAA"), ("InvalidToken", 400)),
            (one._replace(token="\N{SNOWMAN}".encode().decode("latin-1")), ("InvalidToken", 400)),
            (one._replace(token="A" * 9000), ("InvalidToken", 400)),
            (one._replace(secret=other.secret), ("SignatureDoesNotMatch", 403)),
        ):
            assert refused(roles.door.client(key).get_object, **wanted) == code
        sts = roles.sts(one._replace(token=other.token))
        assert refused(sts.get_caller_identity) == ("InvalidClientTokenId", 403)

    await with_roles(work)


async def test_conditions_see_the_session(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        since = {"DateGreaterThan": {"aws:TokenIssueTime": "2100-01-01T00:00:00Z"}}
        arn = roles.role("reader", allow("s3:GetObject", Condition=since))
        s3 = roles.door.client(roles.take(arn))
        assert refused(s3.get_object, Bucket="one", Key="a") == DENIED
        since = {"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}}
        roles.who.policies.put_inline(ROLE, "reader", "own", allow("s3:GetObject", Condition=since))
        s3.get_object(Bucket="one", Key="a")

    await with_roles(work)


# --- Web identities -------------------------------------------------------------------------------


def web_token(**claims: Any) -> str:
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    return token_of("r", **{"exp": now + 600, "iat": now, **claims})


class Web:
    """Roles for whoever an issuer vouches for."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        row = roles.who.providers.create(f"https://{ISSUER}", clients=["objfs"], keys=KEYS)
        self.issuer = roles.who.providers.arn(row)

    def role(self, name: str, policy: str, **condition: Any) -> str:
        more = {"Condition": condition} if condition else {}
        trusting = trust({"Federated": self.issuer}, "sts:AssumeRoleWithWebIdentity", **more)
        return self.roles.role(name, policy, trust=trusting)

    def take(self, arn: str, token: str, **more: Any) -> Any:
        client = self.roles.sts(Key("AKIANOBODY", "nothing"))  # it does not sign this call
        return client.assume_role_with_web_identity(
            RoleArn=arn, RoleSessionName="monday", WebIdentityToken=token, **more
        )

    def refused(self, arn: str, token: str, **more: Any) -> tuple[str, int]:
        return refused(self.take, arn=arn, token=token, **more)


async def test_web_identities(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        web = Web(roles)
        # one's own folder, by a variable of the token
        own = allow("s3:PutObject", resource=f"arn:aws:s3:::one/${{{ISSUER}:sub}}/*")
        arn = web.role("web", own, StringEquals={f"{ISSUER}:aud": "objfs"})
        answer = web.take(arn, web_token())
        assert answer["SubjectFromWebIdentityToken"] == "me"
        assert (answer["Audience"], answer["Provider"]) == ("objfs", f"https://{ISSUER}")
        s3 = roles.door.client(Key.of(answer["Credentials"]))
        s3.put_object(Bucket="one", Key="me/a")
        assert refused(s3.put_object, Bucket="one", Key="you/a") == DENIED
        assert web.refused(arn, web_token(aud="other")) == ("InvalidIdentityToken", 400)
        assert web.refused(arn, web_token(exp=1)) == ("ExpiredTokenException", 400)
        assert web.refused(arn, web_token()[:-8] + "AAAAAAAA") == ("InvalidIdentityToken", 400)
        assert web.refused(arn, web_token(iss="https://evil.example")) == (
            "InvalidIdentityToken",
            400,
        )
        assert web.refused(arn, "none") == ("InvalidIdentityToken", 400)
        assert web.refused(arn, web_token(), DurationSeconds=3601) == INVALID
        groups = web.role("groups", own, StringEquals={f"{ISSUER}:groups": "staff"})
        assert web.refused(groups, web_token(groups="guests")) == DENIED
        web.take(groups, web_token(groups="staff"))
        # a role of users is none of an issuer's, and the other way round
        assert web.refused(roles.role("users"), web_token()) == DENIED
        assert roles.refused(arn) == DENIED
        roles.who.providers.delete(web.issuer)
        assert web.refused(arn, web_token()) == ("InvalidIdentityToken", 400)

    await with_roles(work)


# --- The protocol ---------------------------------------------------------------------------------


def signed(roles: Roles, body: bytes, service: str = "sts", **headers: str) -> AWSRequest:
    request = AWSRequest("POST", roles.door.url + "/", data=body, headers=headers)
    SigV4Auth(Credentials(*roles.alice), service, REGION).add_auth(request)
    return request


def send(request: AWSRequest, body: bytes | None = None) -> tuple[int, str]:
    data = body if body is not None else request.data
    sent = urllib.request.Request(request.url, data, dict(request.headers), method=request.method)
    try:
        with urllib.request.urlopen(sent) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_body_is_signed(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        body = urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"}).encode()
        status, text = send(signed(roles, body))
        assert (status, "user/alice" in text) == (200, True)
        for request, sent in (
            (signed(roles, body), body + b"&A=B"),
            (signed(roles, body, **{"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}), body),
            (signed(roles, body, **{"x-amz-content-sha256": "0" * 64}), body),
        ):
            status, text = send(request, sent)
            assert (status, "<Code>SignatureDoesNotMatch</Code>" in text) == (403, True)
        status, text = send(signed(roles, body, "s3"))
        assert (status, "IncompleteSignature" in text) == (400, True)

    await with_roles(work)


async def test_calls_that_are_none(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        def post(form: Any, signing: bool = True) -> tuple[int, str]:
            body = urlencode(form).encode()
            if signing:
                return send(signed(roles, body))
            return send(AWSRequest("POST", roles.door.url + "/", data=body))

        for form, signing, status, code in (
            ({"Action": "GetFederationToken"}, True, 400, "InvalidAction"),
            ({}, True, 400, "InvalidAction"),
            ({"Action": "GetCallerIdentity", "Version": "2001-01-01"}, True, 400, "InvalidAction"),
            ({"Action": "GetCallerIdentity"}, False, 403, "MissingAuthenticationToken"),
            ({"Action": "CreateUser", "UserName": "x"}, False, 400, "InvalidAction"),
            ({"Action": "CreateUser", "UserName": "x"}, True, 400, "InvalidAction"),
            ({"Action": "AssumeRole", "RoleSessionName": "x"}, True, 400, "ValidationError"),
            ({"Action": "AssumeRole", "X": b"\xff"}, True, 400, "ValidationError"),
        ):
            got, text = post(form, signing)
            assert (got, f"<Code>{code}</Code>" in text) == (status, True), text
        status, text = send(AWSRequest("GET", roles.door.url + "/?Action=GetCallerIdentity"))
        assert (status, "MissingAuthenticationToken" in text) == (403, True)
        status, text = send(AWSRequest("POST", roles.door.url + "/", data=b"x" * 1_100_000))
        assert (status, "EntityTooLarge" in text) == (400, True)

    await with_roles(work)


async def test_a_signature_for_another_service_opens_no_bucket(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        request = AWSRequest("GET", roles.door.url + "/one/a")
        SigV4Auth(Credentials(*roles.alice), "sts", REGION).add_auth(request)
        status, text = send(request)
        assert (status, "AuthorizationHeaderMalformed" in text) == (400, True)

    await with_roles(work)


async def test_a_presigned_call(with_roles: Any) -> None:
    def work(roles: Roles) -> None:
        url = roles.sts().generate_presigned_url("get_caller_identity", HttpMethod="GET")
        status, text = send(AWSRequest("GET", url))
        assert (status, "user/alice" in text) == (200, True)

    await with_roles(work)
