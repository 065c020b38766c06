"""Roles taken from `objfs serve`, a process of its own, by boto3; the issuer of a web identity is a
server on this machine that it asks for its keys."""

import http.server
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.auth.test_web_identity import SIGNERS, document, jwk_of, token_of
from tests.cli.conftest import CommandLine
from tests.cli.test_serve import served


class Issuer(http.server.ThreadingHTTPServer):
    """Publishes some of the keys of SIGNERS."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Publishing)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.kids = ["r"]
        self.asked: list[str] = []

    def token(self, kid: str = "r") -> str:
        now = int(time.time())
        return token_of(kid, iss=self.url, iat=now, exp=now + 600)


class Publishing(http.server.BaseHTTPRequestHandler):
    """Its answers."""

    server: Issuer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/keys":
            keys = (jwk_of(SIGNERS[kid][1].public_key(), kid=kid) for kid in self.server.kids)
            said = document(*keys)
        else:
            where = f"{self.server.url}/keys"
            said = json.dumps({"issuer": self.server.url, "jwks_uri": where}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def publishing() -> Iterator[Issuer]:
    with Issuer() as issuer:
        thread = threading.Thread(target=issuer.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield issuer
        finally:
            issuer.shutdown()
            thread.join()


def client(service: str, url: str, credentials: dict[str, Any]) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=credentials.get("AccessKeyId", credentials.get("access_key_id")),
        aws_secret_access_key=credentials.get(
            "SecretAccessKey", credentials.get("secret_access_key")
        ),
        aws_session_token=credentials.get("SessionToken"),
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def trust(principal: dict[str, str], action: str) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.mark.slow
def test_roles_of_a_store_that_is_served(objfs: CommandLine, store: Path) -> None:
    root = objfs("user", "create", store, "root", "--json").json
    with publishing() as issuer:
        objfs("issuer", "put", store, issuer.url, "--client", "objfs")
        with served(store) as (url, process):
            s3, iam = client("s3", url, root), client("iam", url, root)
            s3.create_bucket(Bucket="one")
            s3.put_object(Bucket="one", Key="a", Body=b"text")
            account = client("sts", url, root).get_caller_identity()["Account"]
            (federated,) = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
            taken = trust({"AWS": f"arn:aws:iam::{account}:user/root"}, "sts:AssumeRole")
            web = trust({"Federated": federated["Arn"]}, "sts:AssumeRoleWithWebIdentity")
            arns = {}
            for name, document in (("reader", taken), ("web", web)):
                made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
                arns[name] = made["Role"]["Arn"]
                iam.attach_role_policy(RoleName=name, PolicyArn=READ)
            sts = client("sts", url, root)
            named = {"RoleArn": arns["reader"], "RoleSessionName": "monday"}
            reader = sts.assume_role(**named)["Credentials"]
            read(url, reader)
            named = {"RoleArn": arns["web"], "RoleSessionName": "monday"}
            for _ in range(2):
                answer = sts.assume_role_with_web_identity(**named, WebIdentityToken=issuer.token())
                read(url, answer["Credentials"])
            assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
            with pytest.raises(ClientError, match="InvalidIdentityToken"):
                sts.assume_role_with_web_identity(**named, WebIdentityToken=issuer.token("e"))
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        log = (store / "log" / "audit.jsonl").read_text()
        for secret in (reader["SecretAccessKey"], reader["SessionToken"], issuer.token()[:40]):
            assert secret not in log
        assert '"sts:AssumeRoleWithWebIdentity"' in log
    with served(store) as (url, _):  # another process, another port, the issuer gone
        read(url, reader)
        sts = client("sts", url, root)
        with pytest.raises(ClientError, match="IDPCommunicationError"):
            sts.assume_role_with_web_identity(**named, WebIdentityToken=issuer.token())
        iam = client("iam", url, root)
        iam.detach_role_policy(RoleName="reader", PolicyArn=READ)
        iam.delete_role(RoleName="reader")
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            read(url, reader)


def read(url: str, credentials: dict[str, Any]) -> None:
    s3 = client("s3", url, credentials)
    assert s3.get_object(Bucket="one", Key="a")["Body"].read() == b"text"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="one", Key="b", Body=b"")
