"""What tests of the door's values ask: the body of a request as botocore makes it, and the code of
a refusal."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.serialize import create_serializer

from objfs.s3.errors import S3Error
from tests.s3.model import service


def request(operation: str, **parameters: Any) -> bytes:
    """The body that botocore sends."""
    serializer = create_serializer("rest-xml", include_validation=False)
    made = serializer.serialize_to_request(
        {"Bucket": "bucket", **parameters}, service().operation_model(operation)
    )
    body: bytes = made["body"]
    return body


def code(call: Callable[..., object], *arguments: object) -> str:
    """The code of the error that a call raises."""
    with pytest.raises(S3Error) as caught:
        call(*arguments)
    return caught.value.code
