"""Models that are already on disk."""

import shutil
from pathlib import Path

import pytest

from more_server.errors import ModelError
from more_server.models import check_model, import_folder, list_models
from more_server.models import incoming as module
from more_server.settings import Settings, bundled_dir
from more_server.xtts.config import read_config

NANO = bundled_dir() / "models" / "nano"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(NANO, tmp_path / "mine"))


def test_the_serving_format_is_copied(settings: Settings, source: Path) -> None:
    (source / "stray.bin").write_bytes(b"x")
    info = import_folder(settings, source)
    assert (info.id, info.problem, info.bundled, info.serving) == ("mine", "", False, False)
    assert not (info.path / "stray.bin").exists()
    assert (info.path / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert read_config(info.path).name == "mine"
    assert source.is_dir()


def test_an_original_is_converted(settings: Settings, original: Path) -> None:
    seen = []
    info = import_folder(settings, original, "mine", on_progress=lambda what, _done, _total: seen.append(what))
    assert info.problem == ""
    assert info.voices == ("Ana Florence", "Damien Black")
    assert "non-commercial" in info.licence
    assert len(info.languages) == 17
    assert "writing model.safetensors" in seen
    check_model(info.path)
    own = import_folder(settings, original, "own", licence="CC-BY-4.0")
    assert own.licence == "CC-BY-4.0"


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "auto"])
def test_names_that_are_paths(settings: Settings, source: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        import_folder(settings, source, name)


def test_an_existing_id_is_refused(settings: Settings, source: Path) -> None:
    import_folder(settings, source)
    with pytest.raises(ModelError, match="exists already"):
        import_folder(settings, source)
    with pytest.raises(ModelError, match="exists already"):
        import_folder(settings, source, "nano")


def test_what_is_no_model(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"neither model\.safetensors"):
        import_folder(settings, tmp_path / "empty")
    with pytest.raises(ModelError, match="is not a folder"):
        import_folder(settings, tmp_path / "nowhere")


def test_a_broken_one_leaves_nothing(settings: Settings, source: Path) -> None:
    (source / "vocab.json").write_text("{}")
    with pytest.raises(ModelError, match=r"vocab\.json"):
        import_folder(settings, source)
    assert [info.id for info in list_models(settings)] == ["nano"]


def test_a_full_disk(settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(ModelError, match="make room"):
        import_folder(settings, source)


def test_an_interrupted_copy_leaves_nothing(settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module.shutil, "copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        import_folder(settings, source)
    assert [path.name for path in settings.model_dirs[0].iterdir()] == [".locks"]


def test_what_a_killed_import_left_is_swept(settings: Settings, source: Path) -> None:
    left = settings.model_dirs[0] / ".mine.partial-00112233"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert [info.id for info in list_models(settings)] == ["nano"]
    import_folder(settings, source)
    assert not left.exists()
