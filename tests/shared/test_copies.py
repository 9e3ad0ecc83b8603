"""What is decided on one machine and counts on all: small files whose truth is in Postgres."""

import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from more_server.decisions import take_up_decisions as take_up
from more_server.errors import SettingsError, StorageError
from more_server.files import locked
from more_server.keys import KeyRing
from more_server.models import serving_model, use
from more_server.profiles import ProfileBook
from more_server.registry.choices import Choice, Choices
from more_server.settings import Settings
from more_server.shared.copies import Copies
from more_server.shared.folder import check_folder
from more_server.shared.kept import PRIVATE, KeptFile
from tests.shared.conftest import added, away, snapshot_of

Machine = Callable[[str], Settings]


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
    snapshot = snapshot_of(one)
    ours, theirs = ProfileBook(one), ProfileBook(other)
    ours.create("ours", "balanced", {}, snapshot)
    theirs.create("theirs", "balanced", {}, snapshot)  # without having looked
    Choices(one).write("more_silence", Choice(enabled=False), Choice())
    Choices(other).write("more_loudness", Choice(enabled=False), Choice())
    take_up(one)
    assert set(ProfileBook(one).made) == set(ProfileBook(other).made) == {"ours", "theirs"}
    assert set(Choices(one).read()) == set(Choices(other).read()) == {"more_silence", "more_loudness"}


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
