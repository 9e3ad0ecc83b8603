"""Texts by faster-whisper, with a real model in CTranslate2's format that was made to say one sentence."""

import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from more_train.dataset import transcribe
from more_train.dataset.build import build
from more_train.dataset.settings import DatasetSettings

from more_server.errors import BadInput, MoreError
from tests.train.dataset.recordings import SENTENCES, content, made, read_aloud, say, silence, write

pytest.importorskip("faster_whisper", reason="pip install 'more-server[transcribe]', to have texts written by Whisper")

from tests.train.dataset.whisper import whisper

SAID = "She had been to the sea and nobody knew why."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper(tmp_path_factory.mktemp("whisper") / "model", SAID)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("something calls a hub")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings without a text: one long, one short."""
    folder = tmp_path_factory.mktemp("source") / "talk"
    sentences = [part for text in SENTENCES[:6] for part in (say(text), silence(0.4))]
    write(folder / "long.wav", np.concatenate([silence(0.3), *sentences]))
    write(folder / "b" / "short.flac", read_aloud(SENTENCES[7]), "flac")
    return folder


def test_recordings_without_texts_become_a_dataset(source: Path, model: Path, tmp_path: Path):
    heard = []
    settings = DatasetSettings(language="en", whisper=str(model), pace_deviations=50)
    dataset = build(source, tmp_path / "out", settings, lambda *told: heard.append(told))
    _, clips, refused = made(source, tmp_path / "out", whisper=str(model), pace_deviations=50)
    assert dataset.clips >= 2
    assert refused == []
    assert {clip.text for clip in clips.values()} == {SAID}
    assert set(clips) == {"b/short.flac", "long.wav"}
    assert list(dict.fromkeys(stage for stage, _, _ in heard)) == ["reading", "transcribing", "checking", "writing"]


def test_texts_are_written_once(source: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "transcribing" and done == 2:
            raise Stop

    written = []
    real = transcribe.Whisper.transcribe
    monkeypatch.setattr(
        transcribe.Whisper, "transcribe", lambda self, sound, clip: written.append(sound) or real(self, sound, clip)
    )
    settings = DatasetSettings(language="en", whisper=str(model), preferred_seconds=3.0, pace_deviations=50)
    with pytest.raises(Stop):
        build(source, tmp_path / "out", settings, stop)
    assert len(written) == 2
    dataset = build(source, tmp_path / "out", settings, lambda *_: None)
    assert len(written) == len(set(written)) >= dataset.clips
    again = content(tmp_path / "out")
    assert build(source, tmp_path / "out", settings, lambda *_: None) == dataset
    assert content(tmp_path / "out") == again
    count = len(written)
    (source / "c.wav").write_bytes((source / "long.wav").read_bytes())
    try:
        build(source, tmp_path / "out", settings, lambda *_: None)
    finally:
        (source / "c.wav").unlink()
    assert len(written) == count  # the same sound has the same text, and is refused for being there twice


def test_whisper_writes_what_metadata_leaves_open(source: Path, model: Path, tmp_path: Path):
    mixed = tmp_path / "mixed"
    shutil.copytree(source, mixed)
    (mixed / "metadata.csv").write_text(f"b/short|{SENTENCES[7]}\n")
    _, clips, refused = made(mixed, tmp_path / "out", whisper=str(model), pace_deviations=50)
    assert refused == []
    assert (clips["b/short.flac"].text, clips["long.wav"].text) == (SENTENCES[7], SAID)


def test_texts_that_whisper_is_not_sure_of_are_refused(source: Path, tmp_path: Path):
    unsure = whisper(tmp_path / "model", SAID, sure=False)
    with pytest.raises(BadInput, match=r"0 clips of .* can be used.*Whisper is not sure \(\d\)") as caught:
        made(source, tmp_path / "out", whisper=str(unsure))
    assert "Whisper is not sure of the text: -1." in caught.value.message


def test_what_does_not_fit_the_length_is_refused(source: Path, model: Path, tmp_path: Path):
    """Where Whisper makes words up, the pace tells."""
    long = whisper(tmp_path / "model", " ".join([SAID] * 6))
    with pytest.raises(BadInput, match=r"text and length do not fit"):
        made(source, tmp_path / "out", whisper=str(long))


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json", "vocabulary.json"])
def test_a_file_that_is_missing_is_named(missing: str, source: Path, model: Path, tmp_path: Path):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    with pytest.raises(BadInput, match=f"the Whisper model .*model lacks {missing}") as caught:
        made(source, tmp_path / "out", whisper=str(tmp_path / "model"))
    assert caught.value.param == "whisper"


def test_a_model_that_is_none(source: Path, model: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="tiny is not a folder; whisper names one with a Whisper model in CTranslate2"):
        made(source, tmp_path / "out", whisper="tiny")
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "model.bin").write_bytes(b"nonsense" * 100)
    with pytest.raises(BadInput, match=r"the Whisper model .* cannot be used"):
        made(source, tmp_path / "out", whisper=str(tmp_path / "model"))


def test_without_the_package_the_message_says_which(source: Path, model: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MoreError, match=r"faster-whisper is missing: pip install 'more-server\[transcribe\]'"):
        made(source, tmp_path / "out", whisper=str(model))
