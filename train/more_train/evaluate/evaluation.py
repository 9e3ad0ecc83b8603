"""An exam taken by one model, or by two: spoken, measured, told in words, written down."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import torch

from more_server.errors import BadInput, ModelError, StorageError
from more_server.files import write_file
from more_server.lessons.lines import FORETELLS, LISTENED, SPEAKS
from more_server.tables import EngineSettings
from more_server.xtts.config import read_config
from more_server.xtts.layout import SPEAKER_ENCODER, Progress
from more_server.xtts.weights import Weights
from more_train.evaluate.exam import Exam
from more_train.evaluate.judge import Recogniser, figures, measured
from more_train.evaluate.losses import held_out_losses
from more_train.evaluate.page import Sounds, page
from more_train.evaluate.report import FILE, PAGE, Losses, Model, Report
from more_train.evaluate.speaking import Spoken, speak
from more_train.evaluate.subject import Subject
from more_train.evaluate.verdicts import compared, verdicts


class Evaluation(msgspec.Struct, frozen=True):
    """What came of an exam."""

    report: Report
    html: str

    def write(self, out: Path) -> None:
        """Write report.json and report.html into a folder. Raises StorageError."""
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_file(out / PAGE, self.html.encode())
            write_file(out / FILE, msgspec.json.format(msgspec.json.encode(self.report)) + b"\n")
        except OSError as error:
            raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error


def taken(
    exam: Exam,
    subjects: Sequence[Subject],
    engine: EngineSettings,
    *,
    dataset: Path | None = None,
    recogniser: Recogniser | None = None,
    on_progress: Progress | None = None,
    scratch: Path | None = None,
) -> Evaluation:
    """Let models take an exam, one after the other, and hold the second against the first.

    dataset: where the held-out losses come from; scratch: folder for what is needed meanwhile; None: the system's.
    Raises ModelError, SettingsError or BadInput where a model cannot be loaded or has not one of the voices; a sentence
    that it cannot say is counted.
    """
    tell = on_progress or (lambda _what, _done, _total: None)
    models, sounds = list[Model](), list[Sounds]()
    for one in subjects:
        said = partial(_tell, tell, f"{one.folder.name} {SPEAKS}", len(exam.trials))
        spoken = speak(exam, one.folder, engine, said, scratch)
        models.append(_model(exam, one, spoken, dataset, engine, recogniser, tell))
        sounds.append({said.trial.id: said.audio for said in spoken.said})
    report = Report(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        material=exam.material,
        models=tuple(models),
        verdicts=tuple(verdicts(model, exam.material) for model in models),
        comparison=compared(*models) if len(models) == 2 else None,
    )
    return Evaluation(report, page(report, sounds, {trial.id: trial.reference for trial in exam.trials}))


def _tell(tell: Progress, what: str, total: int, done: int) -> None:
    tell(what, done, total)


def _model(
    exam: Exam,
    one: Subject,
    spoken: Spoken,
    dataset: Path | None,
    engine: EngineSettings,
    recogniser: Recogniser | None,
    tell: Progress,
) -> Model:
    folder, config = one.folder, read_config(one.folder)
    sentences = measured(exam, spoken, recogniser, partial(_tell, tell, f"{folder.name} {LISTENED}", len(exam.trials)))
    losses, remarks = _losses(folder, dataset, engine, tell)
    return Model(
        id=folder.name,
        path=str(folder),
        step=one.step,
        licence=config.licence,
        warning=config.warning,
        device=spoken.state.device,
        precision=spoken.state.precision,
        encoder=encoder_checksum(folder),
        figures=figures(sentences, spoken),
        losses=losses,
        sentences=sentences,
        remarks=remarks,
    )


def _losses(
    folder: Path, dataset: Path | None, engine: EngineSettings, tell: Progress
) -> tuple[Losses | None, tuple[str, ...]]:
    if dataset is None:
        return None, ()
    try:
        return held_out_losses(folder, dataset, engine, partial(tell, f"{folder.name} {FORETELLS}")), ()
    except (BadInput, ModelError) as error:
        return None, (f"Held-out losses were not measured: {error.message}",)


def encoder_checksum(folder: Path) -> str:
    """Of a model's speaker encoder, whatever its weights are stored as."""
    weights, state = Weights(folder), hashlib.sha256()
    for name, tensor in sorted(weights.read(n for n in weights.shapes if n.startswith(SPEAKER_ENCODER)).items()):
        values = tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        state.update(name.encode() + values.contiguous().numpy().tobytes())
    return state.hexdigest()[:16]
