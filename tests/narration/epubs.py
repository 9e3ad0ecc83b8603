"""EPUBs made by hand, right ones and wrong ones."""

import base64
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from more_server.errors import BadInput
from more_server.narration.document import Document
from more_server.narration.reading import read
from more_server.narration.request import SpeechJob

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
XHTML = 'xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"'
NAV = '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="scripted nav"/>'
NCX = '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'


def xhtml(body: str) -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><html {XHTML}><head><title>No</title></head><body>{body}</body></html>'
    )


def nav(entries: str, landmarks: str = "") -> str:
    """Of `<li><a href="…">…</a></li>`."""
    more = f'<nav epub:type="landmarks"><ol>{landmarks}</ol></nav>' if landmarks else ""
    return xhtml(f'<nav epub:type="toc"><h1>Contents</h1><ol>{entries}</ol></nav>{more}')


def ncx(points: str) -> str:
    return f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1"><navMap>{points}</navMap></ncx>'


def point(title: str, src: str, inside: str = "") -> str:
    return f'<navPoint><navLabel><text>{title}</text></navLabel><content src="{src}"/>{inside}</navPoint>'


def package(pages: Mapping[str, str], extra: str = "", metadata: str = "", guide: str = "") -> str:
    """pages: by file, what its itemref says besides."""
    items = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(pages)
    )
    spine = "".join(f'<itemref idref="i{n}" {says}/>' for n, says in enumerate(pages.values()))
    metadata = (
        metadata or "<dc:title>The Book</dc:title><dc:creator>Ann Other</dc:creator><dc:language>en-GB</dc:language>"
    )
    return (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:opf="http://www.idpf.org/2007/opf">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata>'
        f"<manifest>{items}{extra}</manifest><spine>{spine}</spine>{guide}</package>"
    )


def epub(pages: Mapping[str, str], more: Mapping[str, str | bytes] | None = None, **told: Any) -> bytes:
    """A book of these files, all of them in the spine; more: further files; told: as `package` has it."""
    files: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": package(told.pop("spine", None) or dict.fromkeys(pages, ""), **told),
        **{f"OEBPS/{name}": content for name, content in pages.items()},
    }
    return zipped(files | dict(more or {}))


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def outcome(asked: SpeechJob) -> Document | BadInput:
    """What comes of reading; anything else that is raised is a fault of the server's."""
    try:
        return read(asked)
    except BadInput as error:
        return error


def job(content: bytes, **asked: Any) -> SpeechJob:
    return SpeechJob(document=base64.b64encode(content).decode(), **asked)
