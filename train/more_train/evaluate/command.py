"""`evaluate`: a model, or two side by side, judged on sentences; a report for programs, a page for people."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console

from more_server.cli.output import console, quiet
from more_server.errors import BadInput
from more_server.settings import load
from more_train.attended import Teller
from more_train.attended import attended as attending

if TYPE_CHECKING:
    from more_server.xtts.layout import Progress
    from more_train.evaluate.exam import Wanted
    from more_train.evaluate.report import Report

MARKS = {"good": "+", "bad": "-", "note": " "}


def evaluate(
    model: str,
    /,
    *,
    dataset: Path | None = None,
    sentences: Path | None = None,
    voice: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    out: Path | None = None,
    against: str | None = None,
    whisper: Path | None = None,
    language: str = "en",
    quality: str = "balanced",
    count: int = 100,
    seed: int = 507,
    device: str = "",
    threads: int = 0,
    attended: bool = False,
) -> None:
    """Let a model speak sentences, and tell in figures and words how well it does.

    Parameters
    ----------
    model
        Folder of a model in the serving format, an id of `more-server models list`, or the folder of a fine-tuning,
        whose best weights are judged.
    dataset
        A dataset's folder: its held-out recordings are said, and compared with; without one a fine-tuning's own.
    sentences
        Without a dataset: a file of sentences, one a line, instead of the built-in hundred English ones. They are
        compared with readings by espeak-ng.
    voice
        Voice to speak in, by id or by the file of a clip; several take turns. Without one, the speakers of the
        dataset, else the two voices that came with the server.
    out
        Folder for report.json and report.html: `evaluation` in that of the fine-tuning, or here.
    against
        Another model, which says the same with the same seeds, to be compared side by side.
    whisper
        Folder of a Whisper model in CTranslate2's format, to count word errors with.
    language
        Of the sentences; a dataset has its own.
    quality
        Profile whose sampling is used.
    count
        Sentences at most.
    seed
        Of the first sentence; each further one has the next.
    device
        auto, cpu, cuda, cuda:1 …; as the settings say unless given.
    threads
        CPU threads of the model; 0: as the settings say.
    attended
        For programs: JSON lines instead of bars and words, and the end of it when standard input closes.
    """
    from more_train.evaluate.exam import Wanted

    name = whisper.resolve().name if whisper else ""
    wanted = Wanted(voices=voice, language=language, quality=quality, count=count, seed=seed, recogniser=name)
    with attending(attended) as teller:
        _evaluate(model, against, dataset, sentences, wanted, whisper, out, device, threads, teller)


def _evaluate(
    model: str,
    against: str | None,
    dataset: Path | None,
    sentences: Path | None,
    wanted: "Wanted",
    whisper: Path | None,
    out: Path | None,
    device: str,
    threads: int,
    teller: Teller,
) -> None:
    if dataset is not None and sentences is not None:
        raise BadInput("name a dataset or a file of sentences, not both", param="sentences")
    if wanted.count < 1:
        raise BadInput(f"count is {wanted.count}; at least one sentence is needed", param="count")
    from more_train.evaluate.evaluation import taken
    from more_train.evaluate.exam import from_sentences
    from more_train.evaluate.hearing import Listener
    from more_train.evaluate.recordings import from_dataset
    from more_train.evaluate.report import EVALUATION, PAGE
    from more_train.evaluate.subject import dataset_of, is_run, subject

    settings, told = load(), console()
    quiet(settings)
    if is_run(model):
        out = out or Path(model) / EVALUATION
        dataset = dataset_of(Path(model)) if dataset is None and sentences is None else dataset
    out = out or Path(EVALUATION)
    engine = msgspec.structs.replace(
        settings.engine, device=device or settings.engine.device, threads=threads or settings.engine.threads
    )
    scratch = None
    if teller.is_heard:  # a server writes nothing outside its data directory
        out.mkdir(parents=True, exist_ok=True)
        scratch = out.absolute()
    with ExitStack() as stack:
        names = [name for name in (model, against) if name is not None]
        subjects = [stack.enter_context(subject(settings, name, scratch)) for name in names]
        hears = Listener(whisper) if whisper else None
        if dataset:
            exam = from_dataset(settings, dataset, wanted)
        else:
            exam = from_sentences(settings, sentences, wanted, scratch)
        show = teller.tell if teller.is_heard else stack.enter_context(_bars(console(stderr=True)))
        made = taken(exam, subjects, engine, dataset=dataset, recogniser=hears, on_progress=show, scratch=scratch)
    made.write(out)
    teller.result({"verdicts": [verdict.text for verdict in made.report.verdicts[0]]})
    if teller.is_heard:
        return
    tell(made.report, told)
    told.print(f"\n{out / PAGE} has all of it, with the worst and the best sentences to listen to")


@contextmanager
def _bars(shown_on: Console) -> "Iterator[Progress]":
    """A bar for each thing that is being done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=shown_on) as progress:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show


def tell(report: "Report", told: Console) -> None:
    """The summary in words: what is good (+), what is not (-)."""
    material = report.material
    told.print(
        f"{len(report.models[0].sentences)} sentences from {material.name}, said by {', '.join(material.voices)}, "
        f"compared with {material.references}"
    )
    for model, verdicts in zip(report.models, report.verdicts, strict=True):
        told.print(f"\n{model.id} ({model.licence})")
        for verdict in verdicts:
            told.print(f"{MARKS[verdict.mark]} {verdict.text}")
    if report.comparison:
        told.print(f"\n{report.comparison.verdict}")
    for reason in material.left_out:
        told.print(f"left out: {reason}")
