"""Consents and the record of changes: the same of a folder of one machine and of the database of several."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from more_server.audit import COMMAND_LINE, UNREADABLE, AuditLog, FileLines, Lines
from more_server.errors import ConsentNotFound, StorageError
from more_server.settings import Settings
from more_server.shared.board import Board
from more_server.shared.database import prepare, transaction
from more_server.shared.lines import TableLines
from more_server.voicebank.consents import Consent, Consents, FolderShelf, new_consent
from more_server.voicebank.consents_table import TableShelf, consents_of, move_consents
from tests.jobs.postgres import make_database
from tests.shared.conftest import away


@pytest.fixture(params=["folder", "database"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of the database, or nothing."""
    if request.param == "folder":
        return ""
    made = make_database(request.getfixturevalue("postgres"), tmp_path.name)
    prepare(made)
    return made


@pytest.fixture
def consents(address: str, tmp_path: Path) -> Consents:
    return consents_of(Settings(data_dir=tmp_path, database=address))


@pytest.fixture
def lines(address: str, tmp_path: Path) -> Lines:
    return TableLines(address) if address else FileLines(tmp_path / "audit.jsonl")


def given(consents: Consents, count: int) -> list[Consent]:
    made = [new_consent(f"Ann {number}", "en-US", ".wav") for number in range(count)]
    for consent in made:
        consents.add(consent, b"RIFF")
    return sorted(made, key=lambda consent: consent.id, reverse=True)


def test_a_consent_is_kept_changed_and_removed(consents: Consents):
    (consent,) = given(consents, 1)
    assert consents.find(consent.id) == consent
    renamed = consents.rename(consent.id, "Bea")
    assert (renamed.name, consents.find(consent.id)) == ("Bea", renamed)
    consents.remove(consent.id)
    for ask in (consents.find, consents.remove, lambda consent_id: consents.rename(consent_id, "Cy")):
        with pytest.raises(ConsentNotFound):
            ask(consent.id)


def test_consents_are_listed_by_pages(consents: Consents):
    made = given(consents, 7)
    page, more = consents.page("", 3)
    assert (page, more) == (made[:3], True)
    page, more = consents.page(page[-1].id, 3)
    assert (page, more) == (made[3:6], True)
    consents.remove(page[-1].id)
    page, more = consents.page(page[-1].id, 3)
    assert (page, more) == (made[6:], False)


def test_a_long_list_is_read_in_parts(consents: Consents, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("more_server.voicebank.consents_table.AT_A_TIME", 3)
    made = given(consents, 7)
    assert consents.page("", 100) == (made, False)


def test_lines_are_in_the_order_in_which_they_were_written(lines: Lines):
    for number in range(5):
        lines.append(f"line {number}\n".encode())
    assert list(lines.tail(3)) == [b"line 2", b"line 3", b"line 4"]
    assert len(lines.tail(10)) == 5


def test_a_change_is_on_record_for_all(tmp_path: Path, address: str):
    audit = AuditLog(tmp_path / "one", address)
    with audit.change(COMMAND_LINE, "keys.create", "ann"):
        pass
    elsewhere = AuditLog(tmp_path / ("other" if address else "one"), address)
    (entry,) = elsewhere.tail(5)
    assert (entry.action, entry.target, entry.actor) == ("keys.create", "ann", COMMAND_LINE)


# -- of the database alone


def test_servers_hear_of_each_other_for_a_while(database: str, monkeypatch: pytest.MonkeyPatch):
    prepare(database)
    board = Board(database)
    board.post("one", {"metrics": b"1", "health": b"{}"})
    board.post("other", {"metrics": b"2", "health": b"{}"})
    board.post("one", {"metrics": b"3", "health": b"{}"})
    assert board.of_others("other", "metrics") == {"one": b"3"}
    assert board.of_others("third", "metrics") == {"one": b"3", "other": b"2"}
    board.leave("one")
    assert board.of_others("third", "health") == {"other": b"{}"}
    monkeypatch.setattr("more_server.shared.board.FRESH_SECONDS", 0)
    assert board.of_others("third", "health") == {}
    monkeypatch.setattr("more_server.shared.board.KEPT_SECONDS", 0)
    board.post("fourth", {})
    with transaction(database) as connection:
        assert connection.execute("SELECT count(*) FROM more_board").fetchone() == (0,)


def test_nothing_is_changed_without_a_record(tmp_path: Path, database: str):
    prepare(database)
    audit, made = AuditLog(tmp_path, database), []
    refused = pytest.raises(StorageError, match="nothing is changed without a record of it")
    with away(database), refused, audit.change(COMMAND_LINE, "keys.delete", "ann"):
        made.append("the change")
    assert made == []
    assert audit.tail(5) == []


def test_a_line_of_another_hand_is_shown(database: str, tmp_path: Path):
    prepare(database)
    with transaction(database) as connection:
        connection.execute("INSERT INTO more_audit (line) VALUES ('{')")
    (entry,) = AuditLog(tmp_path, database).tail(5)
    assert entry.action == UNREADABLE


def test_consents_move_into_the_database_once(tmp_path: Path, database: str):
    prepare(database)
    settings = Settings(data_dir=tmp_path, database=database)
    folder, table = Consents(FolderShelf(settings.admin_dir)), Consents(TableShelf(database))
    made = given(folder, 2)
    damaged, whole = made
    lost = given(folder, 1)[0]
    (settings.admin_dir / "consents" / lost.id / lost.recording).unlink()
    path = settings.admin_dir / "consents" / damaged.id / "consent.json"
    path.write_bytes(b"{")
    for _ in range(2):
        move_consents(settings)
        assert table.page("", 10) == ([whole], False)
        assert folder.page("", 10) == ([lost], False)
        assert path.read_bytes() == b"{"  # stays for whoever mends it
    with transaction(database) as connection:
        assert connection.execute("SELECT recording FROM more_consents").fetchone() == (b"RIFF",)
    table.remove(whole.id)
    move_consents(settings)
    assert table.page("", 10) == ([], False)


def test_workers_that_start_at_once_move_consents_once(tmp_path: Path, database: str):
    prepare(database)
    settings = Settings(data_dir=tmp_path, database=database)
    made = given(Consents(FolderShelf(settings.admin_dir)), 20)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move_consents, [settings] * 4))
    assert consents_of(settings).page("", 100) == (made, False)
