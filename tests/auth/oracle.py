"""botocore's signers as the oracle: requests that it signed, as a server would see them."""

import datetime
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objfs.auth.claims import Rules, Signable

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "eu-central-1"
RULES = Rules(REGION, frozenset({"s3", "iam", "sts"}))
NOW = datetime.datetime(2026, 11, 20, 10, 15, tzinfo=datetime.UTC)
NOW_NS = int(NOW.timestamp()) * 10**9


@contextmanager
def clock(now: datetime.datetime = NOW) -> Iterator[None]:
    """botocore's clock stands."""
    naive = now.replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=naive):
        yield


def credentials(token: str | None = None) -> Any:
    return Credentials(KEY, SECRET, token)


def request_of(
    method: str, url: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Any:
    request = AWSRequest(method=method, url=url, data=body)
    for name, value in headers:
        request.headers[name] = value
    request.headers["Host"] = urlsplit(url).netloc
    return request


def seen(request: Any) -> Signable:
    """What comes out of the socket."""
    parts = urlsplit(request.url)
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return Signable(request.method, parts.path.encode(), parts.query.encode(), headers)


def signed(request: Any, service: str = "s3", token: str | None = None) -> Signable:
    """Signed in its header."""
    signer = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    with clock():
        signer(credentials(token), service, REGION).add_auth(request)
    return seen(request)


def presigned(request: Any, expires: int = 3600, token: str | None = None) -> Signable:
    """Signed in its query."""
    with clock():
        signer = botocore.auth.S3SigV4QueryAuth(credentials(token), "s3", REGION, expires)
        signer.add_auth(request)
    return seen(request)


def signature(text: str, timestamp: str, region: str = REGION) -> str:
    """Of any string to sign."""
    request = AWSRequest()
    request.context["timestamp"] = timestamp
    made: str = botocore.auth.SigV4Auth(credentials(), "s3", region).signature(text, request)
    return made
