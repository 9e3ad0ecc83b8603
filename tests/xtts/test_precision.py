"""int8 on the CPU: close to fp32, and no row sees its neighbours."""

from pathlib import Path

import pytest
import torch
from torch import nn

from more_server.errors import SettingsError
from more_server.xtts.gpt import KvCache
from more_server.xtts.load import load
from more_server.xtts.precision import LARGE, Int8Linear, choose

CPU = torch.device("cpu")
needs_int8 = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="int8 needs an x86-64 CPU"
)


@pytest.fixture(scope="module")
def layer() -> Int8Linear:
    torch.manual_seed(0)
    return Int8Linear(nn.Linear(256, 384))


@needs_int8
@torch.inference_mode()
def test_a_row_is_the_same_alone_and_beside_rows_of_any_size(layer: Int8Linear) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(9, 256, generator=generator) * torch.logspace(-6, 6, 9)[:, None]
    together = layer(rows)
    for index in range(len(rows)):
        assert torch.equal(layer(rows[index : index + 1])[0], together[index])


@needs_int8
@torch.inference_mode()
def test_the_error_is_that_of_eight_bits() -> None:
    torch.manual_seed(2)
    linear = nn.Linear(1024, 512)
    rows = torch.randn(16, 1024)
    exact = linear(rows)
    # 1.1 % measured with 8 bits of activation, 1.8 % with the 7 of CPUs without VNNI.
    assert float((Int8Linear(linear)(rows) - exact).norm() / exact.norm()) < 0.025


@needs_int8
@torch.inference_mode()
def test_rows_of_zeros(layer: Int8Linear) -> None:
    assert torch.equal(layer(torch.zeros(2, 256)), layer.bias.expand(2, -1))


@needs_int8
@torch.inference_mode()
def test_the_whole_model_stays_close() -> None:
    """nano's latents over thirty codes, and its audio from the same latents."""
    exact, fast = load(Path("models/nano"), CPU), load(Path("models/nano"), CPU, "int8")
    assert (exact.precision, fast.precision) == ("fp32", "int8")
    conditioning = torch.randn(32, 256, generator=torch.Generator().manual_seed(3))
    latents = []
    for model in (exact, fast):
        cache = KvCache(model.config.gpt, 1, CPU, torch.float32)
        found = [model.gpt.prefill(conditioning, (3, 12, 9, 15), cache, 0)]
        length = model.gpt.prompt_length(conditioning, (3, 12, 9, 15))
        for position in range(1, 31):
            found.append(model.gpt.step([position * 7 % 500], [position], [length], cache, [0])[0])
            length += 1
        latents.append(torch.stack(found))
    assert float((latents[0] - latents[1]).norm() / latents[0].norm()) < 0.05
    embedding = torch.nn.functional.normalize(torch.ones(512), dim=0)
    whole = exact.decoder.decode(latents[0], embedding)
    error = whole - fast.decoder.decode(latents[0], embedding).float()
    assert float(10 * torch.log10(whole.square().sum() / error.square().sum())) > 30


@needs_int8
def test_auto_is_int8_for_large_models_alone() -> None:
    assert choose("auto", CPU, LARGE + 1) == "int8"
    assert choose("auto", CPU, LARGE) == "fp32"
    assert choose("fp32", CPU, LARGE + 1) == "fp32"
    assert choose("int8", CPU, 1) == "int8"


def test_int8_elsewhere_is_refused_in_words() -> None:
    assert choose("auto", torch.device("cuda"), LARGE + 1) == "fp32"
    with pytest.raises(SettingsError, match=r"engine\.precision int8 needs an x86-64 CPU"):
        choose("int8", torch.device("cuda"), 1)
