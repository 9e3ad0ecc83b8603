"""Numbers that a CPU is fast with: int8 weights for the GPT, bf16 for the decoder."""

import warnings

import torch
from torch import Tensor, nn

from more_server.errors import SettingsError
from more_server.xtts.gpt import Gpt

LARGE = 100_000_000
"""Parameters of a GPT from which `auto` means int8. nano (4 M) is 16 times faster than real time in fp32; XTTS-v2
(390 M) is 1.5 to 2.5 times slower."""


def choose(wanted: str, device: torch.device, parameters: int) -> str:
    """`fp32` or `int8` for a setting of `auto`, `fp32` or `int8`. Raises SettingsError for int8 where it cannot be."""
    possible = device.type == "cpu" and "fbgemm" in torch.backends.quantized.supported_engines
    if wanted == "int8" and not possible:
        raise SettingsError(f"engine.precision int8 needs an x86-64 CPU, not {device}; set it to auto or fp32")
    if wanted == "auto":
        return "int8" if possible and parameters > LARGE else "fp32"
    return wanted


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale per output channel, and activations quantised per row.

    fbgemm's dynamic kernel takes one activation scale for a whole batch, so that a neighbour would change a row.
    Here every row is scaled to a largest magnitude of one and a last row holding -1 and +1 fixes the kernel's
    scale; integer sums are exact, so each row depends on itself alone. Relative error 1.1 % with 8 bits of
    activation, 1.8 % with 7.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        zeros = torch.zeros_like(scales, dtype=torch.long)
        torch.backends.quantized.engine = "fbgemm"
        with warnings.catch_warnings():
            # A later torch will drop this type; the pin is torch 2.13. oneDNN's qlinear_pointwise, which is to stay,
            # refused every combination of types tried on an AVX-512 machine.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions", category=UserWarning)
            quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(quantised, None)
        # Without VNNI the kernel adds pairs of products in 16 bits, which 8 bits of activation can overflow.
        self._reduce_range = not torch.cpu.get_capabilities().get("avx512_vnni", False)
        self.bias = linear.bias
        self.bounds: Tensor
        self.register_buffer("bounds", torch.zeros(1, linear.in_features))
        self.bounds[0, :2] = torch.tensor([-1.0, 1.0])

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (n, in) to (n, out)."""
        scales = rows.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
        bounded = torch.cat([rows / scales, self.bounds])
        products: Tensor = torch.ops.quantized.linear_dynamic(bounded, self._packed, self._reduce_range)
        return torch.addcmul(self.bias, products[:-1], scales)


def to_int8(gpt: Gpt, generator: nn.Module) -> None:
    """Replace the GPT's block weights by int8 and the generator's by bf16, where the CPU has instructions for it.

    The decoder in bf16 is 49 dB above its error (XTTS-v2's sizes, random weights) and takes half the time.
    """
    for block in gpt.blocks:
        for name, module in block.named_children():
            if isinstance(module, nn.Linear):
                setattr(block, name, Int8Linear(module))
    if torch.cpu.get_capabilities().get("avx512_bf16", False):
        generator.to(torch.bfloat16)
