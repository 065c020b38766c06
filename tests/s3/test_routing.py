"""From targets to operations: the table is S3's, keys are exact."""

import re
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.s3.errors import S3Error
from objfs.s3.http import Query
from objfs.s3.operations_table import OLDER_NAMES, OPERATIONS, Operation
from objfs.s3.routing import address, check_done, route
from tests.s3.model import service
from tests.tidy.tree import ROOT

# Not in S3's model: browsers send it.
OUTSIDE_THE_MODEL = {"PostObject"}


def code(call: object, *arguments: object, **options: object) -> S3Error:
    assert callable(call)
    with pytest.raises(S3Error) as caught:
        call(*arguments, **options)
    return caught.value


def test_the_table_has_every_operation_of_s3() -> None:
    ours = (set(OPERATIONS) | set(OLDER_NAMES)) - OUTSIDE_THE_MODEL
    assert ours == set(service().operation_names)


@pytest.mark.parametrize("name", sorted(set(service().operation_names)))
def test_requests_of_botocore_lead_to_their_operation(name: str) -> None:
    model = service().operation_model(name)
    target = model.http["requestUri"].replace("{Bucket}", "bucket").replace("{Key+}", "key")
    path, _, query = target.partition("?")
    shape = model.input_shape
    parameters = [
        member.serialization["name"] + "=1"
        for parameter, member in (shape.members.items() if shape else ())
        if member.serialization.get("location") == "querystring"
        and (parameter in shape.required_members or "Id" in parameter or "Annot" in parameter)
        and not parameter.startswith("Version")
    ]
    if name.startswith("ListObjectAnn"):
        parameters = []
    if name == "ListDirectoryBuckets":
        parameters = ["max-directory-buckets=1"]
    parameters = [query, *parameters] if query else parameters
    if name == "WriteGetObjectResponse":
        path, parameters = "/", ["WriteGetObjectResponse"]
    found = route(
        model.http["method"],
        address(path.encode(), "127.0.0.1:9000").scope,
        Query("&".join(parameters).encode()),
        copies=name in {"CopyObject", "UploadPartCopy"},
    )
    assert found.name == OLDER_NAMES.get(name, name)


def row(operation: Operation) -> str:
    done = f"refused: {operation.refused}" if operation.refused else "done"
    if operation.note:
        done += f" ({operation.note})"
    actions = ", ".join(
        f"`{each}`" for each in (operation.action, operation.version_action) if each
    )
    return f"| {operation.name} | {actions} | {done} |"


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "S3.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| [A-Z]\w+ \| `s3", line)]
    assert rows == [row(OPERATIONS[name]) for name in sorted(OPERATIONS)]


def test_refused_operations_say_why() -> None:
    error = code(check_done, OPERATIONS["SelectObjectContent"])
    assert error.code == "NotImplemented"
    assert "objects are not queried" in error.message
    check_done(OPERATIONS["GetObject"])


@given(st.text(min_size=1, max_size=300).filter(lambda key: 0 < len(key.encode()) <= 1024))
def test_keys_are_exact(key: str) -> None:
    raw = key.encode()
    for path in (
        quote_from_bytes(raw, safe=""),
        quote_from_bytes(raw),
        quote_from_bytes(raw, "/+"),
    ):
        assert address(f"/bucket/{path}".encode(), "x").key == raw
        assert address(f"/{path}".encode(), "bucket.s3.test:80", ["s3.test"]) == (
            "bucket",
            raw,
            True,
        )


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [
        (b"/", "", b""),
        (b"/abc", "abc", b""),
        (b"/abc/", "abc", b""),
        (b"/abc//", "abc", b"/"),
        (b"/abc/../x", "abc", b"../x"),
        (b"/abc/%2e%2E/x", "abc", b"../x"),
        (b"/abc/a//b/./c/", "abc", b"a//b/./c/"),
        (b"/abc/a+b%20c", "abc", b"a+b c"),
        (b"/abc/%00", "abc", b"\0"),
    ],
)
def test_paths(path: bytes, bucket: str, key: bytes) -> None:
    found = address(path, "127.0.0.1")
    assert (found.bucket, found.key) == (bucket, key)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/abc/%ff", "InvalidURI"),
        (b"/abc/%zz", "InvalidURI"),
        (b"/abc/%e", "InvalidURI"),
        (b"*", "InvalidURI"),
        (b"//abc", "InvalidBucketName"),
        (b"/a", "InvalidBucketName"),
        (b"/Abc/x", "InvalidBucketName"),
        (b"/../x", "InvalidBucketName"),
        (b"/%2e%2e/x", "InvalidBucketName"),
        (b"/abc%2fx", "InvalidBucketName"),
        (b"/abc/" + b"x" * 1025, "KeyTooLongError"),
    ],
)
def test_paths_refused(path: bytes, expected: str) -> None:
    assert code(address, path, "127.0.0.1").code == expected


def test_hosts() -> None:
    domains = ["s3.example.com", "localhost"]
    for host, bucket in (
        ("s3.example.com", "path"),
        ("my.bucket.s3.example.com:8443", "my.bucket"),
        ("BUCKET.S3.EXAMPLE.COM", "bucket"),
        ("bucket.localhost", "bucket"),
        ("other.example.com", "path"),
        ("[::1]:9000", "path"),
        ("", "path"),
    ):
        assert address(b"/path/key", host, domains).bucket == bucket, host


def test_parameters_that_contradict_each_other() -> None:
    error = code(route, "GET", "bucket", Query(b"acl&policy"), copies=False)
    assert error.code == "InvalidArgument"
    assert error.fields["ArgumentName"] == "ResourceType"
    assert code(route, "GET", "bucket", Query(b"list-type=3"), copies=False).code == (
        "InvalidArgument"
    )
    assert route("GET", "bucket", Query(b"unknown&x-id=1"), copies=False).name == "ListObjects"


@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "", "OPTIONS"]),
    st.sampled_from(["service", "bucket", "object"]),
    st.binary(max_size=30)
    | st.lists(st.sampled_from(sorted({each.subresource for each in OPERATIONS.values()}))).map(
        lambda names: "&".join(names).encode()
    ),
)
def test_every_request_is_routed_or_refused(method: str, scope: str, query: bytes) -> None:
    try:
        assert route(method, scope, Query(query), copies=False).method == method
    except S3Error as error:
        refused = error.code
        assert refused in {"MethodNotAllowed", "InvalidArgument"}


def test_methods_that_do_not_fit() -> None:
    error = code(route, "DELETE", "bucket", Query(b"location"), copies=False)
    assert error.code == "MethodNotAllowed"
    assert error.headers == (("Allow", "GET"),)
    assert code(route, "PATCH", "object", Query(b""), copies=False).status == 405
