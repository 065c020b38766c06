"""Reading the XML of a request: a tree of small elements, bounded, without DTD and entities.

Always holds: no document type, no entity and no processing of either (so no expansion and no
reading of files), at most XML_DEPTH_MAX levels and XML_ELEMENTS_MAX elements. What is not
well-formed, or breaks a bound, is MalformedXML. Namespaces are dropped: clients send S3's, none,
or one of 2006's spellings.
"""

from collections.abc import Iterator
from xml.parsers import expat

from objfs.base.limits import XML_DEPTH_MAX, XML_ELEMENTS_MAX
from objfs.s3.errors import S3Error

_TRUE = {"true": True, "false": False}


class Element:
    """An element: its local name, its text (that of its children not included), its attributes by
    local name, and its children in order."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.text = ""
        self.attributes = attributes
        self.children: list[Element] = []

    def find(self, name: str) -> "Element | None":
        """The first child of that name."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def all(self, name: str) -> "Iterator[Element]":
        """Every child of that name."""
        return (child for child in self.children if child.name == name)

    def only(self, *names: str) -> None:
        """Raises MalformedXML if there is a child of another name."""
        for child in self.children:
            if child.name not in names:
                raise malformed()

    def at_most_one(self, *names: str) -> None:
        """Raises MalformedXML if one of these is there twice."""
        for name in names:
            if sum(1 for child in self.children if child.name == name) > 1:
                raise malformed()

    def value(self, name: str) -> str | None:
        """The text of the child of that name, without blanks around it; None if there is none."""
        child = self.find(name)
        return None if child is None else child.text.strip()

    def needed(self, name: str) -> str:
        """The same of a child that has to be there. MalformedXML."""
        value = self.value(name)
        if value is None:
            raise malformed()
        return value

    def number(self, name: str) -> int | None:
        """A whole number of at most 19 digits, with a sign or without. MalformedXML."""
        value = self.value(name)
        if value is None:
            return None
        digits = value[1:] if value[:1] in {"-", "+"} else value
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise malformed()
        return int(value)

    def flag(self, name: str) -> bool | None:
        """`true` or `false`, in any case. MalformedXML."""
        value = self.value(name)
        if value is None:
            return None
        if value.lower() not in _TRUE:
            raise malformed()
        return _TRUE[value.lower()]


def malformed() -> S3Error:
    """What S3 says of XML that is broken, or not the document that was asked for."""
    return S3Error("MalformedXML")


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= XML_DEPTH_MAX or self._count > XML_ELEMENTS_MAX:
            raise malformed()
        element = Element(
            name.rpartition("}")[2],
            {key.rpartition("}")[2]: value for key, value in attributes.items()},
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def text(self, data: str) -> None:
        self._texts[-1].append(data)

    def end(self, _: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())


def _refuse(*_: object) -> None:
    raise malformed()


def parse(document: bytes, root: str) -> Element:
    """The tree of a request's XML whose outermost element is `root`. MalformedXML for what is no
    XML, has a document type, breaks a bound, or is another document."""
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.SkippedEntityHandler = _refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise malformed() from error
    if builder.root is None or builder.root.name != root:
        raise malformed()
    return builder.root
