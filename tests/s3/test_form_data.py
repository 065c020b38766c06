"""Browsers' forms: however the bytes are cut, the same fields and file come out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.limits import FORM_FIELDS_BYTES_MAX
from objfs.s3.errors import S3Error
from objfs.s3.form_data import Field, FileBegins, FileEnds, FormDecoder, boundary_of
from tests.s3.asking import code

BOUNDARY = b"----x"


def form(fields: dict[str, str], file: bytes, after: bytes = b"\r\n------x--\r\n") -> bytes:
    parts = [
        f'------x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        b'------x\r\nContent-Disposition: form-data; name="file"; filename="C:\\\\a\\\\b.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\n"
    )
    return b"".join(parts) + head + file + after


def decoded(pieces: list[bytes]) -> tuple[dict[str, str], list[FileBegins], bytes]:
    decoder = FormDecoder(BOUNDARY)
    fields: dict[str, str] = {}
    begins, file, ended = [], b"", False
    for piece in pieces:
        for event in decoder.feed(piece):
            if isinstance(event, Field):
                fields[event.name] = event.value
            elif isinstance(event, FileBegins):
                begins.append(event)
            elif isinstance(event, FileEnds):
                ended = True
            else:
                file += event
    decoder.close()
    assert ended
    return fields, begins, file


@given(
    st.dictionaries(st.sampled_from(["key", "acl", "x-amz-meta-a"]), st.text("aé-\r\n-x")),
    st.binary() | st.lists(st.sampled_from([b"\r\n", b"--", b"----x", b"-", b"a"])).map(b"".join),
    st.lists(st.integers(0, 500)),
)
def test_any_cuts(fields: dict[str, str], file: bytes, cuts: list[int]) -> None:
    mark = "\r\n------x"
    if any(mark in value for value in fields.values()) or mark.encode() in file:
        return
    whole = form(fields, file)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in itertools.pairwise(places)]
    assert decoded(pieces) == (fields, [FileBegins("b.txt", "text/plain")], file)


def test_boundaries() -> None:
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"
    assert code(boundary_of, "text/plain") == "RequestIsNotMultiPartContent"
    assert code(boundary_of, None) == "RequestIsNotMultiPartContent"
    for value in ("", "; boundary=", "; boundary=" + "x" * 71):
        assert code(boundary_of, "multipart/form-data" + value) == "MalformedPOSTRequest"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (form({}, b"abc", b""), "IncompleteBody"),
        (b"", "InvalidArgument"),
        (b"nothing", "InvalidArgument"),
        (b"------x--\r\n", "InvalidArgument"),
        (b"------x??", "MalformedPOSTRequest"),
        (b"------x\r\nno header\r\n\r\n", "MalformedPOSTRequest"),
        (b"------x\r\nContent-Disposition: form-data\r\n\r\nx", "MalformedPOSTRequest"),
        (form({"a": "x" * FORM_FIELDS_BYTES_MAX}, b""), "MaxPostPreDataLengthExceededError"),
        (b"x" * (FORM_FIELDS_BYTES_MAX + 1), "MaxPostPreDataLengthExceededError"),
    ],
)
def test_forms_refused(body: bytes, expected: str) -> None:
    with pytest.raises(S3Error) as caught:
        decoded([body])
    assert caught.value.code == expected


@given(st.lists(st.binary()))
def test_any_bytes_are_a_form_or_refused(pieces: list[bytes]) -> None:
    with pytest.raises(S3Error):
        decoded([*pieces])
