"""A speech job from what is asked for to the files that come out of it."""

import asyncio
import resource
import time
from itertools import pairwise
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from more_server.audio.book import BOOK_FORMATS
from more_server.errors import BadInput, StorageError, VoiceNotFound
from more_server.narration.binding import Binding
from more_server.narration.files import LONGEST_NAME, RESERVED, files, safe_name
from more_server.narration.kind import PLAN, SpeechKind
from more_server.narration.plan import Passage, Plan
from more_server.narration.request import SpeechJob
from more_server.narration.speaking import FOLDER, Spoken, passage_file
from more_server.speak import Speaker
from more_server.speech import Profile
from tests.narration.conftest import BOOK, Crash, FakeWork, names, run

RATE = 24_000


async def nothing(share: float) -> None: ...


async def spoken(speaker: Speaker, folder: Path, **asked: object) -> FakeWork:
    """A job from its beginning to its end."""
    kind, work = SpeechKind(speaker), FakeWork(folder)
    await run(kind, await kind.accept(SpeechJob(**{"input": BOOK, "seed": 5, "title": "Storm"} | asked), folder), work)  # type: ignore[arg-type]
    return work


def made_up(*lengths: int, folder: Path) -> Plan:
    """A plan whose passages are there already: noise, so many samples each, one chapter each."""
    plan = Plan(
        title="A/B: Über alles",
        author="Ann Other",
        language="de",
        model="tiny",
        voice="ada",
        voice_version="",
        profile=Profile(name="test", temperature=0.7, top_p=0.9),
        speed=1.0,
        seed=0,
        sample_rate=RATE,
        chapters=tuple("" if number == 1 else f"Nr. {number}?" for number in range(len(lengths))),
        passages=tuple(
            Passage(number=n, chapter=n, text=f"<{n}>", seconds=length / RATE, pause_seconds=0.25, seed=n)
            for n, length in enumerate(lengths)
        ),
    )
    (folder / FOLDER).mkdir()
    random = np.random.default_rng(4)
    for passage, length in zip(plan.passages, lengths, strict=True):
        random.integers(-9000, 9000, length, np.int16).tofile(passage_file(folder, passage))
    return plan


async def test_what_is_kept_says_what_was_settled_and_holds_no_text(speaker: Speaker, tmp_path: Path) -> None:
    kept = await SpeechKind(speaker).accept(SpeechJob(input=BOOK, voice="ADA"), tmp_path)
    assert (kept.input, kept.document) == ("", "")
    assert (kept.model, kept.voice, kept.quality, kept.language) == ("tiny", "ada", "balanced", "en")
    plan = msgspec.json.decode((tmp_path / PLAN).read_bytes(), type=Plan)
    assert plan.seed == kept.seed
    assert plan.passages == ()
    assert "morning" not in repr(msgspec.to_builtins(kept))
    assert msgspec.convert(msgspec.to_builtins(kept), SpeechJob) == kept


async def test_what_cannot_be_spoken_leaves_nothing_behind(speaker: Speaker, tmp_path: Path) -> None:
    for asked, kind in (
        (SpeechJob(input="..."), BadInput),
        (SpeechJob(input="Hello.", voice="nobody"), VoiceNotFound),
        (SpeechJob(input="Hello.", speed=9.0), BadInput),
    ):
        with pytest.raises(kind):
            await SpeechKind(speaker).accept(asked, tmp_path)
    assert names(tmp_path) == []


async def test_a_crash_at_any_step_changes_nothing(speaker: Speaker, tmp_path: Path) -> None:
    (tmp_path / "quiet").mkdir()
    quiet = await spoken(speaker, tmp_path / "quiet", response_format="wav")
    undisturbed = (quiet.folder / "Storm.wav").read_bytes()
    crashed: set[tuple[str, str]] = set()

    def crash(name: str, moment: str) -> None:
        if (name, moment) not in crashed:
            crashed.add((name, moment))
            raise Crash

    folder, kind, kept = tmp_path / "crashing", SpeechKind(speaker), dict[str, bytes]()
    folder.mkdir()
    asked = await kind.accept(SpeechJob(input=BOOK, seed=5, title="Storm", response_format="wav"), folder)
    done: list[str] = []
    for _ in range(100):
        work = FakeWork(folder, kept, crash)
        try:
            await run(kind, asked, work)
        except Crash:
            continue
        finally:
            done += work.done
        break
    assert len(crashed) == 2 * len(quiet.done)
    assert sorted(done) == sorted(quiet.done)  # nothing twice
    assert (folder / "Storm.wav").read_bytes() == undisturbed
    assert names(folder) == ["Storm.wav", PLAN]
    assert work.added == {"Storm.wav": ("audio/wav", "Storm")}


async def test_progress_goes_forwards_to_the_end(speaker: Speaker, tmp_path: Path) -> None:
    work = await spoken(speaker, tmp_path)
    stages = list(dict.fromkeys(stage for stage, *_ in work.told if stage != "waiting"))
    assert stages == ["planning", "speaking", "encoding"]
    assert all(a[1] <= b[1] for a, b in pairwise(work.told))
    assert len({total for _, _, total, *_ in work.told[1:]}) == 1
    assert work.told[-1][1] == pytest.approx(work.told[-1][2])


@pytest.mark.parametrize("name", BOOK_FORMATS)
async def test_one_file_has_all_chapters(tmp_path: Path, name: str) -> None:
    plan, work = made_up(RATE, 2 * RATE, RATE + 100, folder=tmp_path), FakeWork(tmp_path)
    asked = SpeechJob(response_format=name, subtitles=("srt", "vtt"))  # type: ignore[arg-type]
    await Binding(plan, asked, work, nothing).run([RATE, 2 * RATE, RATE + 100])
    stem, format_ = "A B Über alles", BOOK_FORMATS[name]
    assert list(work.added) == [stem + format_.suffix, f"{stem}.srt", f"{stem}.vtt"]
    assert work.added[stem + format_.suffix] == (format_.media_type, plan.title)
    with av.open(tmp_path / (stem + format_.suffix)) as read:
        starts = [
            (c["metadata"]["title"], round(float(c["start"] * (c["time_base"] or 0)), 3)) for c in read.chapters()
        ]
        seconds = sum(frame.samples / frame.sample_rate for frame in read.decode(audio=0))
    assert starts == ([("Nr. 0?", 0.0), ("2", 1.25), ("Nr. 2?", 3.5)] if format_.marks != "none" else [])
    assert seconds == pytest.approx(4.75 + 100 / RATE, abs=0.05)
    assert "00:00:03.500 --> 00:00:04.504\n&lt;2&gt;\n" in (tmp_path / f"{stem}.vtt").read_text()


async def test_a_file_for_each_chapter(tmp_path: Path) -> None:
    plan, work = made_up(RATE, RATE // 2, RATE, folder=tmp_path), FakeWork(tmp_path)
    asked = SpeechJob(response_format="flac", split="chapters", subtitles=("srt",))
    await Binding(plan, asked, work, nothing).run([RATE, RATE // 2, RATE])
    assert {name: title for name, (_, title) in work.added.items() if name.endswith("flac")} == {
        "001 Nr. 0.flac": "Nr. 0?",
        "002.flac": "2",
        "003 Nr. 2.flac": "Nr. 2?",
    }
    with av.open(tmp_path / "002.flac") as read:
        assert sum(frame.samples for frame in read.decode(audio=0)) == RATE * 3 // 4
        assert read.metadata["TRACKNUMBER" if "TRACKNUMBER" in read.metadata else "track"] == "2/3"
        assert read.metadata["album"] == plan.title
    assert (tmp_path / "003 Nr. 2.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:01,000\n")


async def test_a_damaged_passage_is_told(tmp_path: Path) -> None:
    plan = made_up(RATE, folder=tmp_path)
    with pytest.raises(StorageError, match=r"24000 samples, not 24001"):
        await Binding(plan, SpeechJob(), FakeWork(tmp_path), nothing).run([RATE + 1])
    assert names(tmp_path) == [FOLDER]


async def test_encoding_ends_soon_after_it_is_cancelled(tmp_path: Path) -> None:
    plan = made_up(900 * RATE, folder=tmp_path)
    work = FakeWork(tmp_path)
    begun = asyncio.Event()

    async def told(share: float) -> None:
        if share > 0:
            begun.set()

    job = asyncio.create_task(Binding(plan, SpeechJob(response_format="mp3"), work, told).run([900 * RATE]))
    await asyncio.wait_for(begun.wait(), 60)
    since = time.monotonic()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert time.monotonic() - since < 5.0
    assert names(tmp_path) == [FOLDER]
    assert not work.kept


@pytest.mark.parametrize("limit", [2000, 120_000], ids=["a passage", "the book"])
async def test_a_full_disk_is_told_and_the_job_goes_on_later(speaker: Speaker, tmp_path: Path, limit: int) -> None:
    kind, work = SpeechKind(speaker), FakeWork(tmp_path)
    asked = await kind.accept(SpeechJob(input=BOOK, seed=5, title="Storm", response_format="wav"), tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError, match="no room left"):
            await run(kind, asked, work)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    again = FakeWork(tmp_path, work.kept)
    await run(kind, asked, again)
    assert set(again.done).isdisjoint(work.done)
    assert names(tmp_path) == ["Storm.wav", PLAN]


@given(st.text(max_size=200))
def test_names_are_names_everywhere(title: str) -> None:
    name = safe_name(title)
    assert 0 < len(name.encode()) <= LONGEST_NAME + 1
    assert not set(name) & set('<>:"/\\|?*\0\n')
    assert name == name.strip(" .")
    assert name.upper().partition(".")[0].strip() not in RESERVED


def test_chapters_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(made_up(1, 1, 1, folder=tmp_path), chapters=("x" * 300, "X" * 300, ""))
    stems = [file.stem for file in files(plan, [1, 1, 1], by_chapter=True)]
    assert len({stem.lower() for stem in stems}) == 3
    assert msgspec.json.decode(msgspec.json.encode(Spoken(1)), type=Spoken) == Spoken(1)
