"""What is decided on one machine and counts on all: small files whose truth is in Postgres."""

import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from more_server.decisions import take_up_decisions as take_up
from more_server.errors import BadInput, Conflict, DatabaseAway, KeysUnreadable, SettingsError, StorageError
from more_server.files import locked
from more_server.keys import Key, KeyRing, new_key
from more_server.models import serving_model, use
from more_server.profiles import ProfileBook
from more_server.registry import Registry, Snapshot
from more_server.registry.choices import Choice, Choices
from more_server.settings import Settings
from more_server.shared.copies import Copies
from more_server.shared.folder import check_folder
from more_server.shared.kept import PRIVATE, KeptFile
from tests.shared.conftest import away

Machine = Callable[[str], Settings]


def added(settings: Settings, name: str = "laptop", *scopes: str) -> tuple[Key, str]:
    key, secret = new_key(name, scopes or ("admin",))
    KeyRing(settings).add(key)
    return key, secret


def test_a_key_of_one_machine_counts_on_the_other(machine: Machine):
    one, other = machine("one"), machine("other")
    ring, copies = KeyRing(other), Copies(other)
    copies.renew()
    assert not ring.any()
    key, secret = added(one)
    copies.renew()
    found = ring.authenticate(secret)
    assert found == key
    KeyRing(one).revoke(key.id)
    copies.renew()
    assert ring.authenticate(secret) is None
    copies.close()


def test_every_kept_file_is_copied_as_it_is(machine: Machine):
    one, other = machine("one"), machine("other")
    copies = Copies(other)
    copies.renew()
    for name in PRIVATE:
        with KeptFile(one, name).changing() as keep:
            keep(f"of {name}".encode())
    copies.renew()
    for name, is_private in PRIVATE.items():
        path = other.data_dir / name
        assert path.read_bytes() == f"of {name}".encode()
        assert (stat.S_IMODE(path.stat().st_mode) == 0o600) == is_private
    copies.close()


def test_what_is_changed_on_both_is_lost_on_neither(machine: Machine):
    one, other = machine("one"), machine("other")
    snapshot = _snapshot(one)
    ours, theirs = ProfileBook(one), ProfileBook(other)
    ours.create("ours", "balanced", {}, snapshot)
    theirs.create("theirs", "balanced", {}, snapshot)  # without having looked
    Choices(one).write("more_silence", Choice(enabled=False), Choice())
    Choices(other).write("more_loudness", Choice(enabled=False), Choice())
    take_up(one)
    assert set(ProfileBook(one).made) == set(ProfileBook(other).made) == {"ours", "theirs"}
    assert set(Choices(one).read()) == set(Choices(other).read()) == {"more_silence", "more_loudness"}


def _snapshot(settings: Settings) -> Snapshot:
    registry = Registry(settings)
    registry.open(None)
    return registry.snapshot


def test_the_model_that_serves(machine: Machine, tmp_path: Path):
    one, other = machine("one"), machine("other")
    for settings in (one, other):
        (settings.data_dir / "models").mkdir(parents=True, exist_ok=True)
        (settings.data_dir / "models" / "anna").symlink_to(serving_model(settings))
    use(one, "anna")
    take_up(other)
    assert serving_model(other).name == "anna"


def _add_keys(settings: Settings, count: int) -> None:
    for number in range(count):
        added(settings, f"key {number}")


def test_processes_of_several_machines_lose_no_key(machine: Machine):
    context = multiprocessing.get_context("spawn")
    settings = [machine(name) for name in ("one", "one", "other", "third")]
    processes = [context.Process(target=_add_keys, args=(each, 10)) for each in settings]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert len(KeyRing(machine("one")).all()) == 40
    assert len(KeyRing(machine("fourth")).all()) == 40


def test_who_writes_elsewhere_is_waited_for_and_not_for_ever(
    machine: Machine, database: str, monkeypatch: pytest.MonkeyPatch
):
    one = machine("one")
    added(one)
    monkeypatch.setattr("more_server.shared.database.OPTIONS", "-c lock_timeout=200ms")
    with psycopg.connect(database) as connection:
        connection.execute("SELECT * FROM more_files FOR UPDATE")
        with pytest.raises(StorageError, match="another server has been changing the same"):
            added(one)
    added(one)
    assert len(KeyRing(one).all()) == 2


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
    snapshot = _snapshot(one)
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


# -- what was there before the database


def test_what_was_decided_before_goes_into_the_database(tmp_path: Path, database: str):
    alone = Settings(data_dir=tmp_path / "one")
    _, secret = added(alone)
    use(alone, "nano")
    take_up(Settings(data_dir=tmp_path / "one", database=database))
    other = Settings(data_dir=tmp_path / "other", database=database)
    take_up(other)
    assert KeyRing(other).authenticate(secret)
    assert (other.data_dir / "models" / "serving").read_text() == "nano\n"


def test_what_a_second_machine_had_decided_is_kept_beside(tmp_path: Path, database: str):
    secrets = {}
    for name in ("one", "other"):
        _, secrets[name] = added(Settings(data_dir=tmp_path / name), name)
        take_up(Settings(data_dir=tmp_path / name, database=database))
    other = Settings(data_dir=tmp_path / "other", database=database)
    assert [key.name for key in KeyRing(other).all()] == ["one"]
    (kept,) = other.admin_dir.glob("keys.json.replaced-*")
    assert json.loads(kept.read_bytes())["keys"][0]["name"] == "other"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    take_up(other)
    assert len(list(other.admin_dir.glob("keys.json.replaced-*"))) == 1


def test_a_file_of_a_machine_that_was_away_does_not_come_back(machine: Machine):
    one, other = machine("one"), machine("other")
    key, secret = added(one)
    added(one, "another")
    take_up(other)
    KeyRing(one).revoke(key.id)
    take_up(other)  # its copy was old, and not its own decision
    assert KeyRing(other).authenticate(secret) is None
    assert not list(other.admin_dir.glob("*.replaced-*"))


# -- the database is away


def test_copies_go_on_while_the_database_is_away(machine: Machine, database: str):
    one = machine("one")
    _, secret = added(one)
    copies = Copies(one)
    copies.renew()
    with away(database):
        for _ in range(2):
            with pytest.raises(StorageError, match="the database that servers share cannot be used"):
                copies.renew()
        assert KeyRing(one).authenticate(secret)
        with pytest.raises(StorageError, match="cannot be used"):
            added(one, "second")
        with pytest.raises(StorageError, match="cannot be used"):
            take_up(one)
    added(one, "third")
    copies.renew()
    assert [key.name for key in KeyRing(one).all()] == ["laptop", "third"]
    copies.close()


def test_an_address_that_is_none_does_not_tell_the_password(tmp_path: Path):
    for address in ("postgresql://user:se%zzcret@host/name", "postgresql://user:secret@host/name?secret=1"):
        with pytest.raises(SettingsError, match="database must be") as raised:
            take_up(Settings(data_dir=tmp_path, database=address))
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None


def test_without_a_database_there_is_nothing_to_copy(tmp_path: Path):
    settings = Settings(data_dir=tmp_path / "data")
    take_up(settings)
    Copies(settings).renew()
    assert not settings.data_dir.exists()


# -- the folder of jobs


def test_all_machines_have_one_folder_of_jobs(machine: Machine, tmp_path: Path):
    settings = [
        Settings(data_dir=one.data_dir, database=one.database, shared_dir=str(tmp_path / "shared"))
        for one in map(machine, ("one", "other"))
    ]
    for one in settings:
        one.jobs_dir.mkdir(parents=True, exist_ok=True)
        check_folder(one)
    third = machine("third")
    third.jobs_dir.mkdir(parents=True)
    with pytest.raises(SettingsError, match="set shared_dir to one that all machines see") as raised:
        check_folder(third)
    told = str(raised.value).split(" write ")[1].split()
    Path(told[2]).write_text(told[0] + "\n")
    check_folder(third)


def test_a_lock_is_let_go_of_where_the_database_fails(machine: Machine, database: str):
    one = machine("one")
    with away(database), pytest.raises(StorageError, match="cannot be used"):
        added(one)
    with locked(one.admin_dir / "keys.json"):
        pass
