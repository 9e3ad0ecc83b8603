"""Profiles of plugins, from settings, and those that an administrator makes."""

from pathlib import Path
from typing import Any

import pytest

from more_server.errors import BadInput, SettingsError
from more_server.profiles import ProfileBook
from more_server.registry import Registry, Snapshot
from more_server.settings import Settings

PODCAST = {"temperature": 0.65, "post_processors": ["more_loudness"]}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return opened(tmp_path)


def opened(folder: Path, **plugins: Any) -> Snapshot:
    registry = Registry(Settings(data_dir=folder, plugins=plugins))
    registry.open(None)
    return registry.snapshot


def test_the_shipped_ones_have_the_numbers_of_the_design(snapshot: Snapshot) -> None:
    numbers = {name: (one.temperature, one.top_p, one.speed) for name, one in snapshot.profiles.items()}
    assert numbers == {"fast": (0.7, 0.85, 1.2), "balanced": (0.75, 0.9, 1.0), "high_quality": (0.6, 0.95, 0.95)}
    best = snapshot.profiles["high_quality"]
    assert best.self_check
    assert "more_filters.denoise" in best.post_processors


def test_more_come_from_the_settings(tmp_path: Path) -> None:
    tables = {"podcast": {"base": "high_quality", "speed": "0.9"}, "quick": {"base": "podcast", "speed": 1.5}}
    profiles = opened(tmp_path, more_profiles={"profiles": tables}).profiles
    assert (profiles["podcast"].temperature, profiles["podcast"].speed) == (0.6, 0.9)
    assert (profiles["quick"].temperature, profiles["quick"].speed) == (0.6, 1.5)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"x": {"base": "bst"}}, r"profiles\.x\.base: there is no 'bst'; there are: balanced, fast, high_quality"),
        ({"x": {"temprature": 1}}, r"profiles\.x: a profile has no 'temprature'; it has: temperature"),
        ({"x": {"temperature": 9}}, r"profiles\.x: temperature: expected `float` <= 2"),
        ({"fast": {"speed": 2}}, r"profiles\.fast: there is such a profile already"),
        ({"A B": {"speed": 2}}, r"profiles\.A B: name: 'A B' cannot be a profile's; it is 1 to 64 lower-case letters"),
        ({"a\n": {"speed": 2}}, r"profiles\.a\n: name"),
    ],
)
def test_settings_of_profiles_that_do_not_fit_refuse_to_start(tmp_path: Path, table: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        opened(tmp_path, more_profiles={"profiles": table})


def test_made_ones_are_kept_changed_and_forgotten(tmp_path: Path, snapshot: Snapshot) -> None:
    book = ProfileBook(Settings(data_dir=tmp_path))
    assert book.create("podcast", "balanced", PODCAST, snapshot).temperature == 0.65
    assert ProfileBook(Settings(data_dir=tmp_path)).find("podcast", snapshot).post_processors == ("more_loudness",)
    assert book.change("podcast", {"speed": 0.9, "temperature": None}, snapshot).temperature == 0.75
    again = ProfileBook(Settings(data_dir=tmp_path))
    assert (again.find("podcast", snapshot).speed, again.names(snapshot)[-1]) == (0.9, "podcast")
    again.delete("podcast", snapshot)
    with pytest.raises(BadInput, match="there is no quality 'podcast'; there are: balanced, fast, high_quality"):
        ProfileBook(Settings(data_dir=tmp_path)).find("podcast", snapshot)


@pytest.mark.parametrize(
    ("name", "base", "changes", "param"),
    [
        ("fast", "balanced", {}, "name"),
        ("../x", "balanced", {}, "name"),
        ("\u202ecast", "balanced", {}, "name"),
        ("pod\n", "balanced", {}, "name"),
        ("pod\x07", "balanced", {}, "name"),
        ("", "balanced", {}, "name"),
        ("pod", "nothing", {}, "base"),
        ("pod", "fast", {"temperature": 5}, "temperature"),
        ("pod", "fast", {"loudness": 5}, "loudness"),
        ("pod", "fast", {"name": "other"}, "name"),
        ("pod", "fast", {"post_processors": ["more_loud"]}, "post_processors"),
        ("pod", "fast", {"post_processors": ["more_filters.nothing"]}, "post_processors"),
    ],
)
def test_what_cannot_be_made_is_refused_by_field(
    tmp_path: Path, snapshot: Snapshot, name: str, base: str, changes: dict, param: str
) -> None:
    book = ProfileBook(Settings(data_dir=tmp_path))
    with pytest.raises(BadInput) as refused:
        book.create(name, base, changes, snapshot)
    assert refused.value.param == param
    assert not (tmp_path / "admin" / "profiles.json").exists()


def test_those_of_plugins_and_bases_stay(tmp_path: Path, snapshot: Snapshot) -> None:
    book = ProfileBook(Settings(data_dir=tmp_path))
    for change in (lambda: book.delete("fast", snapshot), lambda: book.change("fast", {"speed": 1}, snapshot)):
        with pytest.raises(BadInput, match="comes from a plugin"):
            change()
    book.create("pod", "fast", {}, snapshot)
    book.create("quick", "pod", {"speed": 2}, snapshot)
    with pytest.raises(BadInput, match="is the base of quick"):
        book.delete("pod", snapshot)


def test_one_whose_base_went_with_its_plugin_says_so(tmp_path: Path, snapshot: Snapshot) -> None:
    book = ProfileBook(Settings(data_dir=tmp_path))
    book.create("pod", "fast", {}, snapshot)
    with pytest.raises(BadInput, match="made of fast, which is gone with its plugin"):
        book.find("pod", Snapshot())


def test_what_another_server_made_meanwhile_stays(tmp_path: Path, snapshot: Snapshot) -> None:
    ours, theirs = ProfileBook(Settings(data_dir=tmp_path)), ProfileBook(Settings(data_dir=tmp_path))
    theirs.create("theirs", "fast", {}, snapshot)
    ours.create("ours", "balanced", {}, snapshot)
    assert ours.find("theirs", snapshot).name == "theirs"
    assert set(ProfileBook(Settings(data_dir=tmp_path)).made) == {"ours", "theirs"}


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "profiles.json").write_text('{"pod": {}}')
    with pytest.raises(SettingsError, match=r"profiles\.json cannot be used"):
        ProfileBook(Settings(data_dir=tmp_path))
