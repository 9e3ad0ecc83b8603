"""models/manifest.toml: what can be fetched, from where, under which licence, with which hashes."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from more_server.errors import ModelError, ModelNotFound, allowed
from more_server.models.ids import check_id
from more_server.settings import Settings, bundled_dir

FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file to fetch."""

    name: FileName
    size: Annotated[int, Meta(ge=0)] = 0
    """Bytes; 0: not known."""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Empty: not known, so the server's own hash is used where it sends one."""
    address: str = ""
    """Where it lies if not at the model's address."""


class ManifestModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model to fetch."""

    title: str
    layout: Literal["xtts-v2", "serving"]
    """`xtts-v2`: coqui's files, converted after the download; `serving`: files as they are served."""
    licence: str
    licence_address: str = ""
    must_accept: bool = True
    """Whether the licence needs an explicit yes."""
    revision: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    address: str
    """Folder of the files; `{revision}` in it is replaced."""
    warning: str = ""
    """Shown wherever the model is listed."""
    files: tuple[ManifestFile, ...]

    def address_of(self, file: ManifestFile) -> str:
        folder = self.address.replace("{revision}", self.revision).rstrip("/")
        return file.address or f"{folder}/{file.name}"

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(file.size for file in self.files)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every model that can be fetched, by id."""

    models: dict[str, ManifestModel] = {}

    def find(self, model: str) -> ManifestModel:
        """One model. Raises ModelNotFound listing what the manifest has."""
        if model not in self.models:
            raise ModelNotFound(
                f"model {model!r} is not in the manifest; it has: {allowed(self.models)}", param="model"
            )
        return self.models[model]


def read_manifests(settings: Settings) -> Manifest:
    """The shipped manifest, and the setting `model_manifest` before it. Raises ModelError naming the file and field."""
    own = read_manifest(Path(settings.model_manifest)) if settings.model_manifest else Manifest()
    return Manifest(read_manifest().models | own.models)


def read_manifest(path: Path | None = None) -> Manifest:
    """Read a manifest, by default the shipped one. Raises ModelError naming the file and the field."""
    path = path or bundled_dir() / "models" / "manifest.toml"
    try:
        manifest = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Manifest)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"{path} does not fit: {error}") from error
    for model in manifest.models:
        check_id(model)
    return manifest
