"""Which clips make a step, what they are conditioned on, what is left out, and that codes are made once."""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from more_train.batches import FIXED, Plan, References, ahead, as_row
from more_train.dataset.format import read_dataset
from more_train.dvae import CodeCache, load_dvae, stamp
from more_train.examples import Example, Examples, Preparer, Recordings
from more_train.inputs import Limits, tokens_of
from more_train.processes import Processes

from more_server.errors import BadInput, ModelError, StorageError
from more_server.speech import Profile
from more_server.text import normalise, split
from more_server.xtts.config import read_config
from more_server.xtts.tokenizer import Tokenizer
from tests.train.finetune.material import write_dataset

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)


def example(number: int, speaker: str = "a", samples: int = 44_100) -> Example:
    return Example(
        str(number), Path(f"{number}.flac"), speaker, "en", "hm", (3, 4, 5), np.arange(samples // 1024 + 1), samples
    )


# -- the plan


def test_every_clip_is_seen_once_an_epoch():
    plan = Plan(np.arange(103), rows=4, per_step=3, seed=1)
    assert plan.steps_per_epoch == 9
    for epoch in range(3):
        seen = Counter(row for step in range(9) for micro in plan.step(9 * epoch + step) for row in micro)
        assert seen == Counter(range(103))


def test_steps_depend_on_seed_and_number_alone():
    lengths = np.random.default_rng(0).integers(10, 400, 500)
    one, other = (Plan(lengths, 4, 2, seed=5) for _ in range(2))
    later = other.step(130)
    assert [one.step(number) for number in (0, 7, 70, 130)][-1] == later
    assert one.step(0) != Plan(lengths, 4, 2, seed=6).step(0)
    assert one.step(0) != one.step(one.steps_per_epoch)


def test_rows_of_like_length_stand_together():
    lengths = np.random.default_rng(0).integers(10, 400, 512)
    plan = Plan(lengths, 4, 1, seed=0)
    padding = [4 * lengths[micro].max() - lengths[micro].sum() for step in range(128) for micro in plan.step(step)]
    assert sum(padding) < 0.05 * lengths.sum()


def test_the_longest_batch_is_known():
    assert sorted(Plan([5, 9, 1, 7, 8], 3, 1, seed=0).longest()) == [1, 3, 4]


# -- references


def test_another_clip_of_the_same_speaker_is_the_reference():
    rows = [example(number, "ab"[number % 2]) for number in range(10)]
    references = References(rows, (0.75, 1.5), 1.0, seed=0)
    for step in range(20):
        chosen = references.choose(rows, step, 0)
        assert len({reference.count for reference in chosen}) == 1
        assert 0.75 * 22_050 - 1 <= chosen[0].count <= 1.5 * 22_050 + 1
        for row, reference in zip(rows, chosen, strict=True):
            assert reference.example is not row
            assert reference.example.speaker == row.speaker
            assert 0 <= reference.start <= reference.example.samples - reference.count
    assert references.choose(rows, 3, 0) == references.choose(rows, 3, 0) != references.choose(rows, 4, 0)


def test_of_a_lone_clip_the_part_that_is_heard_is_not_counted():
    alone = example(0, "alone")
    references = References([alone], (0.75, 1.5), 2.0, seed=0)
    (chosen,) = references.choose([alone], 5, 0)
    assert chosen.example is alone
    assert chosen.count == alone.samples // 2
    row = as_row(alone, chosen, 1024)
    assert row.heard == (chosen.start // 1024, min(44, -(-(chosen.start + chosen.count) // 1024)))
    assert 0 < row.heard[1] - row.heard[0] < len(alone.codes)


def test_short_neighbours_make_short_references():
    rows = [example(0), example(1, samples=22_050), example(2, "b"), example(3, "b")]
    references = References(rows, (3.0, 3.0), 1.0, seed=0)
    assert {reference.count for reference in references.choose(rows, 0, 0)} == {22_050}


def test_rows_held_out_have_the_same_references_each_time():
    pool, held_out = [example(number) for number in range(5)], [example(9)]
    references = References(pool, (1.0, 1.0), 1.0, seed=0)
    assert references.choose(held_out, FIXED, 0) == references.choose(held_out, FIXED, 0)
    assert references.choose(held_out, FIXED, 0)[0].example in pool


# -- text and codes


@pytest.mark.parametrize(
    "text", ["The train leaves at 7:30.", "Yes, indeed.", "No!", "It costs $12, doesn't it? Café — “now”…"]
)
def test_texts_become_the_tokens_that_are_served(tiny: Path, text: str):
    config, tokenizer = read_config(tiny), Tokenizer(tiny / "vocab.json")
    served = split(
        normalise(text, "en"),
        "en",
        count_tokens=lambda piece: tokenizer.count(piece, "en"),
        max_tokens=config.max_segment_tokens,
        first_max_tokens=Profile(name="a", temperature=1, top_p=1).first_segment_tokens,
    )
    assert len(served) == 1
    assert tokens_of(text, "en", config, tokenizer) == tokenizer.encode(served[0].text, "en")


def test_texts_that_are_not_one_segment_have_no_tokens(tiny: Path):
    config, tokenizer = read_config(tiny), Tokenizer(tiny / "vocab.json")
    assert tokens_of("word " * 100, "en", config, tokenizer) is None
    assert tokens_of("…", "en", config, tokenizer) is None


def prepare(tiny: Path, dataset: Path, cache: Path, limits: Limits | None = None) -> Examples:
    config = read_config(tiny)
    dvae = load_dvae(tiny, config, torch.full((80,), 4.0), CPU)
    limits = limits or Limits(1.0, 15.0, config.gpt.max_mel_tokens - 3)
    preparer = Preparer(dataset, config, Tokenizer(tiny / "vocab.json"), dvae, CodeCache(cache, stamp(tiny)), limits)
    return preparer.prepare(read_dataset(dataset)[1], ALONE, lambda *_: None)


def test_codes_are_made_once(tiny: Path, buzz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = prepare(tiny, buzz, tmp_path / "codes.sqlite")
    assert (len(first.train), len(first.held_out), first.left_out) == (10, 2, {})
    monkeypatch.setattr("more_train.dvae.Dvae.encode", lambda *_: pytest.fail("made again"))
    again = prepare(tiny, buzz, tmp_path / "codes.sqlite")
    for one, other in zip(first.train, again.train, strict=True):
        assert one.codes.tolist() == other.codes.tolist()
        assert one.samples == other.samples
    assert len(again.train[0].codes) == -(-again.train[0].samples // 1024)


def test_clips_over_a_limit_are_counted(tiny: Path, tmp_path: Path):
    dataset = write_dataset(tmp_path / "data", 6, seconds=2.0)
    lines = [msgspec.json.decode(line) for line in (dataset / "clips.jsonl").read_bytes().splitlines()]
    changes = ({"seconds": 0.5}, {"seconds": 20.0}, {"text": "word " * 100}, {"language": "xx"}, {}, {"text": "…"})
    for line, change in zip(lines, changes, strict=True):
        line |= change
    (dataset / "clips.jsonl").write_bytes(b"\n".join(msgspec.json.encode(line) for line in lines))
    found = prepare(tiny, dataset, tmp_path / "codes.sqlite", Limits(1.0, 2.5, 57))
    assert len(found.train) + len(found.held_out) == 1
    assert found.left_out == {
        "shorter than 1 s": 1,
        "longer than 2.5 s": 1,
        "text too long for one segment, or nothing to speak": 2,
        "language xx is not the model's": 1,
    }


def test_clips_longer_than_the_models_codes_are_left_out(tiny: Path, tmp_path: Path):
    dataset = write_dataset(tmp_path / "data", 3, seconds=3.0)
    found = prepare(tiny, dataset, tmp_path / "codes.sqlite")
    assert found.left_out == {"longer than 2.6 s": 2}


def test_a_missing_clip_is_named(tiny: Path, tmp_path: Path):
    dataset = write_dataset(tmp_path / "data", 3)
    (dataset / "clips" / "001.flac").unlink()
    with pytest.raises(BadInput, match=r"001\.flac cannot be read"):
        prepare(tiny, dataset, tmp_path / "codes.sqlite")


def test_a_broken_clip_is_named(tiny: Path, tmp_path: Path):
    dataset = write_dataset(tmp_path / "data", 3)
    (dataset / "clips" / "001.flac").write_bytes(b"no audio at all")
    with pytest.raises(BadInput, match=r"001\.flac: the audio is damaged"):
        prepare(tiny, dataset, tmp_path / "codes.sqlite")


def test_a_broken_cache_may_be_deleted(tmp_path: Path):
    (tmp_path / "codes.sqlite").write_bytes(b"nonsense " * 200)
    with pytest.raises(StorageError, match="can be deleted"):
        CodeCache(tmp_path / "codes.sqlite", "")


@pytest.mark.parametrize("fault", ["missing", "other", "broken"])
def test_a_model_without_its_dvae_cannot_be_trained(tiny: Path, tmp_path: Path, fault: str):
    config = read_config(tiny)
    if fault == "other":
        larger = msgspec.structs.replace(config.gpt, num_audio_tokens=66)
        config = msgspec.structs.replace(config, gpt=larger)
        (tmp_path / "dvae.safetensors").write_bytes((tiny / "dvae.safetensors").read_bytes())
    if fault == "broken":
        (tmp_path / "dvae.safetensors").write_bytes(b"nonsense")
    told = {
        "missing": "import it again with `more-server models import`",
        "other": "64 codes",
        "broken": "cannot be read",
    }
    with pytest.raises(ModelError) as caught:
        load_dvae(tmp_path, config, torch.ones(80), CPU)
    assert told[fault] in caught.value.message


# -- reading ahead


def test_what_is_made_ahead_comes_in_order():
    assert list(ahead(lambda number=number: number for number in range(5))) == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        list(ahead([lambda: 1, lambda: 1 // 0]))


def test_recordings_are_read_once(tiny: Path, buzz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one = prepare(tiny, buzz, tmp_path / "codes.sqlite").train[0]
    recordings = Recordings()
    samples = recordings.get(one)
    assert len(samples) == one.samples
    monkeypatch.setattr("more_train.examples.read_clip", lambda _: pytest.fail("read again"))
    assert recordings.get(one) is samples
