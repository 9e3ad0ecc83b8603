"""What is heard of an EPUB: its pages in reading order, chapters by its table of contents, and nothing that is jumped
to."""

import codecs
import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.narration import archive as archive_module
from more_server.narration.document import Chapter
from more_server.narration.reading import read
from tests.narration.epubs import NAV, NCX, epub, job, nav, ncx, point, xhtml


def chapters(content: bytes) -> list[tuple[str, list[str]]]:
    return [(chapter.title, list(chapter.paragraphs)) for chapter in read(job(content)).chapters]


def heard(body: str) -> list[str]:
    """Of a page."""
    (chapter,) = read(job(epub({"page.xhtml": xhtml(body)}))).chapters
    return list(chapter.paragraphs)


def test_an_epub_3_by_its_navigation() -> None:
    entries = (
        '<li><a href="text/cover.xhtml">Cover</a></li>'
        '<li><a href="text/one%20a.xhtml">Part <b>One</b></a><ol>'
        '<li><a href="text/one%20a.xhtml#c1">The  Start</a>'
        '<ol><li><a href="text/one%20a.xhtml#s">Deep</a></li></ol></li>'
        '<li><a href="text/one%20a.xhtml#c2">The Middle</a></li></ol></li>'
        '<li><a href="text/two.xhtml">The End</a></li><li><a href="https://example.org/">Elsewhere</a></li>'
    )
    pages = {
        "nav.xhtml": nav(entries, '<li><a epub:type="cover" href="text/cover.xhtml">Cover</a></li>'),
        "text/cover.xhtml": xhtml("<p>A picture of a sea</p>"),
        "text/one a.xhtml": xhtml(
            '<h1>Part One</h1><section id="c1"><h2>The Start</h2><p>It began.</p><p id="s">Deep.</p></section>'
            '<p>Still the start.</p><p><a id="c2"/>The middle.</p>'
        ),
        "text/one b.xhtml": xhtml("<p>The middle goes on.</p>"),
        "notes.xhtml": xhtml("<p>An answer.</p>"),
        "text/two.xhtml": xhtml("<p>The end.</p>"),
    }
    spine = {"text/cover.xhtml": "", "text/one%20a.xhtml": "", "text/one%20b.xhtml": ""}
    spine |= {"notes.xhtml": 'linear="no"', "text/two.xhtml": 'linear="yes"'}
    document = read(job(epub(pages, spine=spine, extra=NAV)))
    assert (document.title, document.author, document.language) == ("The Book", "Ann Other", "en-GB")
    assert document.chapters == (
        Chapter("The Start", ("Part One", "The Start", "It began.", "Deep.", "Still the start.")),
        Chapter("The Middle", ("The middle.", "The middle goes on.")),
        Chapter("The End", ("The end.",)),
    )


def test_an_epub_2_by_its_ncx_and_guide() -> None:
    pages = {
        "toc.xhtml": xhtml("<p>Chapter 1 … 5</p>"),
        "preface.xhtml": xhtml("<p>Before all.</p>"),
        "one.xhtml": xhtml("<p>It began.</p>"),
        "two.xhtml": xhtml('<p><a name="x"/>It ended.</p>'),
    }
    points = point("Part", "one.xhtml", point("One", "one.xhtml", point("Deep", "two.xhtml"))) + point(
        "Two", "two.xhtml#x"
    )
    content = epub(
        pages,
        {"OEBPS/toc.ncx": ncx(points)},
        extra=NCX,
        metadata='<dc:title> The\n Book </dc:title><dc:creator opf:role="aut">Ann Other</dc:creator>'
        '<dc:creator opf:role="ill">Bob</dc:creator><dc:creator>Cyd</dc:creator>',
        guide='<guide><reference type="toc" href="toc.xhtml"/><reference type="toc" href="two.xhtml#x"/></guide>',
    )
    document = read(job(content))
    assert (document.title, document.author, document.language) == ("The Book", "Ann Other, Cyd", "")
    assert chapters(content) == [("", ["Before all."]), ("One", ["It began."]), ("Two", ["It ended."])]


def test_navigation_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be unpacked in all is counted: a book of just so many bytes can be read."""
    pages = {"nav.xhtml": nav('<li><a href="1.xhtml">One</a></li>'), "1.xhtml": xhtml("<p>It began.</p>")}
    book = epub(pages, spine={"1.xhtml": ""}, extra=NAV)
    with zipfile.ZipFile(BytesIO(book)) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
    monkeypatch.setattr(archive_module, "MOST_BYTES", sum(sizes.values()) - sizes["mimetype"])
    assert read(job(book)).chapters == (Chapter("One", ("It began.",)),)


def test_without_a_table_of_contents_each_page_is_a_chapter() -> None:
    pages = {"a.xhtml": xhtml("<h2>One</h2><p>It began.</p>"), "b.xhtml": xhtml("<p>It ended.</p><h3>Not this</h3>")}
    assert chapters(epub(pages)) == [("One", ["One", "It began."]), ("Not this", ["It ended.", "Not this"])]
    elsewhere = epub({**pages, "nav.xhtml": nav('<li><a href="c.xhtml">C</a></li>')}, extra=NAV)
    assert [title for title, _ in chapters(elsewhere)][:2] == ["One", "Not this"]


def test_paragraphs_of_a_page() -> None:
    page = """
    Loose <em>text</em>,
      wrapped. <p>One&#160;<b>bold</b> word<br/>and a verse</p><div>Two<p>Three</p>Four</div>
    <h1>A<br/>heading</h1><ul><li>Five</li><li><p>Six</p></li></ul>
    <table><tr><th>Fruit</th><th>Price</th></tr><tr><td>apple</td><td></td><td>1 &euro;</td><td/></tr></table>
    <blockquote>“Seven &amp; eight”</blockquote><hr/><dl><dt>Nine</dt><dd>Ten</dd></dl><pre>a  poem\n of two</pre>
    <p><img src="x.png" alt="a cat on a mat"/><img src="y.png" alt="cover"/></p>"""
    assert heard(page) == [
        "Loose text, wrapped.", "One bold word", "and a verse", "Two", "Three", "Four", "A heading", "Five", "Six",
        "Fruit, Price", "apple, 1 €", "“Seven & eight”", "Nine", "Ten", "a poem of two", "a cat on a mat",
    ]  # fmt: skip


def test_what_nobody_wants_to_hear_is_left_out() -> None:
    page = """
    <p>Read<!-- no --><script>no</script><style>no</style> <ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby> this<sup><a
    href="#n1">1</a></sup>, this<a href="n.xhtml#n2"><sup>[12]</sup></a>, this<a href="#n3">[3]</a>,
    this<a epub:type="noteref" href="#n4">four</a>, this <a href="#c">chapter</a>,
    10<sup>2</sup><span epub:type="pagebreak" id="p9">9</span><span role="doc-pagebreak">10</span> and this.</p>
    <p hidden="hidden">no</p><p style="color: red; Display : None">no</p><p aria-hidden="true">no</p>
    <nav>no</nav><svg xmlns="http://www.w3.org/2000/svg"><text>no</text></svg><pre><code>no</code></pre>
    <aside epub:type="footnote" id="n4">no</aside><section role="doc-endnotes">no</section>
    <section epub:type="bodymatter toc">no</section>"""
    assert heard(page) == ["Read 漢 this, this, this, this, this chapter, 102 and this."]


def test_encodings_and_named_characters() -> None:
    body = "<p>Caf&eacute;&nbsp;f&#252;r &lt;alle&gt; &amp;amp; мир</p>"
    for encoding, mark in (("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16", b""), ("windows-1251", b"")):
        page = mark + xhtml(body).replace('"utf-8"', f'"{encoding}"', 1).encode(encoding)
        assert chapters(epub({"a.xhtml": ""}, {"OEBPS/a.xhtml": page})) == [("", ["Café für <alle> &amp; мир"])]


def test_obfuscated_fonts_are_no_copy_protection() -> None:
    fonts = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
    xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>
    <enc:EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/></enc:EncryptedData></encryption>"""
    assert chapters(epub({"a.xhtml": xhtml("<p>Hello</p>")}, {"META-INF/encryption.xml": fonts})) == [("", ["Hello"])]


WORD = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=8)
INLINE = st.tuples(st.sampled_from(["", "b", "i", "span"]), WORD)
BLOCK = st.tuples(
    st.sampled_from(["p", "div", "h1", "h3", "li", "blockquote"]), st.lists(INLINE, min_size=1, max_size=4)
)


@given(st.lists(st.lists(BLOCK, min_size=1, max_size=3), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_every_word_is_kept_in_order(book: list[list[tuple[str, list[tuple[str, str]]]]]) -> None:
    pages = {
        f"{number}.xhtml": xhtml(
            "".join(
                f"<{block}>" + " ".join(f"<{tag}>{word}</{tag}>" if tag else word for tag, word in said) + f"</{block}>"
                for block, said in page
            )
        )
        for number, page in enumerate(book)
    }
    said = [" ".join(word for _, word in said) for page in book for _, said in page]
    assert [paragraph for _, paragraphs in chapters(epub(pages)) for paragraph in paragraphs] == said
