"""Keys: what is kept of them, who is let in, and that no accident opens the server or loses a key."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from more_server.errors import BadInput, KeyNotFound, KeysUnreadable, StorageError
from more_server.files import locked
from more_server.keys import SCOPES, SECRET, Key, KeyRing, is_loopback, new_key
from more_server.settings import Settings
from more_server.tables import ServerSettings


def settings(folder: Path, host: str = "127.0.0.1", allow_open: bool = False) -> Settings:
    return Settings(data_dir=folder, server=ServerSettings(host=host, allow_open=allow_open))


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(settings(tmp_path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "admin" / "keys.json"


def made(ring: KeyRing, *scopes: str, name: str = "laptop") -> tuple[Key, str]:
    key, secret = new_key(name, scopes or ("admin",))
    ring.add(key)
    return key, secret


def test_a_fresh_server_has_no_keys(ring: KeyRing, tmp_path: Path) -> None:
    assert not ring.any()
    assert ring.all() == []
    assert ring.authenticate("more_00000000_" + "a" * 43) is None
    assert ring.last_used() == {}
    ring.flush()
    assert list(tmp_path.iterdir()) == [], "asking writes nothing"


def test_a_key_lets_in_and_its_secret_is_not_kept(ring: KeyRing, file: Path) -> None:
    key, secret = made(ring, "speech", "admin", "speech")
    assert SECRET.fullmatch(secret)
    assert key.scopes == ("speech", "admin")
    assert ring.authenticate(secret) == key
    assert ring.all() == [key] == [ring.find(key.id)]
    assert secret.rpartition("_")[2] not in file.read_text()
    assert "sha256" not in key.shown()
    assert secret not in str(key.shown())


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_the_files_are_their_owners_alone(ring: KeyRing, file: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        _, secret = made(ring)
        ring.authenticate(secret)
        ring.flush()
    finally:
        os.umask(before)
    for path in (file, file.with_name("keys-used.json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_nearly_a_key_lets_nobody_in(ring: KeyRing) -> None:
    key, secret = made(ring)
    other = new_key("other", ["admin"])[1]
    wrong = [
        "",
        "more_",
        secret[:-1],
        secret + "a",
        secret + "\n",
        secret.upper(),
        secret.replace(key.id, "00000000"),
        f"more_{key.id}_{other.rpartition('_')[2]}",
        other,
        key.sha256,
        f"more_{key.id}_{key.sha256[:43]}",
        "\x00" * 57,
        "\udcff" + secret,
        "é" * 500_000,
    ]
    assert [text[:60] for text in wrong if ring.authenticate(text) is not None] == []


def test_what_scopes_allow() -> None:
    allowed = {scope: [other for other in SCOPES if new_key("k", [scope])[0].allows(other)] for scope in SCOPES}
    assert allowed == {"speech": ["speech"], "voices": ["voices"], "admin": ["speech", "voices", "admin"]}
    assert not new_key("k", SCOPES)[0].allows("") or "admin" in SCOPES


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a" * 65,
        " a",
        "a ",
        "a\nb",
        "a\x1b[31m",
        "\x00",
        "a\u202eb",
        "a\u2066b",
        "a\u200bb",
        "\ud800",
        "a\u2028",
    ],
)
def test_names_that_could_deceive(name: str) -> None:
    with pytest.raises(BadInput, match="visible characters") as raised:
        new_key(name, ["admin"])
    assert raised.value.param == "name"
    raised.value.message.encode()


@pytest.mark.parametrize("name", ["a", "a" * 64, "Küche 2", "書斎", "חדר", "it's <b>"])
def test_names_that_are_names(name: str) -> None:
    assert new_key(name, ["admin"])[0].name == name


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"rate_per_minute": 0}, "rate_per_minute"),
        ({"rate_per_minute": 10**9}, "rate_per_minute"),
        ({"concurrency": -1}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
    ],
)
def test_what_a_key_cannot_have(fields: dict[str, object], param: str) -> None:
    with pytest.raises(BadInput) as raised:
        new_key(**({"name": "k", "scopes": ["admin"]} | fields))
    assert raised.value.param == param


def test_nobody_can_lock_the_administrators_out(ring: KeyRing) -> None:
    with pytest.raises(BadInput, match="first key must have the scope admin"):
        made(ring, "speech", "voices")
    assert not ring.any()
    admin, _ = made(ring)
    speech, _ = made(ring, "speech")
    with pytest.raises(BadInput, match="last key with the scope admin"):
        ring.revoke(admin.id)
    second, _ = made(ring, "admin", "voices")
    assert ring.revoke(admin.id) == admin
    ring.revoke(speech.id)
    ring.revoke(second.id)
    assert not ring.any()


@pytest.mark.parametrize(
    ("host", "allow_open", "removable"),
    [("127.0.0.1", False, True), ("::1", False, True), ("0.0.0.0", False, False), ("::", True, True)],
)
def test_the_last_key_goes_only_where_nobody_else_comes_in(
    tmp_path: Path, host: str, allow_open: bool, removable: bool
) -> None:
    ring = KeyRing(settings(tmp_path, host, allow_open))
    key, secret = made(ring)
    if removable:
        ring.revoke(key.id)
    else:
        with pytest.raises(BadInput, match=r"server\.allow_open"):
            ring.revoke(key.id)
    assert (ring.authenticate(secret) is None) is removable


def test_keys_that_there_are_not(ring: KeyRing) -> None:
    made(ring)
    for key_id in ("", "00000000", "../keys", "a\x1b[31m" * 100):
        with pytest.raises(KeyNotFound) as raised:
            ring.revoke(key_id)
        assert len(raised.value.message) < 200
        with pytest.raises(KeyNotFound):
            ring.find(key_id)


def test_another_process_makes_and_removes_keys(ring: KeyRing, tmp_path: Path) -> None:
    elsewhere = KeyRing(settings(tmp_path))
    key, secret = made(elsewhere)
    assert ring.authenticate(secret) == key
    second, second_secret = made(ring)
    assert elsewhere.authenticate(second_secret) == second
    elsewhere.revoke(key.id)
    assert ring.authenticate(secret) is None
    elsewhere.revoke(second.id)
    assert not ring.any()


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.5.0.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.2", False),
        ("::ffff:192.168.1.2", False),
        ("no-such-host.invalid", False),
        ("a" * 300, False),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, own: bool) -> None:
    assert is_loopback(host) is own


# A file that cannot be read never means that there are no keys.


def whole(key: Key) -> dict[str, object]:
    return dict(msgspec.to_builtins(key))


DAMAGE: dict[str, Callable[[Key], bytes]] = {
    "empty": lambda key: b"",
    "cut": lambda key: json.dumps({"keys": [whole(key)]}).encode()[:-3],
    "zeros": lambda key: b"\0" * 400,
    "not UTF-8": lambda key: json.dumps({"keys": [whole(key) | {"name": "a~b"}]}).encode().replace(b"~", b"\xff"),
    "no keys": lambda key: b"{}",
    "null": lambda key: b"null",
    "a list": lambda key: b"[]",
    "nested": lambda key: b'{"keys":' + b"[" * 100_000,
    "a later version": lambda key: json.dumps({"version": 2, "keys": []}).encode(),
    "an unknown field": lambda key: json.dumps({"keys": [whole(key) | {"rate": 5}]}).encode(),
    "an unknown scope": lambda key: json.dumps({"keys": [whole(key) | {"scopes": ["root"]}]}).encode(),
    "no scope": lambda key: json.dumps({"keys": [whole(key) | {"scopes": []}]}).encode(),
    "half a hash": lambda key: json.dumps({"keys": [whole(key) | {"sha256": key.sha256[:32]}]}).encode(),
    "an empty hash": lambda key: json.dumps({"keys": [whole(key) | {"sha256": ""}]}).encode(),
    "one id twice": lambda key: json.dumps({"keys": [whole(key), whole(key)]}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_lets_nobody_in(
    ring: KeyRing, file: Path, tmp_path: Path, damage: Callable[[Key], bytes]
) -> None:
    key, secret = made(ring)
    good = file.read_bytes()
    file.write_bytes(damage(key))
    for _ in range(2):
        for ask in (ring.any, ring.all, lambda: ring.authenticate(secret), lambda: made(ring), lambda: ring.find("")):
            with pytest.raises(KeysUnreadable, match="is damaged"):
                ask()
    with pytest.raises(KeysUnreadable, match="is damaged"):
        KeyRing(settings(tmp_path))
    assert file.read_bytes() == damage(key), "and it is left for its owner to mend"
    file.write_bytes(good)
    assert ring.authenticate(secret) == key


def test_a_file_out_of_reach_lets_nobody_in(ring: KeyRing, file: Path, tmp_path: Path) -> None:
    file.mkdir(parents=True)
    for ask in (ring.any, lambda: made(ring), lambda: KeyRing(settings(tmp_path))):
        with pytest.raises(KeysUnreadable, match="cannot be read"):
            ask()


def test_a_file_that_is_gone_lets_nobody_in(ring: KeyRing, file: Path) -> None:
    key, secret = made(ring)
    hidden = file.rename(file.with_name("elsewhere"))
    for ask in (ring.any, lambda: made(ring), lambda: ring.authenticate(secret)):
        with pytest.raises(KeysUnreadable, match="is gone"):
            ask()
    hidden.rename(file)
    assert ring.authenticate(secret) == key


def test_a_file_that_cannot_be_written(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = made(ring)
    monkeypatch.setattr("more_server.files.os.fsync", lambda _: Path("/nowhere").stat())
    with pytest.raises(StorageError, match=r"keys\.json cannot be written: No such file"):
        made(ring)
    assert ring.authenticate(secret) == key
    assert ring.all() == [key]


def test_one_writer_waits_for_another(ring: KeyRing, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("more_server.shared.kept.LOCK_SECONDS", 0.1)
    with locked(file), pytest.raises(StorageError, match="another process is writing"):
        made(ring)
    made(ring)


# Processes


CREATE = """
import sys
from pathlib import Path
from more_server.keys import KeyRing, new_key
from more_server.settings import Settings
ring = KeyRing(Settings(data_dir=Path(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    key, _ = new_key("made elsewhere", ["admin"])
    ring.add(key)
    print(key.id, flush=True)
"""


def creating(folder: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CREATE, str(folder), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once_lose_no_key(ring: KeyRing, tmp_path: Path) -> None:
    processes = [creating(tmp_path, 25) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in said] == ["", ""]
    told = " ".join(output for output, _ in said).split()
    assert len(set(told)) == 50
    assert {key.id for key in ring.all()} == set(told)


@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_process_killed_while_it_makes_keys(ring: KeyRing, tmp_path: Path, after: int) -> None:
    with creating(tmp_path, 10_000) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    kept = {key.id for key in ring.all()}
    assert set(told) <= kept
    assert len(kept) - len(told) in {0, 1}, "one may be kept that it did not come to tell of"
    key, secret = made(ring)
    assert ring.authenticate(secret) == key
    left = {path.name for path in (tmp_path / "admin").iterdir()}
    assert left == {"keys.json", ".locks"}


# When keys were used last


def test_the_last_use_is_kept(ring: KeyRing, file: Path, tmp_path: Path) -> None:
    (used, secret), (unused, _) = made(ring), made(ring)
    ring.authenticate(secret)
    assert KeyRing(settings(tmp_path)).last_used() == {}
    before = file.read_bytes()
    ring.flush()
    assert file.read_bytes() == before, "the command line's file is not touched"
    (entry,) = KeyRing(settings(tmp_path)).last_used().items()
    assert entry[0] == used.id
    assert entry[1] >= used.created
    ring.revoke(used.id)
    _, other_secret = made(ring)
    ring.authenticate(other_secret)
    ring.flush()
    assert used.id not in KeyRing(settings(tmp_path)).last_used()
    assert unused.id not in ring.last_used()


def test_two_servers_keep_their_last_uses_in_one_file(ring: KeyRing, tmp_path: Path) -> None:
    other = KeyRing(settings(tmp_path))
    secrets = [made(ring)[1], made(ring)[1]]
    ring.authenticate(secrets[0])
    other.authenticate(secrets[1])
    ring.flush()
    other.flush()
    assert len(ring.last_used()) == len(KeyRing(settings(tmp_path)).last_used()) == 2


def test_the_last_use_is_written_once_a_minute(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("more_server.keys.time.monotonic", lambda: now[0])
    assert [ring.flush_due(), ring.flush_due()] == [True, False]
    now[0] += 59
    assert not ring.flush_due()
    now[0] += 2
    assert ring.flush_due()


def test_a_damaged_record_of_uses_harms_nobody(ring: KeyRing, tmp_path: Path) -> None:
    key, secret = made(ring)
    (tmp_path / "admin" / "keys-used.json").write_bytes(b"\xff{")
    assert ring.last_used() == {}
    assert ring.authenticate(secret) == key
    ring.flush()
    assert list(KeyRing(settings(tmp_path)).last_used()) == [key.id]
