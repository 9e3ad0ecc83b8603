"""A model from the manifest: licence, download, check, conversion, and a record of where it came from."""

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from more_server.errors import ModelError
from more_server.files import locked, staged_folder
from more_server.models.catalogue import check_model
from more_server.models.download import Download, VerifiedBy
from more_server.models.incoming import check_space, prepare
from more_server.models.licences import accept, is_accepted
from more_server.models.manifest import Manifest, ManifestModel, read_manifests
from more_server.settings import Settings
from more_server.xtts.layout import Progress

ACCEPT_FLAG = "--accept-license"
TIMEOUT_SECONDS = 30.0


class PulledFile(msgspec.Struct, frozen=True):
    """One fetched file as it is recorded in provenance.toml."""

    name: str
    address: str
    size_bytes: int
    sha256: str
    verified_by: VerifiedBy
    """`manifest`: the hash shipped with the server; `server`: only the hash that the host itself named;
    `nothing`: no one named one, and this is the hash that was seen."""


class PullResult(msgspec.Struct, frozen=True):
    """A model that was fetched."""

    id: str
    path: Path
    files: tuple[PulledFile, ...]

    @property
    def verified(self) -> bool:
        """Whether every file equals a hash that the manifest names."""
        return all(file.verified_by == "manifest" for file in self.files)


def pull(
    settings: Settings,
    model: str,
    accept_license: bool = False,
    on_progress: Progress | None = None,
    *,
    manifest: Manifest | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> PullResult:
    """Fetch a model of the manifest into `<data_dir>/models/<id>`; a broken-off one goes on where it ended.

    An exception from `on_progress` ends it, and the next call goes on. `pause` waits between attempts.
    Raises ModelNotFound; ModelError where the licence is not accepted, the model is here already or
    being written, the disk is too small, the server or the connection fails, a hash or size differs,
    or the conversion refuses what came.
    """
    manifest = read_manifests(settings) if manifest is None else manifest
    entry = manifest.find(model)
    if entry.must_accept and not accept_license:
        where = f" ({entry.licence_address})" if entry.licence_address else ""
        raise ModelError(f"{model} is under this licence: {entry.licence}{where}. Read it, then add {ACCEPT_FLAG}")
    if not is_accepted(settings, model, entry):
        accept(settings, model, entry)
    with locked(settings.model_dirs[0] / model):
        target = prepare(settings, settings.model_dirs[0], model)
        downloads = target.parent / ".downloads" / f"{model}-{entry.revision}"
        try:
            downloads.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"{downloads} cannot be written: {error.strerror or error}") from error
        # The files, and as much again for what is made of them.
        here = sum(path.stat().st_size for path in downloads.iterdir())
        check_space(target.parent, max(entry.size - here, 0) + entry.size)
        files = _fetch(entry, downloads, on_progress, pause)
        result = PullResult(model, target, files)
        _install(entry, downloads, result, on_progress)
        shutil.rmtree(downloads, ignore_errors=True)
    return result


def _fetch(
    entry: ManifestModel, downloads: Path, on_progress: Progress | None, pause: Callable[[float], None]
) -> tuple[PulledFile, ...]:
    import httpx

    pulled = []
    with httpx.Client(timeout=TIMEOUT_SECONDS, headers={"user-agent": "more-server"}) as client:
        for file in entry.files:
            fetched = Download(
                client,
                entry.address_of(file),
                downloads / file.name,
                size=file.size,
                sha256=file.sha256,
                on_progress=on_progress,
                pause=pause,
            ).fetch()
            pulled.append(
                PulledFile(file.name, entry.address_of(file), fetched.size, fetched.sha256, fetched.verified_by)
            )
    return tuple(pulled)


def _install(entry: ManifestModel, downloads: Path, result: PullResult, on_progress: Progress | None) -> None:
    provenance = _provenance(entry, result).encode()
    if entry.layout == "xtts-v2":
        from more_server.xtts.convert import convert

        convert(
            downloads,
            result.path,
            name=result.id,
            licence=entry.licence,
            licence_address=entry.licence_address,
            warning=entry.warning,
            extras={"provenance.toml": provenance},
            on_progress=on_progress,
        )
        return
    with staged_folder(result.path) as stage:
        for file in entry.files:
            shutil.copyfile(downloads / file.name, stage / file.name)
        (stage / "provenance.toml").write_bytes(provenance)
        check_model(stage)


def _provenance(entry: ManifestModel, result: PullResult) -> str:
    """TOML; its basic strings are JSON's."""
    lines = [
        "# Where this model came from. verified_by: manifest (a hash shipped with the server),",
        "# server (only the hash that the host itself named), nothing (no one named one; this is what was seen).",
        f"title = {json.dumps(entry.title)}",
        f"revision = {json.dumps(entry.revision)}",
        f"licence = {json.dumps(entry.licence)}",
        f"licence_address = {json.dumps(entry.licence_address)}",
        f"licence_had_to_be_accepted = {json.dumps(entry.must_accept)}",
        f"fetched = {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"verified = {json.dumps(result.verified)}",
    ]
    for file in result.files:
        lines += ["", "[[files]]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in msgspec.structs.asdict(file).items()]
    return "\n".join(lines) + "\n"
