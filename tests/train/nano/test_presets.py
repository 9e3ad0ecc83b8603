"""Settings: presets that fit together, and a file whose every name must be one."""

from pathlib import Path

import pytest
from more_train.nano.presets import PRESETS, choose, read
from more_train.nano.serving import xtts_config

from more_server.errors import BadInput
from more_server.xtts.layout import expected_shapes


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fits_itself(preset: str):
    assert choose(preset) == PRESETS[preset]()


def test_a_file_changes_what_it_names(tmp_path: Path):
    path = tmp_path / "nano.toml"
    path.write_text('preset = "smoke"\nseed = 7\n[gpt]\nlayers = 4\n[gpt.optimisation]\ntotal_steps = 9\n')
    nano = read(path)
    assert (nano.seed, nano.gpt.layers, nano.gpt.optimisation.total_steps, nano.gpt.width) == (7, 4, 9, 64)
    assert read(path, "small").gpt.width == 256


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sead = 7", "did you mean seed?"),
        ("[gpt]\nlayer = 3", "did you mean gpt.layers?"),
        ("[gpt.optimisation]\nlearning_rat = 1.0", "did you mean gpt.optimisation.learning_rate?"),
        ("[gpt]\nlayers = 0", "gpt.layers"),
        ('preset = "huge"', "there are: smoke, small, full"),
        ('languages = ["en", "fr"]', "not of fr"),
        ("[gpt]\nwidth = 100", "gpt.width"),
        ("[decoder]\nfactors = [8, 8]", "256"),
        ("seed = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, told: str):
    path = tmp_path / "nano.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"nano\.toml") as failure:
        read(path)
    assert told in failure.value.message


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(BadInput, match=r"absent\.toml"):
        read(tmp_path / "absent.toml")


@pytest.mark.parametrize(("preset", "most"), [("small", 30), ("full", 48)])
def test_the_model_is_small_enough_to_commit(preset: str, most: int):
    """At two bytes a value, and the DVAE beside it, whose convolutions are the size of its own settings."""
    nano = choose(preset)
    values = sum(torch_size(shape) for shape in expected_shapes(xtts_config(nano)).values())
    inner = 2 * nano.dvae.hidden
    dvae = 4 * nano.dvae.blocks // 2 * 7 * inner**2 + 12 * inner**2 + 2 * nano.dvae.codes * nano.dvae.width
    assert (values + dvae) * 2 / 2**20 < most


def torch_size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
