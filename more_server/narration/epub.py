"""EPUB 2 and 3: the pages of the spine in order, as chapters by the table of contents."""

import posixpath
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from more_server.errors import shown
from more_server.narration.archive import Archive, refused
from more_server.narration.document import Document, assembled, one_line
from more_server.narration.markup import Page, local_name, page, parsed, types

if TYPE_CHECKING:
    from lxml.etree import _Element

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
FONT_OBFUSCATION = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Fonts made useless elsewhere; no text is touched by it."""
PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")
NCX = "application/x-dtbncx+xml"
LEFT_OUT = frozenset(["cover", "toc", "loi", "lot", "index", "landmarks", "page-list"])
"""What pages are for, in landmarks and in EPUB 2's guide, that nobody wants to hear."""
ROLE = "{http://www.idpf.org/2007/opf}role"
"""Of who had a part in a book, in EPUB 2: `aut` wrote it."""
CHAPTER_DEPTH = 2
"""Levels of the table of contents that are chapters: parts of a book, and what is in them."""


class Item(NamedTuple):
    """A file of the manifest."""

    path: str
    media_type: str
    properties: list[str]


class Mark(NamedTuple):
    """An entry of the table of contents."""

    path: str
    fragment: str
    title: str


def read(content: bytes) -> Document:
    """The text of an EPUB. Raises BadInput saying what is wrong with it.

    Cover, tables of contents, notes and what is hidden are left out, and so are pages beside the reading order.
    """
    archive = Archive(content)
    _check_rights(archive)
    book = _Book(archive)
    return Document(
        title="".join(book.told("title")[:1]),
        author=", ".join(book.told("creator")),
        language="".join(book.told("language")[:1]),
        chapters=assembled(book.parts()),
    )


def _check_rights(archive: Archive) -> None:
    if ENCRYPTION not in archive:
        return
    for element in parsed(archive.read(ENCRYPTION), ENCRYPTION).iter("{*}EncryptionMethod"):
        parent = element.getparent()
        is_key = parent is not None and local_name(parent) == "encryptedkey"
        if not is_key and element.get("Algorithm") not in FONT_OBFUSCATION:
            raise refused("the EPUB is copy-protected (META-INF/encryption.xml); only books without it can be read")


class _Book:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._package_path = self._found_package()
        self._package = parsed(archive.read(self._package_path), self._package_path)
        self._items = {
            item.get("id") or "": Item(
                self._path(item.get("href") or "", self._package_path)[0],
                (item.get("media-type") or "").lower(),
                (item.get("properties") or "").split(),
            )
            for item in self._package.iterfind("{*}manifest/{*}item")
            if not _is_elsewhere(item.get("href") or "")
        }
        self._navigation, self._navigation_path = self._found_navigation()

    def told(self, name: str) -> list[str]:
        """What the package says of the book."""
        elements = self._package.iterfind(f"{{*}}metadata//{{http://purl.org/dc/elements/1.1/}}{name}")
        authors = [one for one in elements if one.get(ROLE) in (None, "aut")]
        return [text for element in authors if (text := one_line(_text(element)))]

    def parts(self) -> list[tuple[str, list[str]]]:
        """Titles and paragraphs, in reading order; what stands before the first chapter of a page belongs to the last
        one of the page before."""
        unread = self._unread()
        marks: dict[str, list[Mark]] = {path: [] for path in self._spine() if path not in unread}
        for mark in self._marks():
            if mark.path in marks:
                marks[mark.path].append(mark)
        is_listed = any(marks.values())
        parts: list[tuple[str, list[str]]] = [("", [])]
        for path, inside in marks.items():
            read = page(parsed(self._archive.read(path), path))
            # Without a table of contents, each page is a chapter.
            starts = deque(_starts(read, inside) if is_listed else [(0, "".join(read.headings[:1]))])
            for number, paragraph in enumerate(read.paragraphs):
                while starts and starts[0][0] <= number:
                    parts.append((starts.popleft()[1], []))
                parts[-1][1].append(paragraph)
            parts += [(title, []) for _, title in starts]
        return parts

    def _found_package(self) -> str:
        if CONTAINER not in self._archive:
            raise refused(f"document is not an EPUB: it has no {CONTAINER}")
        for root in parsed(self._archive.read(CONTAINER), CONTAINER).iterfind(".//{*}rootfile"):
            path, _ = self._path(root.get("full-path") or "", "")
            if path not in self._archive:
                raise refused(f"the EPUB has no {shown(path)}, which its {CONTAINER} names as its package")
            return path
        raise refused(f"the EPUB has no package: there is no rootfile in its {CONTAINER}")

    def _spine(self) -> Iterator[str]:
        """Pages in reading order; those beside it are notes and answers, which are jumped to."""
        for reference in self._package.iterfind("{*}spine/{*}itemref"):
            item = self._items.get(reference.get("idref") or "")
            if item is None:
                raise refused(f"the EPUB's spine names {shown(reference.get('idref') or '')}, which it does not have")
            if reference.get("linear") == "no" or item.media_type not in PAGES or "nav" in item.properties:
                continue
            if item.path not in self._archive:
                raise refused(f"the EPUB has no {shown(item.path)}, which its spine names")
            yield item.path

    def _found_navigation(self) -> "tuple[_Element | None, str]":
        """EPUB 3's navigation document and its path."""
        for item in self._items.values():
            if "nav" in item.properties and item.path in self._archive:
                return parsed(self._archive.read(item.path), item.path), item.path
        return None, ""

    def _marks(self) -> list[Mark]:
        if self._navigation is not None:
            for nav in self._navigation.iter("{*}nav"):
                if "toc" in types(nav):
                    links = (link for link in nav.iter("{*}a") if _depth(link, "li") <= CHAPTER_DEPTH)
                    entries = ((one_line(_text(link)), link.get("href") or "") for link in links)
                    return list(self._marked(entries, self._navigation_path))
        for item in self._items.values():
            if item.media_type == NCX and item.path in self._archive:
                points = parsed(self._archive.read(item.path), item.path).iterfind("{*}navMap//{*}navPoint")
                near = (point for point in points if _depth(point, "navpoint") < CHAPTER_DEPTH)
                return list(self._marked((_ncx(point) for point in near), item.path))
        return []

    def _marked(self, entries: Iterator[tuple[str, str]], base: str) -> Iterator[Mark]:
        for title, href in entries:
            if href and not _is_elsewhere(href):
                yield Mark(*self._path(href, base), title)

    def _unread(self) -> set[str]:
        """Pages that landmarks or the guide of EPUB 2 call a cover, a table of contents, and the like."""
        named = [(reference, self._package_path) for reference in self._package.iterfind("{*}guide/{*}reference")]
        if self._navigation is not None:
            navs = (nav for nav in self._navigation.iter("{*}nav") if "landmarks" in types(nav))
            named += [(link, self._navigation_path) for nav in navs for link in nav.iter("{*}a")]
        found = set()
        for element, base in named:
            href = element.get("href") or ""
            kinds = {(element.get("type") or "").lower(), *types(element)}
            # A place inside a page does not make all of the page a table of contents.
            if href and not _is_elsewhere(href) and not kinds.isdisjoint(LEFT_OUT):
                found.add(self._path(href, base))
        return {page for page, fragment in found if not fragment}

    def _path(self, href: str, base: str) -> tuple[str, str]:
        """The member that an address in a file means, and the place in it. Raises BadInput for one outside."""
        try:
            parts = urlsplit(href)
        except ValueError as error:
            raise refused(f"the EPUB names a file by {shown(href)}, which is no address: {error}") from error
        target = unquote(parts.path)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(base), target)) if target else base
        if parts.scheme or parts.netloc or path.startswith(("/", "..")) or "\\" in path:
            raise refused(f"the EPUB names a file outside itself: {shown(href)}")
        return path, unquote(parts.fragment)


def _starts(read: Page, marks: list[Mark]) -> list[tuple[int, str]]:
    """Where chapters begin in a page, by paragraph, and their titles."""
    at = [(read.anchors.get(mark.fragment, 0) if mark.fragment else 0, mark.title) for mark in marks]
    return sorted(at, key=lambda start: start[0])


def _is_elsewhere(href: str) -> bool:
    """On the network, which only fonts, sound and films may be."""
    return href.lower().startswith(("http:", "https:", "mailto:", "data:"))


def _depth(element: "_Element", name: str) -> int:
    return sum(local_name(ancestor) == name for ancestor in element.iterancestors())


def _text(element: "_Element") -> str:
    return "".join(map(str, element.itertext()))


def _ncx(point: "_Element") -> tuple[str, str]:
    label, content = point.find("{*}navLabel"), point.find("{*}content")
    return (
        "" if label is None else one_line(_text(label)),
        "" if content is None else content.get("src") or "",
    )
