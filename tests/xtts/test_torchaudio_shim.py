"""Both branches of the stand-in: where torchaudio's extension cannot load, and where it can."""

import subprocess
import sys

import torch

from more_server.xtts import torchaudio_shim

SCRIPT = """
import sys, torch
{prepare}
from more_server.xtts import torchaudio_shim
reason = torchaudio_shim.install()
print(reason)
print(torchaudio_shim.EXTENSION in sys.modules)
{then}
"""


def run(prepare: str, then: str = "") -> list[str]:
    script = SCRIPT.format(prepare=prepare, then=then)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_extension_that_cannot_load_is_replaced() -> None:
    broken = (
        "torch.version.cuda = None\n"
        "def refuse(path): raise OSError('libc10_cuda.so: cannot open shared object file')\n"
        "torch.ops.load_library = refuse"
    )
    use = (
        "import torchaudio\n"
        "print(torchaudio.transforms.MelSpectrogram(n_mels=8)(torch.ones(4000)).shape)\n"
        "try: torchaudio.functional.forced_align(torch.ones(1, 4, 3), torch.ones(1, 2, dtype=torch.int32))\n"
        "except RuntimeError as error: print(error)\n"
        "print(torchaudio_shim.install())"
    )
    reason, replaced, shape, refusal, second = run(broken, use)
    assert "libc10_cuda.so" in reason
    assert replaced == "True"
    assert shape.startswith("torch.Size([8")
    assert refusal == reason
    assert second == "already replaced"


def test_an_extension_that_loads_is_left_alone() -> None:
    reason, replaced = run("torch.version.cuda = None\ntorch.ops.load_library = lambda path: None")
    assert (reason, replaced) == ("None", "False")


def test_beside_a_cuda_torch_nothing_is_tried() -> None:
    refuse = "torch.version.cuda = '13.0'\ndef refuse(path): raise OSError\ntorch.ops.load_library = refuse"
    assert run(refuse) == ["None", "False"]


def test_here() -> None:
    """On whatever machine the tests run, coqui's modules can be had afterwards."""
    torchaudio_shim.install()
    from TTS.tts.layers.xtts.perceiver_encoder import PerceiverResampler

    assert issubclass(PerceiverResampler, torch.nn.Module)
