"""A call: a request together with what the door found out about it, as operations get it."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from objfs.auth.chunks import ChunkVerifier
from objfs.auth.claims import Claim, Payload
from objfs.auth.forms import OldClaim
from objfs.auth.identity import Identity
from objfs.auth.policy_document import PolicyDocument
from objfs.base.ports import Threads
from objfs.s3.errors import invalid_argument
from objfs.s3.http import Headers, Request, Response
from objfs.s3.operations_table import Operation
from objfs.s3.routing import Address


class Caller(NamedTuple):
    """Who calls, proven; without an identity: anybody. `claim` is the signature, proven too."""

    identity: Identity | None
    payload: Payload
    chunks: ChunkVerifier | None = None
    session_policies: tuple[PolicyDocument, ...] = ()
    claim: Claim | OldClaim | None = None
    temporary: bool = False  # signed with the credentials of a session


REGION = "us-east-1"  # what clients assume who were told nothing


class DoorSettings(NamedTuple):
    """What a user may set about the door."""

    region: str = REGION
    domains: tuple[str, ...] = ()  # names below which buckets are host names
    public_metrics: bool = False


class Call:
    """What an operation gets."""

    __slots__ = ("address", "caller", "now_ns", "operation", "request", "threads")

    def __init__(
        self,
        request: Request,
        operation: Operation,
        address: Address,
        caller: Caller,
        now_ns: int,
        threads: Threads,
    ) -> None:
        self.request = request
        self.operation = operation
        self.address = address
        self.caller = caller
        self.now_ns = now_ns
        self.threads = threads

    @property
    def headers(self) -> Headers:
        """Of the request."""
        return self.request.headers

    @property
    def bucket(self) -> str:
        """The bucket that the request names."""
        return self.address.bucket

    @property
    def key(self) -> bytes:
        """The key that it names."""
        return self.address.key

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return self.request.query.get(name)

    @property
    def version_id(self) -> str | None:
        """The version that the request names. InvalidArgument for an empty one."""
        value = self.query("versionId")
        if value == "":
            raise invalid_argument("Version id cannot be the empty string", "versionId", "")
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """A number in the query, 0 to 2^31 - 1, cut off at `most`. InvalidArgument."""
        value = self.query(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 11 and int(value) < 1 << 31):
            raise invalid_argument(
                f"Argument {name} must be an integer between 0 and 2147483647", name, value
            )
        return min(int(value), most)

    def encoding(self) -> str | None:
        """`url` or None. InvalidArgument."""
        value = self.query("encoding-type")
        if value not in {None, "url"}:
            raise invalid_argument(
                "Invalid Encoding Method specified in Request", "encoding-type", value or ""
            )
        return value


Operate = Callable[[Call], Awaitable[Response]]


def xml_response(document: bytes, headers: list[tuple[str, str]] | None = None) -> Response:
    """An answer that is a document."""
    return Response(200, [("Content-Type", "application/xml"), *(headers or [])], document)
