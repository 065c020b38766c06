"""XML read and written: what is understood comes back, what is no XML is refused, nothing is
expanded."""

from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objfs.base.limits import XML_DEPTH_MAX, XML_ELEMENTS_MAX
from objfs.s3 import xml_writer
from objfs.s3.errors import S3Error
from objfs.s3.xml_reader import Element, parse

# What XML 1.0 can carry.
CHARACTERS = st.characters(
    exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32
)
PLAIN_TEXT = st.text(CHARACTERS | st.sampled_from("\t\n\r"))


def refused(document: bytes, root: str = "Root") -> str:
    with pytest.raises(S3Error) as caught:
        parse(document, root)
    return caught.value.code


@given(st.lists(PLAIN_TEXT))
def test_texts_come_back(texts: list[str]) -> None:
    written = xml_writer.document("Root", (xml_writer.element("Each", text) for text in texts))
    assert [each.text for each in parse(written, "Root").all("Each")] == texts
    # And another parser than ours reads the same.
    assert [each.text or "" for each in ElementTree.fromstring(written)] == texts


@given(st.binary())
def test_any_bytes_are_xml_or_refused(document: bytes) -> None:
    try:
        assert isinstance(parse(document, "Root"), Element)
    except S3Error as error:
        refusal = error.code
        assert refusal == "MalformedXML"


@given(st.binary(max_size=40))
def test_keys_come_back_from_url_encoding(key: bytes) -> None:
    encoded = xml_writer.key_writer("url")(key)
    assert unquote_to_bytes(encoded) == key
    assert xml_writer.escape(encoded) == encoded


@given(st.text())
def test_every_text_can_be_written(text: str) -> None:
    written = xml_writer.element("Each", text)
    written.encode()
    assert not any(character < " " and character not in "\t\n" for character in written)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<Root>",
        b"<Other/>",
        b"<Root></Root><Root></Root>",
        b'<!DOCTYPE Root [<!ENTITY a "b">]><Root>&a;</Root>',
        b'<!DOCTYPE Root SYSTEM "file:///etc/passwd"><Root/>',
        b"<!DOCTYPE Root><Root/>",
        b"<Root>&unknown;</Root>",
        b"<Root>\xff</Root>",
        b"<Root>\x00</Root>",
        b'<?xml version="1.0" encoding="no-such-encoding"?><Root/>',
        b"<Root>" + b"<a>" * XML_DEPTH_MAX + b"</a>" * XML_DEPTH_MAX + b"</Root>",
        b"<Root>" + b"<a/>" * XML_ELEMENTS_MAX + b"</Root>",
    ],
    ids=range(13),
)
def test_what_is_refused(document: bytes) -> None:
    assert refused(document) == "MalformedXML"


def test_entities_are_not_expanded() -> None:
    levels = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, 10))
    bomb = f'<!DOCTYPE Root [<!ENTITY l0 "ha">{levels}]><Root>&l9;</Root>'
    assert refused(bomb.encode()) == "MalformedXML"


def test_namespaces_and_attributes() -> None:
    root = parse(
        b'<s:Root xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/"'
        b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        b'<Grantee xsi:type="CanonicalUser"> <ID>x</ID> </Grantee></s:Root>',
        "Root",
    )
    grantee = root.find("Grantee")
    assert grantee is not None
    assert grantee.attributes == {"type": "CanonicalUser"}
    assert grantee.needed("ID") == "x"


def test_values() -> None:
    root = parse(b"<Root><N> 12 </N><B>True</B><T/></Root>", "Root")
    assert (root.number("N"), root.flag("B"), root.value("T"), root.value("None")) == (
        12,
        True,
        "",
        None,
    )
    for text in (b"1_0", b"", b"1.5", b"\xd9\xa3", b"9" * 20):
        with pytest.raises(S3Error, match="MalformedXML"):
            parse(b"<Root><N>" + text + b"</N></Root>", "Root").number("N")
    with pytest.raises(S3Error, match="MalformedXML"):
        root.flag("N")
    with pytest.raises(S3Error, match="MalformedXML"):
        root.needed("None")
    with pytest.raises(S3Error, match="MalformedXML"):
        root.only("N", "B")
