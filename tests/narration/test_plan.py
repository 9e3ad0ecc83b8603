"""Documents to passages: each about one segment of the engine, nothing lost between them, all that matters pinned."""

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from more_server.app import create_speaker
from more_server.errors import BadInput, ModelNotFound, VoiceNotFound
from more_server.narration.document import Chapter, Document
from more_server.narration.plan import Plan, begin, completed
from more_server.narration.request import SpeechJob
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.tables import EngineSettings
from more_server.testing import tiny_config, tiny_xtts

LANGUAGES = ("en", "de", "zh-cn")
STORY = Document(
    title="The Story",
    author="Ann Other",
    chapters=(
        Chapter(
            "Chapter 1",
            (
                "Chapter 1",
                "Dr. Smith paid $3.50. Then he said: “It was on a dreary night of November, when the rain fell, that I "
                "saw it with my own eyes, and it looked back at me.”",
                "“No.”",
                "“Yes, I do!”",
                "* * *",
                "1234567890123456789012345678901234567890123456789012345678901234567890 it was.",
            ),
        ),
        Chapter("Stars", ("* * *",)),
        Chapter("The End", ("It ended.",)),
    ),
)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    data_dir = tmp_path_factory.mktemp("data")
    tiny_xtts(data_dir / "models" / "tiny", config=tiny_config(LANGUAGES))
    made = create_speaker(Settings(data_dir=data_dir, model="tiny", engine=EngineSettings(device="cpu", threads=1)))
    made.engine.start()
    asyncio.run(made.start())
    yield made
    made.engine.stop()


async def plan(speaker: Speaker, asked: SpeechJob, document: Document) -> Plan:
    return await completed(speaker, await begin(speaker, asked, document), asked, document)


def texts(planned: Plan) -> list[str]:
    return [passage.text for passage in planned.passages]


async def test_a_story(speaker: Speaker) -> None:
    planned = await plan(speaker, SpeechJob(seed=7, quality="fast", speed=1.5), STORY)
    assert (planned.title, planned.author, planned.language, planned.model) == ("The Story", "Ann Other", "en", "tiny")
    assert (planned.voice, planned.profile.name, planned.speed, planned.seed) == ("linden", "fast", 1.5, 7)
    assert planned.chapters == ("Chapter 1", "The End")
    assert texts(planned) == [
        "Chapter 1",
        "Dr. Smith paid $3.50.",
        "Then he said: “It was on a dreary night of November,",
        "when the rain fell,",
        "that I saw it with my own eyes, and it looked back at me.”",
        "“No.”\n“Yes, I do!”",
        "1234567890123456789012345678901234567890123456789012345678901234567890 it was.",
        "It ended.",
    ]
    assert [passage.chapter for passage in planned.passages] == [0] * 7 + [1]
    assert [passage.continues for passage in planned.passages] == [False, True, True, True, False, False, False, False]
    assert [passage.pause_seconds for passage in planned.passages] == [0.75, 0, 0, 0, 0.5, 0.5, 1.5, 0]
    assert planned.spoken(planned.passages[1]) == "doctor Smith paid three dollars and fifty cents."
    assert planned.spoken(planned.passages[5]) == "No. Yes, I do!"
    # Fifteen characters a second, by the profile's tempo and the job's.
    assert planned.passages[4].seconds == pytest.approx(58 / (15 * 1.2 * 1.5), rel=0.15)
    assert planned.seconds > sum(passage.seconds for passage in planned.passages) + 2
    assert len({passage.seed for passage in planned.passages}) == 8
    assert msgspec.json.decode(msgspec.json.encode(planned), type=Plan) == planned


async def test_a_passage_is_a_segment_spoken_after_people(speaker: Speaker) -> None:
    planned = await plan(speaker, SpeechJob(seed=7), STORY)
    for passage in planned.passages:
        utterance = await speaker.resolve(planned.request(passage), "test")
        # A word that is too long for a segment is cut by the engine alone, which knows how it is spoken.
        assert len(utterance.segments) == 1 or passage.number == 6
        assert (utterance.priority, utterance.seed, utterance.language) == (1, passage.seed, "en")
        assert utterance.continues == passage.continues


async def test_the_audio_depends_on_the_plan_alone(speaker: Speaker) -> None:
    async def spoken(number: int, planned: Plan) -> np.ndarray:
        utterance = await speaker.resolve(planned.request(planned.passages[number]), "test")
        return np.concatenate([audio.samples async for audio in speaker.speak(utterance)])

    planned = await plan(speaker, SpeechJob(seed=7, quality="fast"), STORY)
    assert planned == await plan(speaker, SpeechJob(seed=7, quality="fast"), STORY)
    kept = msgspec.json.decode(msgspec.json.encode(planned), type=Plan)
    first, second, again = await spoken(1, planned), await spoken(2, planned), await spoken(1, kept)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second[: len(first)])
    # What the quality has become meanwhile does not matter.
    other = msgspec.structs.replace(kept, profile=msgspec.structs.replace(kept.profile, temperature=1.9, speed=0.5))
    assert len(await spoken(1, other)) > 1.5 * len(first)


async def test_what_is_asked_for_goes_before_what_the_document_says(speaker: Speaker) -> None:
    german = Document(title="Buch", language="de-AT", chapters=(Chapter("", ("Es war einmal eine Katze.",)),))
    assert (await plan(speaker, SpeechJob(), german)).language == "de"
    assert (await plan(speaker, SpeechJob(language="auto"), german)).language == "de"
    asked = SpeechJob(language="en", title="Book", author="Bob", voice="rowan(2)+linden(1)")
    planned = await plan(speaker, asked, german)
    assert (planned.language, planned.title, planned.author) == ("en", "Book", "Bob")
    assert planned.voice == "rowan(2)+linden(1)"
    unknown = msgspec.structs.replace(german, language="und")
    assert (await plan(speaker, SpeechJob(voice="Alloy"), unknown)).voice in ("linden", "rowan")


async def test_pauses_can_be_chosen(speaker: Speaker) -> None:
    asked = SpeechJob(chapter_pause_seconds=0, paragraph_pause_seconds=0)
    assert {passage.pause_seconds for passage in (await plan(speaker, asked, STORY)).passages} == {0}


@pytest.mark.parametrize(
    ("asked", "language", "error", "param", "says"),
    [
        (SpeechJob(voice="nobody"), "", VoiceNotFound, "voice", "there is no voice 'nobody'; there are: linden, rowan"),
        (SpeechJob(model="other"), "", ModelNotFound, "model", "there is no model 'other'"),
        (SpeechJob(quality="best"), "", BadInput, "quality", "there is no quality 'best'"),
        (SpeechJob(speed=9), "", BadInput, "speed", "speed must be between"),
        (SpeechJob(seed=-1), "", BadInput, "seed", "seed must be between"),
        (SpeechJob(language="sv"), "", BadInput, "language", "language 'sv' is not spoken by the model tiny"),
        (SpeechJob(), "sv", BadInput, "language", "the document's own language 'sv' is not spoken by the model tiny"),
    ],
)
async def test_what_cannot_be_spoken(
    speaker: Speaker, asked: SpeechJob, language: str, error: type[BadInput], param: str, says: str
) -> None:
    with pytest.raises(error, match=re.escape(says)) as refused:
        await plan(speaker, asked, msgspec.structs.replace(STORY, language=language))
    assert refused.value.param == param


WORD = st.one_of(
    st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=9),
    st.sampled_from(["Dr.", "3.50", "“No.”", "U.S.", "über", "—", "…", "你好。", "12:30", "x" * 70, "J."]),
)
PARAGRAPH = st.lists(st.tuples(WORD, st.sampled_from(["", "", ".", ",", "!"])).map("".join), min_size=1, max_size=40)


@given(
    st.lists(st.lists(PARAGRAPH.map(" ".join), min_size=1, max_size=3), min_size=1, max_size=2),
    st.sampled_from(LANGUAGES),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost_and_order_is_kept(speaker: Speaker, book: list[list[str]], language: str) -> None:
    document = Document(chapters=tuple(Chapter("", tuple(paragraphs)) for paragraphs in book))
    asked = SpeechJob(language=language, seed=1)
    said = "".join(word for paragraphs in book for text in paragraphs for word in text.split())
    if not any(character.isalnum() for character in said):
        with pytest.raises(BadInput):
            asyncio.run(plan(speaker, asked, document))
        return
    planned = asyncio.run(plan(speaker, asked, document))
    kept = "".join("".join(passage.text.split()) for passage in planned.passages)
    # Marks that stand alone may fall away; they are no words.
    assert [character for character in kept if character.isalnum()] == [c for c in said if c.isalnum()]
    assert [passage.number for passage in planned.passages] == list(range(len(planned.passages)))
    assert all(one.chapter <= other.chapter for one, other in pairwise(planned.passages))
    assert {passage.chapter for passage in planned.passages} == set(range(len(planned.chapters)))
