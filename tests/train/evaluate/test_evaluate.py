"""Models judged by the command, from sentences to the page; what it is given may be wrong."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest
import structlog
from more_train.attended import Teller
from more_train.evaluate import command
from more_train.evaluate.command import evaluate
from more_train.evaluate.report import Report, read_report, told
from more_train.export import trained_by

from more_server.audio.encode import encode_file
from more_server.errors import BadInput, ModelError, StorageError, VoiceNotFound
from more_server.lessons.lines import LISTENED, SPEAKS, Line
from more_server.models import check_model
from more_server.settings import Settings
from more_server.tables import EngineSettings
from more_server.testing import tiny_xtts
from tests.train.evaluate.material import reading, write_dataset
from tests.train.export.test_runs import write_run

SENTENCES = (
    "The kitchen window is open and it is raining outside",
    "Please turn off the lights in the living room tonight",
    "My brother works in a small office near the station",
    "The train to the city leaves at seven in the morning",
)
UNSPEAKABLE = "👍"
"""espeak-ng reads it, the server leaves it out."""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """What the command reads its settings as."""
    found = Settings(data_dir=tmp_path / "data", engine=EngineSettings(device="cpu", threads=1))
    monkeypatch.setattr("more_train.evaluate.command.load", lambda: found)
    yield found
    structlog.reset_defaults()  # the command has sent the log to a standard error that is gone


def sentences(folder: Path, *texts: str) -> Path:
    path = folder / "sentences.txt"
    path.write_text("\n".join(("", *texts, "")), "utf-8")
    return path


def judged(out: Path) -> Report:
    """The report, of which the page has to be whole by itself."""
    html = (out / "report.html").read_text("utf-8")
    assert re.findall(r'(?:src|href)="(?!data:audio/mpeg;base64,)[^"]{0,40}|url\(|@import', html) == []
    assert html.count("<svg") == 4
    return read_report(out)


def test_nano_on_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "My clip.wav"
    clip.write_bytes(encode_file(np.tile(reading(SENTENCES[0]).samples, 2), 24_000, "wav"))
    asked = sentences(tmp_path, *SENTENCES, UNSPEAKABLE, "???")
    evaluate("nano", sentences=asked, voice=("linden", str(clip)), out=tmp_path / "out")
    report = judged(tmp_path / "out")
    (model,) = report.models
    assert model.id == "nano"
    assert (model.licence, model.device, model.precision) == ("Apache-2.0", "cpu", "fp32")
    assert report.material.voices == ("linden", "clip-my-clip")
    assert [one.voice for one in model.sentences] == [report.material.voices[number % 2] for number in range(5)]
    assert [reason for reason in report.material.left_out if "???" in reason]
    assert (model.figures.sentences, model.figures.spoken, model.figures.failed) == (5, 4, 1)
    assert "nothing that can be spoken" in model.sentences[4].failure
    assert model.figures.found >= 3
    assert all(0.6 < one.seconds / one.reference_seconds < 1.6 for one in model.sentences[:4])
    assert all(-1 <= (one.similarity or -2) <= 1 for one in model.sentences[:4])
    assert model.losses is None
    words = capsys.readouterr().out
    assert "1 of 5 sentences could not be spoken at all" in words
    assert f"{model.figures.found} of 5 sentences" in words
    assert "left out: sentence 6" in words


def test_two_models_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = tiny_xtts(tmp_path / "tiny <b>", talkative=True)
    asked = sentences(tmp_path, *SENTENCES[:3])
    evaluate("nano", sentences=asked, against=str(tiny), out=tmp_path / "out")
    report = judged(tmp_path / "out")
    nano, noise = report.models
    assert nano.figures.found > noise.figures.found
    assert [one.text for one in nano.sentences] == [one.text for one in noise.sentences] == list(SENTENCES[:3])
    assert noise.figures.stopped == 0
    assert noise.figures.guards["limit"] == 3
    assert report.comparison
    both, one, other, neither = (
        getattr(report.comparison, name) for name in ("both_found", "only_first", "only_second", "neither")
    )
    assert (both + one, both + other, neither) == (nano.figures.found, noise.figures.found, 3 - both - one - other)
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "tiny &lt;b&gt;" in html
    assert "tiny <b>" not in html
    assert "different speaker encoders" in html
    assert html.count("<audio") == 3 * 3
    assert report.comparison.verdict in capsys.readouterr().out
    evaluate("nano", sentences=asked, out=tmp_path / "again")
    again = judged(tmp_path / "again").models[0]
    assert again.sentences == nano.sentences  # the same seeds: the same speech, whatever else is judged


def test_held_out_recordings(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_dataset(tmp_path / "readings", SENTENCES[:3], silent=SENTENCES[2])
    elsewhere = msgspec.structs.replace(settings, engine=EngineSettings(device="cuda:9", threads=1))
    monkeypatch.setattr(command, "load", lambda: elsewhere)
    evaluate("nano", dataset=dataset, out=tmp_path / "out", device="cpu")
    report = judged(tmp_path / "out")
    (model,) = report.models
    assert model.device == "cpu"
    assert (report.material.name, report.material.kind) == ("readings", "dataset")
    assert report.material.voices == ("speaker-adam", "speaker-beth")
    assert [reason[:3] for reason in report.material.left_out] == ["002"]
    assert [one.text for one in model.sentences] == [f"{text}." for text in SENTENCES[:2]]
    assert model.figures.chance == 0.5
    assert model.figures.reference_similarity
    assert model.figures.reference_similarity.median > 0.9
    assert model.figures.steady_timbre is None
    assert model.losses
    assert model.losses.clips == 2
    # nano has learnt readings by these very speakers: 2.13 on its own held-out ones; chance: 6.2.
    assert 1.5 < model.losses.values["codes"] < 4
    assert told(model)["loss_codes"] == model.losses.values["codes"]


def test_a_model_without_a_dvae_is_judged_by_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = write_dataset(tmp_path / "readings", SENTENCES[:2], train=1)
    evaluate(str(tiny_xtts(tmp_path / "tiny", talkative=True)), dataset=dataset, voice=("rowan",), out=tmp_path / "out")
    report = judged(tmp_path / "out")
    assert report.material.voices == ("rowan",)
    assert report.models[0].losses is None
    assert report.models[0].figures.reference_similarity is None
    assert "Held-out losses were not measured: model tiny cannot be trained" in capsys.readouterr().out


def test_a_run_is_judged_by_its_best_weights(tmp_path: Path) -> None:
    run = write_run(tmp_path / "my run", tiny_base(tmp_path))
    evaluate(str(run), sentences=sentences(tmp_path, *SENTENCES[:2]))
    report = judged(run / "evaluation")
    assert (report.models[0].id, report.models[0].step) == ("run-my-run", 10)
    evaluation = trained_by(run).origin.evaluation
    assert (evaluation["sentences"], evaluation["held_out_loss"]) == (2, 3.0)


def test_for_a_server_nothing_is_written_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", tiny_base(tmp_path))
    asked = sentences(tmp_path, *SENTENCES[:2])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with (tmp_path / "told").open("wb") as told_to:
        monkeypatch.setattr(command, "attending", lambda attended: nullcontext(Teller(told_to.fileno())))
        evaluate("run", sentences=asked, attended=True)
    judged(tmp_path / "run" / "evaluation")
    assert {path.name for path in (tmp_path / "run" / "evaluation").iterdir()} == {"report.html", "report.json"}
    lines = [msgspec.json.decode(line, type=Line) for line in (tmp_path / "told").read_bytes().splitlines()]
    stages = list(dict.fromkeys(line.progress.stage for line in lines if line.progress))
    assert stages == [f"run-run {SPEAKS}", f"run-run {LISTENED}"]
    assert lines[-1].result
    assert lines[-1].result["verdicts"]


def tiny_base(folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    base = tiny_xtts(folder / "base")
    save_file({"codebook.embed": torch.ones(4, 32)}, base / "dvae.safetensors")
    return base


# -- what cannot be judged


def silent_clip(folder: Path) -> str:
    (folder / "silence.wav").write_bytes(encode_file(np.zeros(48_000, np.float32), 24_000, "wav"))
    return str(folder / "silence.wav")


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        (lambda _: {"count": 0}, BadInput, "at least one sentence"),
        (lambda here: {"dataset": here, "sentences": here}, BadInput, "not both"),
        (lambda here: {"dataset": here / "nowhere"}, BadInput, "is no dataset"),
        (lambda here: {"dataset": write_dataset(here / "d", (), train=1)}, BadInput, "no clips that are held out"),
        (lambda here: {"dataset": write_dataset(here / "d", SENTENCES[:1], train=0)}, BadInput, "no training clip"),
        (
            lambda here: {"dataset": write_dataset(here / "d", SENTENCES[:1], silent=SENTENCES[0])},
            BadInput,
            "silent or too short",
        ),
        (lambda here: {"sentences": sentences(here)}, BadInput, "holds no sentences"),
        (lambda here: {"sentences": here}, BadInput, "cannot be read as sentences"),
        (lambda here: {"sentences": sentences(here, "???")}, BadInput, "has a reading"),
        (lambda _: {"language": "de"}, BadInput, "built-in sentences are English"),
        (lambda here: {"language": "ja", "sentences": sentences(here, "はい")}, BadInput, "no readings in 'ja'"),
        (lambda here: {"language": "de", "sentences": sentences(here, "Guten Tag")}, BadInput, "nano speaks en"),
        (lambda _: {"voice": ("nobody",)}, VoiceNotFound, "nobody"),
        (lambda here: {"voice": (silent_clip(here),)}, BadInput, "0.0 s of sound|at least 1 s"),
        (lambda _: {"quality": "superb"}, BadInput, "superb"),
        (lambda here: {"whisper": here}, BadInput, "lacks"),
        (lambda _: {"against": "none such"}, ModelError, "neither a folder nor an id"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, options: Callable[[Path], dict[str, object]], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        evaluate("nano", **({"count": 1, "out": tmp_path / "out"} | options(tmp_path)))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_what_is_no_model(tmp_path: Path) -> None:
    for name in (str(tmp_path), "none such"):
        with pytest.raises(ModelError, match=r"config\.json|neither a folder nor an id"):
            evaluate(name, count=1)


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    asked = sentences(tmp_path, SENTENCES[0])
    with pytest.raises(StorageError, match="cannot be written"):
        evaluate(str(tiny_xtts(tmp_path / "tiny")), sentences=asked, out=tmp_path / "out")
    for content in ("{}", '{"format": 9}', "none"):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(BadInput, match=r"no report|has the format"):
            read_report(tmp_path)


def test_the_model_is_left_as_it_was(tmp_path: Path, settings: Settings) -> None:
    model = tiny_xtts(tmp_path / "tiny")
    before = {path.name: path.stat().st_mtime_ns for path in model.iterdir()}
    evaluate(str(model), sentences=sentences(tmp_path, SENTENCES[0]), out=tmp_path / "out")
    assert {path.name: path.stat().st_mtime_ns for path in model.iterdir()} == before
    check_model(model)
    assert not settings.data_dir.exists() or not list(settings.data_dir.rglob("*.toml"))
