"""A model that was chosen on another machine comes here by its manifest, once."""

import multiprocessing
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import tomli_w

from more_server.errors import ModelError, ModelNotFound, Unavailable
from more_server.files import locked
from more_server.models import fetch_chosen, has_model, pull, read_manifests, remove, use
from more_server.models.licences import is_accepted
from more_server.settings import Settings
from tests.models.server import Site
from tests.models.test_pull import NANO, WEIGHTS, manifest, site

__all__ = ("site",)

# No database is asked for any of it: the copies of what is shared are files.
NOWHERE = "postgresql://nobody@127.0.0.1:9/none"


@pytest.fixture
def settings(tmp_path: Path, site: Site) -> Settings:
    """Of a machine without the model `test`, which another one has chosen."""
    file = tmp_path / "manifest.toml"
    file.write_bytes(tomli_w.dumps(msgspec.to_builtins(manifest(site))).encode())
    made = Settings(data_dir=tmp_path / "data", model_manifest=str(file), model="test", database=NOWHERE)
    (made.data_dir / "models").mkdir(parents=True)
    return made


def accepted(settings: Settings) -> None:
    """As the copy of another machine's yes."""
    alone = msgspec.structs.replace(settings, database="", data_dir=settings.data_dir / "elsewhere")
    pull(alone, "test", accept_license=True)
    settings.admin_dir.mkdir()
    (alone.admin_dir / "licences.json").rename(settings.admin_dir / "licences.json")


def test_it_is_fetched_once(settings: Settings, site: Site):
    accepted(settings)
    site.requests.clear()
    fetch_chosen(settings)
    assert has_model(settings, "test")
    asked = len(site.requests)
    assert asked
    fetch_chosen(settings)
    assert len(site.requests) == asked


def test_a_licence_that_nobody_has_accepted(settings: Settings, site: Site):
    with pytest.raises(ModelError, match=r"nobody has accepted its licence.*models pull test --accept-license"):
        fetch_chosen(settings)
    assert site.requests == []


def test_another_licence_is_another_question(settings: Settings):
    accepted(settings)
    entry = read_manifests(settings).models["test"]
    assert is_accepted(settings, "test", entry)
    assert not is_accepted(settings, "test", msgspec.structs.replace(entry, licence="Test Licence 2.0"))
    assert is_accepted(settings, "other", msgspec.structs.replace(entry, must_accept=False))


def test_a_damaged_list_of_licences(settings: Settings):
    accepted(settings)
    (settings.admin_dir / "licences.json").write_text("{")
    with pytest.raises(ModelError, match=r"licences\.json is damaged"):
        fetch_chosen(settings)


@pytest.mark.parametrize("change", [{"database": ""}, {"model": "nowhere"}, {"model": "nano"}, {"model_manifest": ""}])
def test_what_is_not_fetched(settings: Settings, site: Site, change: dict[str, str]):
    fetch_chosen(msgspec.structs.replace(settings, **change))
    assert site.requests == []


def test_a_server_that_ends_leaves_the_rest_to_the_next_start(settings: Settings, site: Site):
    accepted(settings)
    site.requests.clear()

    def ending() -> None:
        if any(path == WEIGHTS for path, _ in site.requests):
            raise Unavailable("the server is shutting down")

    with pytest.raises(Unavailable):
        fetch_chosen(settings, ending)
    assert not has_model(settings, "test")
    fetch_chosen(settings)
    assert has_model(settings, "test")


def test_processes_of_one_machine_fetch_it_once(settings: Settings, site: Site):
    accepted(settings)
    site.requests.clear()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fetch_chosen, args=(settings,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert sum(path == WEIGHTS for path, _ in site.requests) == 1
    assert has_model(settings, "test")


def test_who_fetches_it_by_hand_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    accepted(settings)
    monkeypatch.setattr("more_server.models.fetch.LOOK_SECONDS", 0.01)
    looks: list[int] = []

    def look() -> None:
        looks.append(len(looks))
        if len(looks) == 3:
            by_hand.close()

    by_hand = ExitStack()
    by_hand.enter_context(locked(settings.model_dirs[0] / "test"))  # as `models pull` does
    fetch_chosen(settings, look)
    assert len(looks) >= 3
    assert has_model(settings, "test")


def test_another_choice_ends_it(settings: Settings, site: Site):
    accepted(settings)
    chosen = msgspec.structs.replace(settings, model="auto")
    file = settings.data_dir / "models" / "serving"
    file.write_text("test\n")
    site.requests.clear()

    def decide_otherwise() -> None:
        if site.requests:
            file.write_text("nano\n")

    fetch_chosen(chosen, decide_otherwise)
    assert not has_model(settings, "test")


def test_the_own_manifest_comes_before_the_shipped_one(settings: Settings, tmp_path: Path, site: Site):
    found = read_manifests(settings).models
    assert {"test", "xtts-v2"} <= set(found)
    (tmp_path / "manifest.toml").write_bytes(
        tomli_w.dumps({"models": {"xtts-v2": msgspec.to_builtins(found["test"])}}).encode()
    )
    assert read_manifests(settings).models["xtts-v2"].title == "Test"
    (tmp_path / "manifest.toml").unlink()
    with pytest.raises(ModelError, match=r"manifest\.toml cannot be read"):
        read_manifests(settings)


def test_trained_models_are_where_all_machines_see_them(tmp_path: Path):
    one, other = (Settings(data_dir=tmp_path / name, shared_dir=str(tmp_path / "shared")) for name in ("one", "other"))
    folder = one.made_models_dir / "anna"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(NANO)
    assert use(other, "anna").id == "anna"
    use(other, "nano")
    folder.unlink()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    remove(other, "anna")
    assert not folder.exists()
    with pytest.raises(ModelNotFound):
        remove(other, "anna")
