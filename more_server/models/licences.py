"""Licences of models that somebody has accepted, for whoever fetches the same model on another machine."""

import time

import msgspec

from more_server.errors import ModelError
from more_server.files import set_aside_damaged
from more_server.models.manifest import ManifestModel
from more_server.settings import Settings
from more_server.shared.kept import KeptFile

FILE = "admin/licences.json"


class Accepted(msgspec.Struct, frozen=True):
    """A yes to a licence."""

    licence: str
    """As the manifest had it."""
    at: int
    """Unix seconds."""


def set_damaged_licences_aside(settings: Settings) -> None:
    """At the start of a server; they are to be accepted anew then. Raises StorageError."""
    set_aside_damaged(settings.data_dir / FILE, _decoded)


def accept(settings: Settings, model: str, entry: ManifestModel) -> None:
    """Remember a yes. Raises ModelError for a damaged file, StorageError."""
    file = KeptFile(settings, FILE)
    with file.changing() as keep:
        known = _known(file) | {model: Accepted(entry.licence, int(time.time()))}
        keep(msgspec.json.format(msgspec.json.encode(known), indent=2))


def is_accepted(settings: Settings, model: str, entry: ManifestModel) -> bool:
    """Whether none is needed, or somebody has accepted this very licence. Raises ModelError, StorageError."""
    return not entry.must_accept or _covers(_known(KeptFile(settings, FILE)).get(model), entry)


def _covers(accepted: Accepted | None, entry: ManifestModel) -> bool:
    return accepted is not None and accepted.licence == entry.licence


def _known(file: KeptFile) -> dict[str, Accepted]:
    content = file.read()
    try:
        return {} if content is None else _decoded(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{file.path} is damaged: {error}; move it away, and accept licences anew") from error


def _decoded(content: bytes) -> dict[str, Accepted]:
    return msgspec.json.decode(content, type=dict[str, Accepted])
