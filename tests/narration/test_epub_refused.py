"""Books that are broken, protected, or made to harm: each is told what is wrong with it, and nothing else happens."""

import os
import re
import stat
import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.errors import BadInput, TooLarge
from more_server.narration import archive
from more_server.narration.reading import read
from tests.narration.epubs import CONTAINER, NAV, NCX, epub, job, nav, ncx, outcome, package, point, xhtml, zipped
from tests.zips import endless

PAGE = {"a.xhtml": xhtml("<p>Hello</p>")}
PROTECTED = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>
<enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></enc:EncryptedData></encryption>"""
LAUGHS = '<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;&b;">]>' + xhtml("<p>&c;</p>").partition("?>")[2]
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>' + xhtml("<p>&b;</p>").partition("?>")[2]


def renamed(content: bytes, name: str, **changes: int) -> bytes:
    """With a further member of this name."""
    made = BytesIO(content)
    with zipfile.ZipFile(made, "a") as book:
        member = zipfile.ZipInfo(name)
        for field, value in changes.items():
            setattr(member, field, value)
        book.writestr(member, "x")
    return made.getvalue()


def encrypted(content: bytes) -> bytes:
    """Its members say that they are."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(signature), content):
            changed[found.start() + offset] |= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 and no more", "cannot be read as a zip file"),
        (zipped({"word/document.xml": "<a/>"}), "not an EPUB: it has no META-INF/container.xml"),
        (zipped({"META-INF/container.xml": "<container>"}), "META-INF/container.xml in the EPUB is broken XML"),
        (zipped({"META-INF/container.xml": "<container/>"}), "there is no rootfile"),
        (zipped({"META-INF/container.xml": CONTAINER}), "has no 'OEBPS/book.opf', which its META-INF"),
        (
            zipped({"META-INF/container.xml": CONTAINER.replace("OEBPS/book.opf", "../../etc/book.opf")}),
            "names a file outside itself: '../../etc/book.opf'",
        ),
        (epub(PAGE, {"OEBPS/book.opf": "<package"}), "OEBPS/book.opf in the EPUB is broken XML"),
        (epub(PAGE, spine={"b.xhtml": ""}), "has no 'OEBPS/b.xhtml', which its spine names"),
        (epub(PAGE, {"OEBPS/book.opf": package({"a.xhtml": ""}).replace('id="i0"', 'id="x"')}), "spine names 'i0'"),
        (epub(PAGE, spine={"../../a.xhtml": ""}), "names a file outside itself: '../../a.xhtml'"),
        (epub(PAGE, spine={"/etc/passwd": ""}), "names a file outside itself: '/etc/passwd'"),
        (epub(PAGE, spine={"file:///etc/passwd": ""}), "names a file outside itself"),
        (epub(PAGE, spine={"..%2f..%2fetc/passwd": ""}), "names a file outside itself"),
        (epub({**PAGE, "nav.xhtml": nav('<li><a href="../../../x">X</a></li>')}, extra=NAV), "outside itself"),
        (epub(PAGE, {"OEBPS/toc.ncx": ncx(point("X", "//host/x"))}, extra=NCX), "outside itself: '//host/x'"),
        (renamed(epub(PAGE), "../evil.sh"), "'../evil.sh' in the EPUB: names that lead elsewhere"),
        (renamed(epub(PAGE), "/etc/evil"), "'/etc/evil' in the EPUB: names that lead elsewhere"),
        (renamed(epub(PAGE), "a/..\\..\\evil"), "'a/../../evil' in the EPUB: names that lead elsewhere"),
        (renamed(epub(PAGE), "C:/evil"), "'C:/evil' in the EPUB: names that lead elsewhere"),
        (renamed(epub(PAGE), "link", external_attr=(stat.S_IFLNK | 0o777) << 16), "'link' in the EPUB: it is a link"),
        (renamed(epub(PAGE), "packed", compress_type=zipfile.ZIP_BZIP2), "'packed' in the EPUB: it is compressed"),
        (encrypted(epub(PAGE)), "'mimetype' in the EPUB: it is encrypted"),
        (epub(PAGE, {"META-INF/encryption.xml": PROTECTED}), "copy-protected"),
        (epub({"a.xhtml": "<p>Hello"}), "OEBPS/a.xhtml in the EPUB is broken XML"),
        (epub({"a.xhtml": xhtml("<p>&nonsense;</p>")}), "OEBPS/a.xhtml in the EPUB is broken XML"),
        (epub({"a.xhtml": "<a>" * 500 + "</a>" * 500}), "OEBPS/a.xhtml in the EPUB is broken XML"),
        (epub({"a.xhtml": ""}), "OEBPS/a.xhtml in the EPUB is broken XML"),
        (epub({"a.xhtml": LAUGHS}), "declares entities of its own"),
        (epub({"a.xhtml": FILE}), "declares entities of its own"),
        (epub({"a.xhtml": ""}, {"OEBPS/a.xhtml": LAUGHS.encode("utf-16")}), "declares entities of its own"),
        (epub({"a.xhtml": xhtml('<img src="x.png" alt="cover"/>')}), "the document has no text"),
        (epub({}), "the document has no text"),
        (b"not a zip", "cannot be read as a zip file"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_book_is_told(content: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)) as refused:
        read(job(content, document_format="epub"))
    assert refused.value.param == "document"


@pytest.mark.parametrize("name", ["OEBPS/a.xhtml", "OEBPS/book.opf", "META-INF/container.xml"])
def test_a_zip_bomb_is_not_unpacked(name: str) -> None:
    bomb = epub(PAGE, {name: b"<a>" + bytes(40_000_000)})
    assert len(bomb) < 60_000
    with pytest.raises(BadInput, match=f"{name} in the EPUB unpacks to more than") as refused:
        read(job(bomb))
    assert refused.value.param == "document"


def test_limits_hold_over_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {f"{number}.xhtml": xhtml(f"<p>{os.urandom(1000).hex()}</p>") for number in range(8)}
    assert len(read(job(epub(pages))).chapters) == 8
    monkeypatch.setattr(archive, "MOST_BYTES", 12_000)
    with pytest.raises(BadInput, match="may have 12000 bytes in all"):
        read(job(epub(pages)))
    monkeypatch.setattr(archive, "MOST_MEMBERS", 10)
    with pytest.raises(BadInput, match="holds 11 files; at most 10"):
        read(job(epub(pages)))


def test_members_that_lie_about_their_size_are_damaged() -> None:
    content = epub({"a.xhtml": xhtml(f"<p>{'Hello ' * 1000}</p>")})
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"OEBPS/a.xhtml"))
    short = content[: entry + 24] + (100).to_bytes(4, "little") + content[entry + 28 :]
    with pytest.raises(BadInput, match=r"OEBPS/a\.xhtml in the EPUB is (damaged|broken XML)"):
        read(job(short))


def test_a_book_of_endless_files_is_refused_before_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """37 MB of names of empty files; listed, they take six seconds and 400 MB."""
    book = endless(800_000)
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    with pytest.raises(TooLarge, match=r"the list of the files in the EPUB has 37600000 bytes; at most") as refused:
        read(job(book, document_format="epub"))
    assert refused.value.param == "document"


BOOK = epub({**PAGE, "nav.xhtml": nav('<li><a href="a.xhtml">A</a></li>')}, extra=NAV)


@given(st.lists(st.tuples(st.integers(0, len(BOOK) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_damaged_book_is_read_or_refused(changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(BOOK)
    for at, put in changes:
        content[at : at + len(put)] = put
    found = outcome(job(bytes(content), document_format="epub"))
    assert found.param == "document" if isinstance(found, BadInput) else found.chapters


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_called_an_epub_are_refused(content: bytes) -> None:
    with pytest.raises(BadInput):
        read(job(b"PK\x03\x04" + content))


@given(st.text(st.sampled_from("ab<>/&;\"'= \n!-[]?xp"), max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_page_is_read_or_refused(body: str) -> None:
    found = outcome(job(epub({"a.xhtml": xhtml(f"<p>Hello</p>{body}")})))
    assert found.param == "document" if isinstance(found, BadInput) else found.chapters
