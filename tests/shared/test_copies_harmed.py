"""Copies that are not as the database has them, changes that fail half-way, and databases that are others."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from more_server.decisions import take_up_decisions as take_up
from more_server.errors import BadInput, Conflict, DatabaseAway, KeysUnreadable, StorageError
from more_server.keys import KeyRing
from more_server.models import use
from more_server.profiles import ProfileBook
from more_server.registry.choices import Choice, Choices
from more_server.settings import Settings
from more_server.shared.copies import Copies
from more_server.shared.kept import KeptFile
from tests.disks import fill, small
from tests.shared.conftest import added, away, snapshot_of

Machine = Callable[[str], Settings]


# -- files that are not as the database has them


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{")])
def test_a_copy_that_was_harmed_is_mended(machine: Machine, harm: Callable[[Path], None]):
    one = machine("one")
    _, secret = added(one)
    path = one.admin_dir / "keys.json"
    copies = Copies(one)
    copies.renew()
    harm(path)
    copies.renew()
    assert KeyRing(one).authenticate(secret)
    harm(path)
    take_up(one)  # a start, or a command
    assert KeyRing(one).authenticate(secret)
    copies.close()


def test_a_change_that_cannot_be_written_here_is_decided_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    one, other = machine("one"), machine("other")
    added(one)

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("more_server.shared.kept.keep_file", refuse)
        with pytest.raises(StorageError, match=r"it is decided, and this machine knows of it once .*: no room"):
            added(one, "second")
    for settings in (one, other):
        take_up(settings)
        assert [key.name for key in KeyRing(settings).all()] == ["laptop", "second"]


def _change_without_end(file: KeptFile, database: str) -> None:
    with file.changing() as keep, away(database):
        keep(b"{}")


@pytest.mark.parametrize("keys", [0, 1])
def test_a_change_that_the_database_does_not_take_is_none(machine: Machine, database: str, keys: int):
    one = machine("one")
    ring = KeyRing(one)
    for _ in range(keys):
        added(one)
    file = KeptFile(one, "admin/keys.json")
    before = file.read()
    with pytest.raises(DatabaseAway, match="cannot be used"):
        _change_without_end(file, database)
    assert file.read() == before
    assert ring.any() == bool(keys)


def test_one_name_that_two_change_is_told_to_the_second(machine: Machine):
    one, other = machine("one"), machine("other")
    snapshot = snapshot_of(one)
    ours, theirs = ProfileBook(one), ProfileBook(other)
    ours.create("slow", "balanced", {}, snapshot)
    with pytest.raises(Conflict, match="another server has just changed the profile slow"):
        theirs.create("slow", "fast", {}, snapshot)
    assert ProfileBook(other).made["slow"].base == "balanced"
    late = ProfileBook(other)
    ours.create("slower", "slow", {}, snapshot)
    with pytest.raises(BadInput, match="slow is the base of slower"):
        late.delete("slow", snapshot)
    ours.delete("slower", snapshot)
    ours.delete("slow", snapshot)
    with pytest.raises(Conflict):
        late.change("slow", {"speed": 2.0}, snapshot)
    off, found = Choice(enabled=False), Choices(other).read().get("more_silence", Choice())
    Choices(one).write("more_silence", off, Choice())
    with pytest.raises(Conflict, match="another server has just changed the plugin more_silence"):
        Choices(other).write("more_silence", Choice(settings={"a": 1}), found)
    Choices(other).write("more_silence", Choice(enabled=True), off)


# -- another database than before, or none


def test_a_database_that_lost_everything_takes_nothing_from_a_running_server(machine: Machine, database: str):
    one = machine("one")
    _, secret = added(one)
    copies = Copies(one)
    copies.renew()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("TRUNCATE more_files")
    machine("other")  # which makes it another database
    for work in (copies.renew, lambda: added(one, "second")):
        with pytest.raises(StorageError, match="not the one whose copies are here"):
            work()
    assert KeyRing(one).authenticate(secret)
    take_up(one)  # a new start
    take_up(machine("other"))
    assert KeyRing(machine("other")).authenticate(secret)
    copies.renew()
    copies.close()
    copies.renew()  # does nothing any more


def test_a_command_without_the_database_changes_nothing(machine: Machine, tmp_path: Path):
    key, secret = added(machine("one"))
    alone = Settings(data_dir=tmp_path / "one")
    with pytest.raises(StorageError, match="set `database`"):
        KeyRing(alone).revoke(key.id)
    assert KeyRing(alone).authenticate(secret)
    (alone.admin_dir / "database").unlink()
    added(alone, "second")
    KeyRing(alone).revoke(key.id)


@pytest.mark.parametrize("name", ["plugins", "profiles", "licences"])
def test_damage_of_one_machine_does_not_get_into_the_database(tmp_path: Path, machine: Machine, name: str):
    path = tmp_path / "one" / "admin" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    machine("one")
    assert not path.exists()
    assert len(list(path.parent.glob(f"{name}.json.damaged-*"))) == 1
    assert not (machine("other").admin_dir / path.name).exists()


def test_damaged_keys_of_one_machine_do_not_get_into_the_database(tmp_path: Path, machine: Machine):
    path = tmp_path / "one" / "admin" / "keys.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"keys": [{"id": "misspelt"}]}')
    for _ in range(2):
        with pytest.raises(KeysUnreadable, match=r"keys\.json is damaged"):
            machine("one")
    assert not (machine("other").admin_dir / path.name).exists()
    path.unlink()
    machine("one")


def test_one_file_that_cannot_be_written_keeps_nobody_from_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    one, other = machine("one"), machine("other")
    added(one)
    use(one, "nano")
    copies, put = Copies(other), KeptFile._put

    def refuse(file: KeptFile, content: bytes) -> None:
        if file.name == "admin/keys.json":
            raise StorageError("no room")
        put(file, content)

    with monkeypatch.context() as patched:
        patched.setattr(KeptFile, "_put", refuse)
        with pytest.raises(StorageError, match="no room"):
            copies.renew()
    assert (other.data_dir / "models" / "serving").read_text() == "nano\n"
    assert copies.renewed == 0
    copies.renew()
    assert KeyRing(other).any()
    assert copies.renewed > 0
    copies.close()


def test_a_key_that_is_revoked_elsewhere_is_so_on_a_full_disk(machine: Machine, database: str, tmp_path: Path):
    one = machine("one")
    keys = [added(one) for _ in range(20)]
    with small(tmp_path / "small") as place:
        other = Settings(data_dir=place / "data", database=database)
        take_up(other)
        ring, copies = KeyRing(other), Copies(other)
        copies.renew()
        fill(place / "full")
        for key, secret in keys[1:]:
            KeyRing(one).revoke(key.id)
            copies.renew()
            assert ring.authenticate(secret) is None
        assert ring.authenticate(keys[0][1])
        copies.close()
