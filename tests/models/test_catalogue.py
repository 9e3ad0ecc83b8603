"""What is here, which one serves, and what may go."""

import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from more_server.errors import ModelError, ModelNotFound, StorageError
from more_server.files import locked
from more_server.models import (
    DEFAULT_MODEL,
    ModelInfo,
    check_model,
    find_model,
    list_models,
    remove,
    serving_model,
    use,
)
from more_server.models.ids import check_id
from more_server.settings import Settings, bundled_dir
from more_server.xtts.layout import read_header

NANO = bundled_dir() / "models" / DEFAULT_MODEL


def add(settings: Settings, name: str) -> Path:
    """Another model: nano under a new name."""
    return Path(shutil.copytree(NANO, settings.model_dirs[0] / name))


def by_id(settings: Settings) -> dict[str, ModelInfo]:
    return {info.id: info for info in list_models(settings)}


def test_the_bundled_model_is_listed_and_serves(settings: Settings) -> None:
    (nano,) = list_models(settings)
    assert (nano.id, nano.languages, nano.licence, nano.problem) == ("nano", ("en",), "Apache-2.0", "")
    assert nano.bundled
    assert nano.serving
    assert nano.trainable
    assert nano.size_bytes > 20_000_000
    assert nano.parameters == 9_133_749
    assert serving_model(settings) == NANO
    check_model(NANO)


def test_listing_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from more_server.settings import Settings;"
        "import more_server.models as m;"
        f"print(m.list_models(Settings(data_dir=Path({str(tmp_path)!r})))[0].id, 'torch' in sys.modules,"
        "'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["nano", "False", "False"]


def test_broken_folders_are_listed_with_their_problem(settings: Settings) -> None:
    cut = add(settings, "cut") / "model.safetensors"
    os.truncate(cut, cut.stat().st_size - 10)
    (add(settings, "headless") / "model.safetensors").write_bytes(b"\xff" * 100)
    (add(settings, "weightless") / "model.safetensors").unlink()
    (settings.model_dirs[0] / "empty").mkdir()
    (add(settings, "wordless") / "vocab.json").write_text('{"model": {"vocab": {"a": 99}}}')
    larger = add(settings, "larger") / "config.json"
    larger.write_text(larger.read_text().replace('"layers": 5', '"layers": 6'))
    add(settings, "good")
    (settings.model_dirs[0] / ".hidden").mkdir()
    problems = {model: info.problem for model, info in by_id(settings).items()}
    assert problems.keys() == {"cut", "empty", "good", "headless", "larger", "nano", "weightless", "wordless"}
    assert problems["good"] == problems["nano"] == ""
    assert "cut off" in problems["cut"]
    assert "not a complete safetensors file" in problems["headless"]
    assert "model.safetensors cannot be read" in problems["weightless"]
    assert "config.json cannot be read" in problems["empty"]
    assert "id 99" in problems["wordless"]
    assert "gpt.gpt.h.5.ln_1.weight is missing" in problems["larger"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x02\0\0\0\0\0\0\0{}junk",
        b'\x0a\0\0\0\0\0\0\0{"a":true}',
        b"\x00\0\0\0\0\0\0\x80{}",
    ],
)
def test_broken_headers_are_problems_not_crashes(settings: Settings, content: bytes) -> None:
    (add(settings, "broken") / "model.safetensors").write_bytes(content)
    assert "model.safetensors" in by_id(settings)["broken"].problem


def test_use_is_kept_and_settings_go_first(settings: Settings) -> None:
    path = add(settings, "other")
    assert use(settings, "other").serving
    assert serving_model(settings) == path
    assert [info.id for info in list_models(settings) if info.serving] == ["other"]
    pinned = msgspec.structs.replace(settings, model="nano")
    assert serving_model(pinned) == NANO
    with pytest.raises(ModelError, match="set it to `auto` first"):
        use(pinned, "other")
    assert use(settings, "nano").id == "nano"
    assert serving_model(settings) == NANO
    assert sorted(path.name for path in settings.model_dirs[0].glob("[!.]*")) == ["other", "serving"]


def test_use_refuses_a_broken_model(settings: Settings) -> None:
    (add(settings, "broken") / "vocab.json").unlink()
    with pytest.raises(ModelError, match=r"vocab\.json"):
        use(settings, "broken")
    assert serving_model(settings) == NANO


def test_unknown_models_say_what_exists(settings: Settings) -> None:
    with pytest.raises(ModelNotFound, match="here are: nano") as caught:
        find_model(settings, "../nano")
    assert caught.value.param == "model"
    with pytest.raises(ModelNotFound, match=r"'gone' \(settings\.model\) is not here; here are: nano"):
        serving_model(msgspec.structs.replace(settings, model="gone"))
    with pytest.raises(ModelNotFound):
        use(settings, "gone")
    path = add(settings, "other")
    use(settings, "other")
    shutil.rmtree(path)
    with pytest.raises(ModelNotFound, match="more-server models use"):
        serving_model(settings)


def test_remove(settings: Settings) -> None:
    path = add(settings, "other")
    remove(settings, "other")
    assert not path.exists()
    assert list(settings.model_dirs[0].glob(".other*")) == []
    with pytest.raises(ModelNotFound):
        remove(settings, "other")


def test_what_may_not_be_removed(settings: Settings) -> None:
    add(settings, "other")
    use(settings, "other")
    with pytest.raises(ModelError, match="more-server models use nano"):
        remove(settings, "other")
    use(settings, "nano")
    with pytest.raises(ModelError, match="part of the server"):
        remove(settings, "nano")
    with pytest.raises(ModelError, match="cannot be a model's name"):
        remove(settings, "../models/other")
    assert NANO.is_dir()
    assert by_id(settings).keys() == {"nano", "other"}


def test_in_a_checkout_only_nano_is_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the writable folder and the shipped one are the same."""
    shutil.copytree(NANO, tmp_path / "models" / "nano")
    shutil.copytree(NANO, tmp_path / "models" / "fetched")
    monkeypatch.setattr("more_server.settings.bundled_dir", lambda: tmp_path)
    monkeypatch.setattr("more_server.models.catalogue.bundled_dir", lambda: tmp_path)
    settings = Settings(data_dir=tmp_path)
    assert {model: info.bundled for model, info in by_id(settings).items()} == {"nano": True, "fetched": False}
    remove(settings, "fetched")
    with pytest.raises(ModelError, match="part of the server"):
        remove(settings, "nano")


def test_a_damaged_choice_says_how_to_mend_it(settings: Settings) -> None:
    settings.model_dirs[0].mkdir(parents=True)
    (settings.model_dirs[0] / "serving").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="delete it to return to nano"):
        serving_model(settings)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/a", ".x", "-x", "a b", "é", "a" * 65, "auto", "serving"]
)
def test_names(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        check_id(name)
    assert check_id("my-Voice_2.1") == "my-Voice_2.1"


def _hold(
    settings: Settings, held: "multiprocessing.synchronize.Event", end: "multiprocessing.synchronize.Event"
) -> None:
    with locked(settings.model_dirs[0] / "x"):
        held.set()
        end.wait(30)


def test_a_second_process_is_refused(settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    held, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(settings, held, end))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(StorageError, match=r"another process is writing .*x"), locked(settings.model_dirs[0] / "x"):
            pass
        with locked(settings.model_dirs[0] / "y"):
            pass
    finally:
        other.kill()
        other.join()
    with locked(settings.model_dirs[0] / "x"):
        pass  # a killed holder holds nothing


def test_the_listing_is_plain_data(settings: Settings) -> None:
    text = msgspec.json.encode(list_models(settings), enc_hook=str)
    assert json.loads(text)[0]["id"] == "nano"


def _part(name: str) -> str:
    prefixes = {
        "gpt.gpt.": "blocks",
        "gpt.final_norm.": "blocks",
        "gpt.conditioning_": "conditioning",
        "hifigan_decoder.waveform_decoder.": "decoder",
        "hifigan_decoder.speaker_encoder.": "speaker encoder",
        "gpt.": "embeddings and heads",
        "": "mel statistics",
    }
    return next(part for prefix, part in prefixes.items() if name.startswith(prefix))


def test_nanos_card_tells_its_sizes() -> None:
    sizes: Counter[str] = Counter()
    for name, tensor in read_header(NANO / "model.safetensors").items():
        sizes[_part(name)] += math.prod(tensor.shape)
    statistics = ("discrete_loss.", "codebook.cluster_size", "codebook.embed_avg")
    dvae = read_header(NANO / "dvae.safetensors").items()
    sizes["dvae"] = sum(math.prod(tensor.shape) for name, tensor in dvae if not name.startswith(statistics))
    card = (NANO / "README.md").read_text()
    assert [part for part, size in sizes.items() if f"| {size:,} |" not in card] == []
