"""XHTML and HTML to paragraphs, and XML read without anything that it might pull in."""

import re
from collections.abc import Iterator
from html.entities import html5
from typing import TYPE_CHECKING, NamedTuple

from more_server.errors import BadInput
from more_server.narration.document import is_said, one_line

if TYPE_CHECKING:
    from lxml.etree import _Element

EPUB = "{http://www.idpf.org/2007/ops}"
LEFT_OUT = frozenset(
    ["script", "style", "nav", "head", "template", "rt", "rp", "svg", "math", "audio", "video", "object", "iframe"]
)
BLOCKS = frozenset(
    "address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer "  # noqa: SIM905
    "form h1 h2 h3 h4 h5 h6 header hgroup hr html li main ol p pre section summary table tbody tfoot thead tr "
    "ul".split()
)
CELLS = ("td", "th")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
NOT_READ = frozenset(
    "cover toc landmarks page-list pagebreak loi lot index noteref annoref backlink footnote footnotes endnote "  # noqa: SIM905
    "endnotes rearnote rearnotes".split()
)
"""Values of epub:type, and behind `doc-` of role: what is looked at, not read through."""
UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
NOTE_MARK = re.compile(r"\s*(?:\d{1,4}|[*†‡§¶]{1,3}|[a-z]|[ivx]{1,5})\s*")
BRACKETED_MARK = re.compile(r"\s*\[\s*(?:\d{1,4}|[*†‡§¶]{1,3}|[a-z]|[ivx]{1,5})\s*\]\s*")
ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,31};)")
XML_ENTITIES = frozenset(["amp;", "lt;", "gt;", "quot;", "apos;"])


class Page(NamedTuple):
    """A file of a book."""

    paragraphs: list[str]
    anchors: dict[str, int]
    """By id, the paragraph that it stands in or before."""
    headings: list[str]
    """Those paragraphs that are headings."""


def parsed(content: bytes, name: str) -> "_Element":
    """The root of an XML file. Raises BadInput naming it for what is broken, or declares entities."""
    from lxml import etree

    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16", "replace").encode()
        encoding = "utf-8"
    else:
        encoding = None
    if b"<!ENTITY" in content:
        raise BadInput(f"{name} in the EPUB declares entities of its own, which are not read", param="document")
    parser = etree.XMLParser(
        encoding=encoding, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        return etree.fromstring(ENTITY.sub(_numeric, content), parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        reason = getattr(error, "msg", error)
        raise BadInput(f"{name} in the EPUB is broken XML: {reason}", param="document") from error


def _numeric(match: re.Match[bytes]) -> bytes:
    """HTML's names of characters, which XML does not know by itself, such as `&nbsp;`."""
    name = match[1].decode()
    meant = "" if name in XML_ENTITIES else html5.get(name, "")
    return "".join(f"&#{ord(character)};" for character in meant).encode() or match[0]


def html_paragraphs(text: str) -> list[str]:
    """What is said of a piece of HTML, which may be half of something."""
    from lxml import etree

    parser = etree.HTMLParser(no_network=True, encoding="utf-8")
    # libxml2 stops at NUL.
    root = etree.HTML(f"<body>{text.replace(chr(0), ' ')}</body>", parser)
    # Where elements nest too deep, it leaves out the rest. The text front end takes tags out, too.
    stopped = root is None or any(entry.level == etree.ErrorLevels.FATAL for entry in parser.error_log)
    return [one_line(text)] if stopped else page(root).paragraphs


def page(root: "_Element") -> Page:
    """What is said of an XHTML file."""
    reader = _Reader()
    reader.read(root)
    reader.end_paragraph()
    return Page(reader.paragraphs, reader.anchors, reader.headings)


def local_name(element: "_Element") -> str:
    """Without the namespace; empty for what is no element."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


class _Reader:
    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self.anchors: dict[str, int] = {}
        self.headings: list[str] = []
        self._pieces: list[str] = []
        self._before = ""
        """What is said before the next of them: the break between two cells."""
        self._heading = False

    def end_paragraph(self) -> None:
        text = one_line("".join(self._pieces))
        self._pieces.clear()
        self._before = ""
        if text:
            self.paragraphs.append(text)
            if self._heading:
                self.headings.append(text)

    def read(self, element: "_Element") -> None:
        """An element without what follows it. libxml2 lets them nest 255 deep, at two calls each."""
        name = local_name(element)
        for anchor in (element.get("id"), element.get("name") if name == "a" else None):
            if anchor:
                self.anchors.setdefault(anchor, len(self.paragraphs))
        if not name or name in LEFT_OUT or _is_hidden(element) or _is_aside(element) or _is_note_mark(element, name):
            return
        is_heading, is_break = name in HEADINGS, name in BLOCKS and not (name == "br" and self._heading)
        if is_break:
            self.end_paragraph()
        self._heading |= is_heading
        if name in CELLS and self._pieces:
            self._before = ", "
        elif name == "img":
            self._say(f" {_described(element)} ")
        self._inside(element, name)
        if name == "br" and not is_break:
            self._say(" ")
        elif is_break:
            self.end_paragraph()
        self._heading &= not is_heading

    def _inside(self, element: "_Element", name: str) -> None:
        if name == "pre" and element.find("{*}code") is not None:
            return  # a listener can make nothing of a program
        self._say(element.text or "")
        for child in element:
            self.read(child)
            self._say(child.tail or "")

    def _say(self, text: str) -> None:
        if text and not text.isspace():
            self._pieces += (self._before, text)
            self._before = ""
        elif text and self._pieces:
            self._pieces.append(" ")


def _is_hidden(element: "_Element") -> bool:
    return (
        element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or UNSEEN.search(element.get("style") or "") is not None
    )


def _is_aside(element: "_Element") -> bool:
    """Pages, notes and lists that a reader jumps to or from."""
    return not NOT_READ.isdisjoint(types(element))


def types(element: "_Element") -> Iterator[str]:
    """What an element says that it is, in EPUB's words."""
    yield from (element.get(f"{EPUB}type") or "").lower().split()
    yield from (role.removeprefix("doc-") for role in (element.get("role") or "").lower().split() if "doc-" in role)


def _is_note_mark(element: "_Element", name: str) -> bool:
    """The little number that leads to a note, in books that do not say what it is."""
    if name == "sup":
        links = element.findall(".//{*}a")
        return any(link.get("href") for link in links) and _is_mark(element, NOTE_MARK)
    if name != "a" or "#" not in (element.get("href") or ""):
        return False
    return _is_mark(element, BRACKETED_MARK) or (element.find("{*}sup") is not None and _is_mark(element, NOTE_MARK))


def _is_mark(element: "_Element", pattern: re.Pattern[str]) -> bool:
    text = "".join(map(str, element.itertext()))
    return bool(pattern.fullmatch(text) or BRACKETED_MARK.fullmatch(text))


def _described(image: "_Element") -> str:
    """What is written for those who do not see an image; a single word is mostly its file's name, or `cover`."""
    text = one_line(image.get("alt") or "")
    return text if " " in text and is_said(text) else ""
