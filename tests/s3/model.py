"""botocore's model of S3, and its parser: the oracle that our operations are S3's and that our
answers are understood."""

from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel
from botocore.parsers import create_parser


@cache
def service() -> ServiceModel:
    return botocore.session.get_session().get_service_model("s3")


def understood(
    operation: str, body: bytes = b"", headers: dict[str, str] | None = None, status: int = 200
) -> dict[str, Any]:
    """What botocore makes of an answer."""
    model = service().operation_model(operation)
    raw = {"status_code": status, "headers": headers or {}, "body": body}
    parsed: dict[str, Any] = create_parser("rest-xml").parse(raw, model.output_shape)
    return parsed
