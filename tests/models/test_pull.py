"""Downloads against a real server on the loopback: broken off, changed, wrong, refused."""

import hashlib
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from more_server.errors import ModelError, ModelNotFound, StorageError
from more_server.files import locked
from more_server.models import (
    Manifest,
    ManifestFile,
    ManifestModel,
    check_model,
    list_models,
    pull,
    read_manifest,
)
from more_server.models import incoming as incoming_module
from more_server.models.download import ATTEMPTS
from more_server.settings import Settings, bundled_dir
from tests.models.server import Site, serve

NANO = bundled_dir() / "models" / "nano"
FILES = ("config.json", "vocab.json", "model.safetensors")
WEIGHTS = "/r1/model.safetensors"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        site.files = {f"/r1/{file}": (NANO / file).read_bytes() for file in FILES}
        yield site


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest(site: Site, *, hashes: bool = True, sizes: bool = True, **changes: object) -> Manifest:
    files = tuple(
        ManifestFile(
            name=path.rpartition("/")[2],
            size=len(content) if sizes else 0,
            sha256=sha256(content) if hashes else "",
        )
        for path, content in site.files.items()
    )
    fields = {
        "title": "Test",
        "layout": "serving",
        "licence": "Test Licence 1.0",
        "licence_address": "https://example.org/licence",
        "revision": "r1",
        "address": site.address + "/{revision}/",
        "files": files,
        **changes,
    }
    return Manifest(models={"test": ManifestModel(**fields)})


class Pauses(list[float]):
    """Stands in for sleeping."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def test_a_pull_is_installed_and_recorded(settings: Settings, site: Site) -> None:
    seen: dict[str, tuple[int, int]] = {}
    result = pull(
        settings, "test", True, lambda what, done, total: seen.update({what: (done, total)}), manifest=manifest(site)
    )
    assert result.verified
    assert result.path == settings.model_dirs[0] / "test"
    check_model(result.path)
    record = tomllib.loads((result.path / "provenance.toml").read_text())
    assert record["verified"] is True
    assert record["licence"] == "Test Licence 1.0"
    assert record["files"][2]["sha256"] == sha256((NANO / "model.safetensors").read_bytes())
    assert {file["verified_by"] for file in record["files"]} == {"manifest"}
    size = (NANO / "model.safetensors").stat().st_size
    assert seen["model.safetensors"] == seen["checking model.safetensors"] == (size, size)
    assert {info.id for info in list_models(settings)} == {"nano", "test"}
    assert not any((settings.model_dirs[0] / ".downloads").iterdir())
    with pytest.raises(ModelError, match="exists already"):
        pull(settings, "test", True, manifest=manifest(site))


def test_the_licence_comes_first(settings: Settings, site: Site) -> None:
    with pytest.raises(ModelError, match=r"Test Licence 1\.0 \(https://example\.org/licence\).*--accept-license"):
        pull(settings, "test", manifest=manifest(site))
    assert site.requests == []
    assert pull(settings, "test", manifest=manifest(site, must_accept=False)).verified


def test_unknown_models_say_what_there_is(settings: Settings, site: Site) -> None:
    with pytest.raises(ModelNotFound, match="it has: test"):
        pull(settings, "other", True, manifest=manifest(site))


def test_a_dropped_connection_goes_on_where_it_ended(settings: Settings, site: Site) -> None:
    site.drops = [100, 9_000_000_000, 200, 9_000_000_000, 5_000_000, 3_000_000]
    pauses = Pauses()
    assert pull(settings, "test", True, manifest=manifest(site), pause=pauses).verified
    starts = [int(wanted[6:-1]) for path, wanted in site.requests if path == WEIGHTS and wanted]
    assert len(pauses) == 4
    assert starts == sorted(starts)
    assert starts[-1] > 7_000_000


def test_a_server_that_stays_down(settings: Settings, site: Site) -> None:
    site.failures = [503] * 20
    pauses = Pauses()
    with pytest.raises(ModelError, match=r"503.*run the same command again"):
        pull(settings, "test", True, manifest=manifest(site), pause=pauses)
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert len(site.requests) == ATTEMPTS


def test_no_server_at_all(settings: Settings, site: Site) -> None:
    absent = manifest(site, address="http://127.0.0.1:9/")
    with pytest.raises(ModelError, match="cannot be fetched"):
        pull(settings, "test", True, manifest=absent, pause=Pauses())


@pytest.mark.parametrize("hashes", [True, False])
def test_a_later_call_goes_on(settings: Settings, site: Site, hashes: bool) -> None:
    class Stopped(Exception):
        pass

    def stop(what: str, done: int, _total: int) -> None:
        if what == "model.safetensors" and done > 8_000_000:
            raise Stopped

    offered = manifest(site, hashes=hashes)
    with pytest.raises(Stopped):
        pull(settings, "test", True, stop, manifest=offered)
    assert [info.id for info in list_models(settings)] == ["nano"]
    site.requests.clear()
    pull(settings, "test", True, manifest=offered)
    wanted = dict(site.requests)
    assert wanted.keys() == {WEIGHTS} if hashes else WEIGHTS in wanted
    assert int(wanted[WEIGHTS][6:-1]) >= 8_000_000


@pytest.mark.parametrize(("etags", "ranges"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("hashes", [True, False])
def test_a_file_that_changed_meanwhile_is_never_mixed(
    settings: Settings, site: Site, etags: bool, ranges: bool, hashes: bool
) -> None:
    site.etags, site.ranges = etags, ranges
    new = site.files[WEIGHTS]
    site.files[WEIGHTS] = bytes(len(new))
    site.drops = [9_000_000_000, 9_000_000_000, 2_000_000]
    swapped = False

    def swap(_seconds: float) -> None:
        nonlocal swapped
        swapped, site.files[WEIGHTS] = True, new

    offered = manifest(site, hashes=False)
    if hashes:
        files = [
            msgspec.structs.replace(file, sha256=sha256(new if file.name == "model.safetensors" else site.files[path]))
            for path, file in zip(site.files, offered.models["test"].files, strict=True)
        ]
        offered = manifest(site, files=tuple(files))
    result = pull(settings, "test", True, manifest=offered, pause=swap)
    assert swapped
    assert (result.path / "model.safetensors").read_bytes() == new


def test_a_wrong_hash_is_not_used_and_not_kept(settings: Settings, site: Site) -> None:
    offered = manifest(site)
    site.files[WEIGHTS] = site.files[WEIGHTS][:-1] + b"!"
    with pytest.raises(ModelError, match=r"has sha256 .* was expected"):
        pull(settings, "test", True, manifest=offered)
    left = {path.name for path in (settings.model_dirs[0] / ".downloads" / "test-r1").iterdir()}
    assert not any(name.startswith("model.safetensors") for name in left)
    assert [info.id for info in list_models(settings)] == ["nano"]


def test_another_size_is_seen_before_the_download(settings: Settings, site: Site) -> None:
    offered = manifest(site)
    site.files[WEIGHTS] += b"more"
    seen: list[str] = []
    with pytest.raises(ModelError, match="it is not the same file"):
        pull(settings, "test", True, lambda what, *_: seen.append(what), manifest=offered)
    assert "model.safetensors" not in seen


def test_a_server_that_says_no_length(settings: Settings, site: Site) -> None:
    site.lengths = False
    assert pull(settings, "test", True, manifest=manifest(site)).verified


def test_a_server_that_sends_without_end(settings: Settings, site: Site) -> None:
    offered = manifest(site)
    site.lengths = False
    site.files[WEIGHTS] += b"more"
    with pytest.raises(ModelError, match="sends more than"):
        pull(settings, "test", True, manifest=offered)


def test_a_missing_file(settings: Settings, site: Site) -> None:
    offered = manifest(site)
    del site.files[WEIGHTS]
    with pytest.raises(ModelError, match=r"model\.safetensors.* 404 Not Found"):
        pull(settings, "test", True, manifest=offered)
    assert [info.id for info in list_models(settings)] == ["nano"]


def test_without_a_hash_nothing_is_claimed(settings: Settings, site: Site) -> None:
    result = pull(settings, "test", True, manifest=manifest(site, hashes=False, sizes=False))
    assert not result.verified
    assert {file.verified_by for file in result.files} == {"nothing"}
    record = tomllib.loads((result.path / "provenance.toml").read_text())
    assert record["verified"] is False
    assert record["files"][0]["sha256"] == sha256((NANO / "config.json").read_bytes())


def test_the_servers_own_hash(settings: Settings, site: Site) -> None:
    site.linked[WEIGHTS] = sha256(site.files[WEIGHTS])
    site.linked["/r1/vocab.json"] = "0" * 40  # a git hash: no sha256
    site.drops = [9_000_000_000, 9_000_000_000, 1_000_000]
    result = pull(settings, "test", True, manifest=manifest(site, hashes=False), pause=Pauses())
    checked = {file.name: file.verified_by for file in result.files}
    assert checked == {"config.json": "nothing", "vocab.json": "nothing", "model.safetensors": "server"}
    assert not result.verified
    assert ("/cdn" + WEIGHTS, "") in site.requests


def test_the_servers_own_hash_is_held_against_it(settings: Settings, site: Site) -> None:
    site.linked[WEIGHTS] = "0" * 64
    with pytest.raises(ModelError, match="was expected"):
        pull(settings, "test", True, manifest=manifest(site, hashes=False))


def test_an_original_is_converted(settings: Settings, site: Site, pristine: Path) -> None:
    site.files = {f"/r1/{path.name}": path.read_bytes() for path in pristine.iterdir()}
    result = pull(settings, "test", True, manifest=manifest(site, layout="xtts-v2", warning="for the test"))
    (info,) = [info for info in list_models(settings) if info.id == "test"]
    assert (info.problem, info.licence, info.warning) == ("", "Test Licence 1.0", "for the test")
    assert info.voices == ("Ana Florence", "Damien Black")
    assert tomllib.loads((result.path / "provenance.toml").read_text())["verified"] is True
    assert "https://example.org/licence" in (result.path / "README.md").read_text()


def test_a_model_that_does_not_fit_is_not_installed(settings: Settings, site: Site) -> None:
    site.files["/r1/vocab.json"] = b"{}"
    with pytest.raises(ModelError, match=r"vocab\.json"):
        pull(settings, "test", True, manifest=manifest(site))
    assert [info.id for info in list_models(settings)] == ["nano"]


def test_a_full_disk_is_seen_first(settings: Settings, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 10**8, 10**8)
    monkeypatch.setattr(incoming_module.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ModelError, match=r"0\.1 GB free, 0\.1 GB are needed"):
        pull(settings, "test", True, manifest=manifest(site))
    assert site.requests == []


def test_two_at_once(settings: Settings, site: Site) -> None:
    with (
        locked(settings.model_dirs[0] / "test"),
        pytest.raises(StorageError, match=r"another process is writing .*test"),
    ):
        pull(settings, "test", True, manifest=manifest(site))


def test_encryption_is_not_given_up(settings: Settings) -> None:
    import httpx

    from more_server.models.download import Download

    def answer(request: httpx.Request) -> httpx.Response:
        to_plain = {"location": "http://example.org/x"}
        return httpx.Response(302, headers=to_plain) if request.url.scheme == "https" else httpx.Response(200)

    settings.data_dir.mkdir()
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        download = Download(client, "https://example.org/x", settings.data_dir / "x", pause=Pauses())
        with pytest.raises(ModelError, match="without encryption"):
            download.fetch()


def test_the_shipped_manifest() -> None:
    model = read_manifest().models["xtts-v2"]
    assert model.must_accept
    assert "non-commercial" in model.licence
    names = {file.name for file in model.files}
    assert {"model.pth", "config.json", "vocab.json", "speakers_xtts.pth", "mel_stats.pth", "dvae.pth"} == names
    for file in model.files:
        assert model.address_of(file).startswith(f"https://huggingface.co/coqui/XTTS-v2/resolve/{model.revision}/")
        assert len(file.sha256) == 64
    # 58 studio voices of 32 latents and one embedding, in fp32, are most of their file.
    voices = next(file for file in model.files if file.name == "speakers_xtts.pth")
    assert voices.size // ((32 * 1024 + 512) * 4) == 58


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", "does not fit"),
        ('[models.a]\ntitle = "x"', "missing required field"),
        ('[models."../a"]', "does not fit"),
    ],
)
def test_a_broken_manifest(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ModelError, match=reason):
        read_manifest(tmp_path / "m.toml")
    with pytest.raises(ModelError, match="cannot be read"):
        read_manifest(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["../x", "a/b", ".part", ""])
def test_file_names_of_a_manifest_are_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name}, ManifestFile)
