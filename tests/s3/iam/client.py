"""boto3's IAM client, whose requests are answered by `objfs.s3.iam.api` in this process."""

import io
from typing import Any
from urllib.parse import parse_qsl

import boto3
from botocore.awsrequest import AWSResponse

from objfs.auth.identity import Identity, request_context
from objfs.s3.iam import api
from objfs.s3.query_protocol import CONTENT_TYPE
from objfs.volume.identities import Identities


class Raw(io.BytesIO):
    """A body as botocore reads it."""

    def stream(self) -> Any:
        return iter(lambda: self.read(1 << 16), b"")


class Endpoint:
    """Answers for whoever `caller` is."""

    def __init__(self, who: Identities, caller: Identity | None) -> None:
        self.who = who
        self.caller = caller

    def send(self, request: Any, **_: Any) -> AWSResponse:
        form = dict(parse_qsl(request.body, keep_blank_values=True))
        context = request_context(self.caller, time_ns=0, source="127.0.0.1", secure=False)
        status, body, _code = api.answer(self.who, self.caller, form, context, "ID-1")
        headers = {"Content-Type": CONTENT_TYPE}
        return AWSResponse(request.url, status, headers, Raw(body))


def iam_client(who: Identities, caller: Identity | None) -> Any:
    client = boto3.client(
        "iam",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret",
    )
    client.meta.events.register("before-send.iam", Endpoint(who, caller).send)
    return client
