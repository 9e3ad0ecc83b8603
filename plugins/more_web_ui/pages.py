"""The files of the page, read once and told apart by their content, so that browsers ask only whether they changed."""

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from more_server import errors

PUBLIC = {"scope": "public"}
INDEX = "index.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
"""By the end of a file's name; what has another one is not served."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Only what this server has: no inline script, no style in an attribute, no other host. Audio is fetched with the
key, so it is played as blobs."""


class Asset(msgspec.Struct, frozen=True):
    """A file of the page."""

    content: bytes
    zipped: bytes
    """The same by gzip, for whoever takes that: a third of the size."""
    media_type: str
    etag: str
    """Weak, as both are told by the same."""


def handlers() -> list[HTTPRouteHandler]:
    """The page and its files."""
    assets = dict(read_assets())

    @get("/", opt=PUBLIC, media_type="text/html", sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The page of this server, for browsers."""
        return _sent(request, assets[INDEX])

    @get("/ui/{path:path}", opt=PUBLIC, media_type="text/plain", sync_to_thread=False)
    def asset(request: Request[Any, Any, Any], path: FromPath[str]) -> Response[bytes]:
        """A file of the page."""
        name = path.removeprefix("/")
        if name not in assets:
            raise errors.RouteNotFound(f"the page has no file {errors.shown(name)}")
        return _sent(request, assets[name])

    return [page, asset]


def read_assets() -> Mapping[str, Asset]:
    """Every file by its path below `static`, with `/` between folders."""
    found: dict[str, Asset] = {}
    _read(files("more_web_ui") / "static", "", found)
    return found


def _read(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        media_type = TYPES.get(entry.name.rpartition(".")[2])
        if entry.is_dir():
            _read(entry, f"{prefix}{entry.name}/", found)
        elif media_type:
            content = entry.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:32]
            found[prefix + entry.name] = Asset(content, gzip.compress(content, mtime=0), media_type, f'W/"{digest}"')


def _sent(request: Request[Any, Any, Any], asset: Asset) -> Response[bytes]:
    # no-cache: kept, and asked for each time; after an update nobody has half of the old page.
    headers = {
        "etag": asset.etag,
        "cache-control": "no-cache",
        "vary": "accept-encoding",
        "content-security-policy": POLICY,
    }
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    content = asset.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["content-encoding"] = asset.zipped, "gzip"
    # As a header: to a media type the framework adds the character set once more.
    return Response(content, headers=headers | {"content-type": asset.media_type})
