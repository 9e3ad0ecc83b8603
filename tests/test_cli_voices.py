"""Voices on the command line: real processes, real files."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from more_server.audio.encode import encode_file
from tests.test_cli import More

ROWAN = Path("voices/rowan/reference.wav").resolve()


@pytest.fixture
def more(tmp_path: Path) -> More:
    return More(tmp_path)


@pytest.fixture
def hum(tmp_path: Path) -> Path:
    """Two seconds of a hum: little, steady and overdriven."""
    path = tmp_path / "hum [1].wav"
    at = np.arange(48_000) / 24_000
    samples = np.clip(2 * np.sin(2 * np.pi * 200 * at), -0.9, 0.9).astype(np.float32)
    path.write_bytes(encode_file(samples, 24_000, "wav"))
    return path


def done_by(more: More, *arguments: str) -> str:
    done = more("voices", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def recorded(more: More) -> list[tuple[str, str]]:
    content = (more.data_dir / "admin" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in content.splitlines()]
    assert all(line["actor"] == {"kind": "command line"} for line in lines)
    return [(line["action"], line["target"]) for line in lines if line["outcome"] == "allowed"]


def test_the_life_of_a_voice(more: More) -> None:
    told = (
        "--language",
        "English, de",
        "--alias",
        "boss",
        "--alias",
        "Chief",
        "--licence",
        "CC0-1.0",
        "--title",
        "A B",
    )
    added = done_by(more, "add", "ann", str(ROWAN), *told)
    assert re.search(
        r"reference-01\.wav +\d+\.\d +\d+\.\d +-\d+ LUFS +-\d+ dBFS +\d+ dB +0\.0% +\d+% +10\.\d kHz", added
    )
    assert "→ the model does not speak de; it speaks: en" in added
    assert "6 to 30 s are good" not in added
    assert "ann can speak; its recordings are in the store folder" in added

    made = done_by(more, "mix", "duo", "boss=2", "linden")
    assert "ann-reference-01.wav" in made
    assert done_by(more, "rename", "ann", "bea") == "ann is called bea now\n"
    listed = done_by(more, "list")
    assert re.search(r"^bea +en de +boss chief +folder +CC0-1\.0", listed, re.MULTILINE)
    assert re.search(r"^duo +en de +folder +ann: CC0-1\.0", listed, re.MULTILINE)

    assert done_by(more, "export", "bea") == "bea.zip: bea, 1 recordings\n"
    assert zipfile.ZipFile(more.data_dir / "bea.zip").namelist() == ["bea/voice.toml", "bea/reference-01.wav"]
    assert done_by(more, "remove", "bea") == "bea is gone\n"
    assert "bea can speak" in done_by(more, "import", "bea.zip")
    assert "cleo can speak" in done_by(more, "import", "bea.zip", "--name", "cleo")
    assert more("say", "Hello there, it is us.", "--voice", "duo", "-o", "a.wav").returncode == 0
    assert recorded(more) == [
        ("voices.create", "ann"),
        ("voices.mix", "duo"),
        ("voices.change", "ann"),
        ("voices.delete", "bea"),
        ("voices.import", "bea"),
        ("voices.import", "cleo"),
    ]


def test_what_is_wrong_with_recordings_is_said(more: More, hum: Path) -> None:
    added = done_by(more, "add", "hum", str(hum))
    for sentence in (
        "→ 2.0 s of speech; 6 to 30 s are good",
        "dB below the speech",
        "are clipped; record at a lower level",
        "→ language not given: requests that name none are spoken in en",
    ):
        assert sentence in added


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "mix", str(ROWAN)), "address of the administration"),
        (("add", "ann", str(ROWAN), "--alias", "linden"), "voice of its own"),
        (("add", "ann", str(ROWAN), "--language", "Klingon"), "there is no language 'Klingon'"),
        (("add", "ann", str(ROWAN), "--store", "attic"), "there is no store 'attic'"),
        (("mix", "duo", "linden=x", "rowan"), "is no voice=weight"),
        (("mix", "duo", "linden"), "a mixture has 2 to 8"),
        (("rename", "linden", "lime"), "it stays"),
        (("rename", "nobody", "lime"), "there is no voice 'nobody'"),
        (("export", "nobody"), "there is no voice 'nobody'"),
        (("export", "linden", "-o", "missing/linden.zip"), "missing/linden.zip cannot be written"),
        (("import", "missing.zip"), "missing.zip cannot be read"),
        (("import", str(ROWAN)), "the archive cannot be read"),
    ],
)
def test_mistakes_are_one_paragraph(more: More, arguments: tuple[str, ...], says: str) -> None:
    done = more("voices", *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.startswith("more-server: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (more.data_dir / "voices").exists()
    assert not (more.data_dir / "admin" / "audit.jsonl").exists()


@pytest.mark.parametrize("command", ["add", "mix", "rename", "export", "import", "remove"])
def test_help(more: More, command: str) -> None:
    assert f"Usage: more-server voices {command}" in done_by(more, command, "--help")
