"""Plugins that are found, configured, enabled, disabled and reloaded."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from more_server.errors import BadInput, PluginFailure, PluginNotFound, SettingsError
from more_server.registry import Registry
from more_server.registry.discover import discover
from more_server.settings import Settings
from tests.house import EMPTY, PROFILE, House, house, states

__all__ = ("house",)


def test_what_ships_comes_by_entry_points() -> None:
    found = {one.name for one in discover(None)}
    assert {"more_profiles", "more_voice_folder", "more_voice_object_store"} <= found
    assert {"more_loudness", "more_silence", "more_filters"} <= found


def test_all_that_ships_opens_and_is_active_or_off_by_default(tmp_path: Path) -> None:
    registry = Registry(Settings(data_dir=tmp_path))
    registry.open(None)
    assert {row.state for row in registry.rows()} <= {"active", "disabled"}
    assert all(row.version for row in registry.rows())
    assert set(registry.snapshot.profiles) == {"fast", "balanced", "high_quality"}
    for profile in registry.snapshot.profiles.values():
        assert [link.id for link in registry.snapshot.chain(profile)] == list(profile.post_processors)


def test_a_row_says_all_of_a_plugin(house: House) -> None:
    house.write("calm", PROFILE)
    (row,) = house.open(plugins={"calm": {"token": "hush", "temperature": "0.25"}}).rows()
    assert (row.name, row.enabled, row.state, row.error) == ("calm", True, "active", None)
    assert row.hooks == ("profiles",)
    assert row.settings == {"temperature": 0.25, "token": "********"}
    assert row.schema is not None
    assert "exclusiveMinimum" in str(row.schema)
    assert str(house.folder) in row.origin


def test_a_package_may_import_its_own_modules(house: House) -> None:
    package = house.folder / "pack"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from more_server import hookimpl\nfrom .numbers_ import made\n"
        "@hookimpl\ndef profiles(context):\n    return made()\n"
    )
    (package / "numbers_.py").write_text(
        "from more_server import Profile\ndef made():\n    return [Profile(name='packed', temperature=1, top_p=1)]\n"
    )
    assert set(house.open().snapshot.profiles) == {"packed"}


# -- what keeps a server from its start


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@hookimpl\ndef profils(context): return []", "calm.*profils.*the hooks are: profiles, voice_stores"),
        ("@hookimpl\ndef profiles(contxt): return []", "calm.*contxt"),
    ],
)
def test_a_hook_that_does_not_exist_stops_the_start_by_name(house: House, text: str, says: str) -> None:
    house.write("calm", EMPTY + text)
    with pytest.raises(SettingsError, match=f"(?s){says}"):
        house.open()


def test_two_plugins_of_one_name_refuse_to_start(house: House) -> None:
    house.write("more_loudness", EMPTY)
    with pytest.raises(SettingsError, match=r"two plugins are called more_loudness: more-server .* and /"):
        discover(house.folder)
    (house.folder / "calm").mkdir()
    (house.folder / "calm" / "__init__.py").write_text("")
    house.write("calm", "")
    with pytest.raises(SettingsError, match="two plugins are called calm"):
        house.open()


def test_two_owners_of_one_profile_refuse_to_start(house: House) -> None:
    house.write("calm", PROFILE)
    house.write("again", PROFILE.replace("NAME", "calm"))
    with pytest.raises(SettingsError, match="two profiles are called calm: of the plugins again and calm"):
        house.open()


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"clam": {}}, r"plugins\.clam: there is no such plugin; did you mean calm\?"),
        ({"calm": {"temprature": 1}}, "calm.*temprature.*there are: temperature, token"),
        ({"calm": {"temperature": 3}}, r"settings\.temperature: expected `float` <= 2"),
        ({"calm": {"enabled": "perhaps"}}, r"plugins\.calm\.enabled must be true or false"),
    ],
)
def test_settings_that_do_not_fit_refuse_to_start(house: House, tables: dict[str, Any], says: str) -> None:
    house.write("calm", PROFILE)
    with pytest.raises(SettingsError, match=says):
        house.open(plugins=tables)


@pytest.mark.parametrize("name", ["Calm", "1st", "with-dash", "ünder"])
def test_file_names_that_cannot_be_plugins(house: House, name: str) -> None:
    house.write(name, EMPTY)
    with pytest.raises(SettingsError, match="cannot be a plugin"):
        house.open()


def test_a_folder_that_is_none(house: House) -> None:
    with pytest.raises(SettingsError, match="is not a folder"):
        Registry(house.settings(plugin_dir=str(house.folder / "nowhere"))).open(None)


# -- while it runs


def test_disabled_and_enabled_and_both_survive_a_restart(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    before = registry.snapshot
    registry.disable("calm")
    assert (registry.snapshot.profiles, states(registry)) == ({}, {"calm": "disabled"})
    assert set(before.profiles) == {"calm"}  # whoever began with it keeps it
    assert states(house.open()) == {"calm": "disabled"}
    registry.enable("calm")
    assert states(registry) == states(house.open()) == {"calm": "active"}


def test_settings_change_at_run_time_and_survive_a_restart(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open(plugins={"calm": {"token": "hush"}})
    registry.configure("calm", {"temperature": 1.5, "token": "********"})
    assert registry.snapshot.profiles["calm"].temperature == 1.5
    again = house.open(plugins={"calm": {"token": "hush"}})
    assert again.snapshot.profiles["calm"].temperature == 1.5
    assert again.row("calm").changed == ("temperature",)
    again.configure("calm", {"temperature": None})
    assert again.snapshot.profiles["calm"].temperature == 0.5
    assert again.row("calm").changed == ()


@pytest.mark.parametrize(
    ("changes", "param"), [({"temperature": 5}, "settings.temperature"), ({"temprature": 1}, "settings.temprature")]
)
def test_changes_that_do_not_fit_change_nothing(house: House, changes: dict[str, Any], param: str) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    before = registry.snapshot
    with pytest.raises(BadInput) as refused:
        registry.configure("calm", changes)
    assert refused.value.param == param
    assert registry.snapshot is before
    assert house.open().row("calm").changed == ()


def test_a_change_that_breaks_a_hook_changes_nothing(house: House) -> None:
    text = PROFILE.replace("return [", "assert context.settings.temperature < 1, 'too hot'\n    return [")
    house.write("calm", text)
    registry = house.open()
    with pytest.raises(PluginFailure, match="too hot"):
        registry.configure("calm", {"temperature": 1.5})
    assert registry.snapshot.profiles["calm"].temperature == 0.5
    assert states(registry) == {"calm": "active"}
    registry.configure("calm", {"temperature": 0.75})
    assert registry.snapshot.profiles["calm"].temperature == 0.75


def test_enabling_what_takes_a_name_is_refused(house: House) -> None:
    house.write("calm", PROFILE)
    house.write("again", "enabled_by_default = False\n" + PROFILE.replace("NAME", "calm"))
    registry = house.open()
    assert states(registry) == {"again": "disabled", "calm": "active"}
    with pytest.raises(BadInput, match="two profiles are called calm"):
        registry.enable("again")
    assert states(registry) == {"again": "disabled", "calm": "active"}


def test_a_plugin_that_was_mended_is_enabled(house: House) -> None:
    house.write("calm", "raise ValueError('not yet')")
    registry = house.open()
    with pytest.raises(PluginFailure, match="not yet"):
        registry.enable("calm")
    house.write("calm", PROFILE)
    registry.enable("calm")
    assert states(registry) == {"calm": "active"}


def test_a_reload_takes_up_what_came_went_and_changed(house: House) -> None:
    for name in ("calm", "gone", "kept"):
        house.write(name, PROFILE)
    registry = house.open()
    kept = registry.snapshot.profiles["kept"]
    house.write("calm", PROFILE.replace("= 0.5", "= 0.625"))
    house.write("fresh", PROFILE)
    (house.folder / "gone.py").unlink()
    registry.reload(house.settings())
    assert states(registry) == {"calm": "active", "fresh": "active", "kept": "active"}
    assert registry.snapshot.profiles["calm"].temperature == 0.625
    assert registry.snapshot.profiles["kept"] is kept
    registry.reload(house.settings(plugins={"kept": {"enabled": False}}))
    assert states(registry)["kept"] == "disabled"


def test_a_reload_that_cannot_be_changes_nothing(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    before = registry.snapshot
    house.write("bad", EMPTY + "@hookimpl\ndef profils(context): return []")
    with pytest.raises(SettingsError, match="profils"):
        registry.reload(house.settings())
    assert registry.snapshot is before
    registry.disable("calm")
    registry.enable("calm")


def test_nobody_waits_for_a_plugin_that_is_being_enabled(house: House) -> None:
    house.write("calm", PROFILE)
    house.write("slow", "enabled_by_default = False\n")
    registry = house.open()
    begun, done = house.folder / "begun", house.folder / "done"
    wait = f"while not pathlib.Path({str(done)!r}).exists(): time.sleep(0.01)"
    house.write("slow", f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\n{wait}\n{EMPTY}")
    enabling = threading.Thread(target=lambda: registry.enable("slow"))
    enabling.start()
    while not begun.exists():
        time.sleep(0.01)
    # Who waited for it here would wait until it is given up, and it would not be active below.
    registry.report("calm", "a sneeze")
    assert registry.row("calm").error == "a sneeze"
    assert registry.told("calm", {"temperature": 1}) == {"temperature": 1}
    assert len(registry.rows()) == 2
    done.touch()
    enabling.join()
    assert (states(registry)["slow"], registry.row("calm").error) == ("active", "a sneeze")


def test_a_reload_that_the_server_cannot_do_with_is_seen_by_nobody(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    before = registry.snapshot
    house.write("calm", PROFILE.replace("= 0.5", "= 0.625"))

    def refuse(snapshot: object) -> None:
        assert registry.snapshot is before
        raise SettingsError("not so")

    with pytest.raises(SettingsError, match="not so"):
        registry.reload(house.settings(), refuse)
    assert registry.snapshot is before


def test_secrets_are_neither_told_nor_left_for_others_to_read(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    told = registry.told("calm", {"token": "hush", "tokn": "hush", "temperature": 0.25})
    assert told == {"token": "********", "tokn": "********", "temperature": 0.25}
    registry.configure("calm", {"token": "hush"})
    assert (house.data_dir / "admin" / "plugins.json").stat().st_mode & 0o777 == 0o600


def test_one_that_hangs_is_kept_out_until_it_is_enabled_again(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    registry.report("calm", "a sneeze")
    assert (registry.row("calm").state, registry.row("calm").error) == ("active", "a sneeze")
    registry.report("calm", "no answer within 1 s", hung=True)
    assert (registry.row("calm").state, registry.snapshot.profiles) == ("failed", {})
    registry.enable("calm")
    assert (registry.row("calm").state, registry.row("calm").error) == ("active", None)


def test_unknown_names_are_told_with_those_that_exist(house: House) -> None:
    house.write("calm", PROFILE)
    registry = house.open()
    for change in (registry.enable, registry.disable, registry.row):
        with pytest.raises(PluginNotFound, match="there is no plugin 'x/\\.\\.'; there are: calm"):
            change("x/..")


def test_changes_at_the_same_time_lose_none(house: House) -> None:
    names = [f"one{number}" for number in range(6)]
    for name in names:
        house.write(name, PROFILE)
    registry = house.open()
    work: list[Callable[[], None]] = [
        lambda name=name: registry.configure(name, {"temperature": 1.25}) for name in names
    ]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {profile.temperature for profile in house.open().snapshot.profiles.values()} == {1.25}


def test_choices_that_are_damaged_are_told(house: House) -> None:
    house.write("calm", PROFILE)
    (house.data_dir / "admin").mkdir(parents=True)
    (house.data_dir / "admin" / "plugins.json").write_text("{")
    with pytest.raises(SettingsError, match=r"plugins\.json cannot be used"):
        house.open()


def test_a_choice_for_another_version_does_not_keep_the_server_from_its_start(house: House) -> None:
    house.write("calm", PROFILE)
    house.open().configure("calm", {"temperature": 1.5})
    house.write("calm", PROFILE.replace("le=2", "le=1"))
    registry = house.open()
    assert registry.row("calm").state == "failed"
    assert "temperature" in str(registry.row("calm").error)
