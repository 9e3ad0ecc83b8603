"""Keys on the command line, and which addresses `serve` binds without one: real processes, real files."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from more_server.keys import SECRET, KeyRing
from more_server.settings import Settings
from tests.test_cli import More


@pytest.fixture
def more(tmp_path: Path) -> More:
    return More(tmp_path)


def secret_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    secret = done.stdout.splitlines()[0]
    assert SECRET.fullmatch(secret)
    return secret


def test_keys_come_and_go(more: More) -> None:
    assert "There is no key" in more("keys", "list").stdout
    admin = secret_of(more("keys", "add", "laptop", "--scope", "admin"))
    asked = ("--scope", "speech", "--scope", "voices", "--rate", "60", "--concurrency", "4")
    second = secret_of(more("keys", "add", "Home [bold]Assistant", *asked))
    third = secret_of(more("keys", "add", "plain"))
    listed = more("keys", "list").stdout
    assert re.search(r"[0-9a-f]{8} +laptop +admin +any +any +20\d\d-\d\d-\d\d \d\d:\d\d UTC +never", listed)
    assert re.search(r"[0-9a-f]{8} +Home \[bold\]Assistant +speech voices +60 +4 ", listed)
    assert re.search(r"[0-9a-f]{8} +plain +speech +any", listed)
    ring = KeyRing(Settings(data_dir=more.data_dir))
    for secret in (admin, second, third):
        assert secret not in listed
        key = ring.authenticate(secret)
        assert key is not None
        if key.name != "laptop":
            assert more("keys", "remove", key.id).stdout == f"{key.name} ({key.id}) is gone\n"
    (last,) = ring.all()
    assert "so nobody needs one" in more("keys", "remove", last.id).stdout
    assert not ring.any()


def test_changes_are_on_record(more: More) -> None:
    secret = secret_of(more("keys", "add", "laptop", "--scope", "admin"))
    key_id = secret.split("_")[1]
    more("keys", "remove", key_id)
    content = (more.data_dir / "admin" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in content.splitlines()]
    assert [(line["action"], line["target"], line["actor"]) for line in lines] == [
        ("keys.create", key_id, {"kind": "command line"}),
        ("keys.delete", key_id, {"kind": "command line"}),
    ]
    assert secret not in content


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("keys", "add", "ha", "--scope", "speech"), "first key must have the scope admin"),
        (("keys", "add", "ha"), "first key must have the scope admin"),
        (("keys", "add", "a\nb", "--scope", "admin"), "visible characters"),
        (("keys", "add", "a\u202eb", "--scope", "admin"), "visible characters"),
        (("keys", "add", "a\x1b[31m", "--scope", "admin"), "visible characters"),
        (("keys", "add", "x" * 65, "--scope", "admin"), "1 to 64"),
        (("keys", "add", "ha", "--scope", "admin", "--rate", "0"), "rate_per_minute"),
        (("keys", "add", "ha", "--scope", "admin", "--concurrency", "-1"), "concurrency"),
        (("keys", "remove", "00000000"), "there is no key '00000000'"),
    ],
)
def test_mistakes_are_one_paragraph(more: More, arguments: tuple[str, ...], says: str) -> None:
    done = more(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.startswith("more-server: ")
    assert "Traceback" not in done.stderr + done.stdout
    assert not {"\x1b", "\u202e"} & set(done.stderr)
    assert done.stdout == ""


def test_a_scope_that_does_not_exist(more: More) -> None:
    done = more("keys", "add", "ha", "--scope", "root")
    assert done.returncode != 0
    assert "speech" in done.stderr + done.stdout


def test_damage_is_told(more: More) -> None:
    (more.data_dir / "admin").mkdir()
    (more.data_dir / "admin" / "keys.json").write_text("{")
    for command in (("list",), ("add", "ha", "--scope", "admin"), ("remove", "00000000")):
        done = more("keys", *command)
        assert done.returncode == 1
        assert re.match(r"more-server: .*keys\.json is damaged: .*; mend it", done.stderr)
    done = more("serve", "--port", "0")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_serve_lets_nobody_in_from_elsewhere_without_a_key(more: More, host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    done = more("serve", "--host", host, "--port", "0")
    assert done.returncode == 1
    if "cannot be bound" in done.stderr:
        pytest.skip(f"{host} cannot be bound here")
    assert done.stderr.startswith(f"more-server: other machines reach {host}, and there is no key")
    assert "more-server keys add NAME --scope admin" in done.stderr
    assert "MORE_SERVER__ALLOW_OPEN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("host", "variables", "with_key"),
    [
        ("localhost", {}, False),
        ("0.0.0.0", {"MORE_SERVER__ALLOW_OPEN": "true"}, False),
        ("0.0.0.0", {}, True),
    ],
)
def test_serve_starts(more: More, host: str, variables: dict[str, str], with_key: bool) -> None:
    secret = secret_of(more("keys", "add", "laptop", "--scope", "admin")) if with_key else ""
    process = subprocess.Popen(
        [sys.executable, "-m", "more_server.cli", "serve", "--host", host, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=more.environment(**variables),
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"MORE is ready: http://[\d.]+:(\d+)/", line)
            assert address is not None, line + (process.stderr.read() if process.stderr else "")
            url = f"http://127.0.0.1:{address.group(1)}/v1/admin/keys"
            if with_key:
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(url, timeout=30)
                assert refused.value.code == 401
                refused.value.close()
            asked = urllib.request.Request(url, headers={"authorization": f"Bearer {secret}"} if secret else {})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert [key["name"] for key in json.load(answer)["data"]] == ["laptop"] * with_key
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
    assert process.returncode in {0, -signal.SIGTERM}
    if with_key:
        assert "UTC" in more("keys", "list").stdout.splitlines()[1].rpartition("UTC")[0], "its last use was kept"


def test_help(more: More) -> None:
    for words in (("keys",), ("keys", "add"), ("keys", "list"), ("keys", "remove")):
        done = more(*words, "--help")
        assert done.returncode == 0
        assert f"Usage: more-server {' '.join(words)}" in done.stdout
    assert list(more.data_dir.iterdir()) == []
