"""What numbers the weights are kept in: int8 or bf16 where the device is fast with them, fp32 as the reference."""

import warnings
from collections import deque

import torch
from torch import Tensor, nn

from more_server.errors import SettingsError
from more_server.xtts import kernel
from more_server.xtts.gpt import Gpt, coqui_name, is_transposed
from more_server.xtts.weights import Weights

LARGE = 100_000_000
"""Parameters of a GPT from which `auto` means int8. nano (4 M) is 16 times faster than real time in fp32; XTTS-v2
(390 M) is 1.5 to 2.5 times slower."""


def choose(wanted: str, device: torch.device, parameters: int) -> str:
    """`fp32`, `bf16` or `int8` for a setting, which may be `auto`. Raises SettingsError for int8 where it cannot be."""
    possible = device.type == "cpu" and "fbgemm" in torch.backends.quantized.supported_engines
    if wanted == "int8" and not possible:
        raise SettingsError(f"engine.precision int8 needs an x86-64 CPU, not {device}; set it to auto, bf16 or fp32")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        # Before Ampere neither the products nor the attention that SlotPasses asks for know bf16.
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "int8" if possible and parameters > LARGE else "fp32"


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


def decoder_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Of the generator's weights beside a GPT of this precision.

    In bf16 it is 49 dB above its error (XTTS-v2's sizes, random weights) and takes half the time, where the CPU has
    instructions for it.
    """
    fast = device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if precision != "fp32" and fast else torch.float32


def fill_gpt(gpt: Gpt, weights: Weights, device: torch.device, precision: str) -> kernel.Int8Gpt | None:
    """Fill a GPT without memory of its own from a file that fits it, block by block in its precision.

    Returns the compiled kernel where it takes the blocks. A process that loads XTTS-v2 takes 1.4 GB at its peak so,
    4.0 when all floats were there at once. Raises ModelError for values that are not finite.
    """
    shells = deque(gpt.blocks)
    gpt.blocks = nn.ModuleList()
    gpt.load_state_dict(_read(weights, "", gpt), assign=True)
    gpt.to(device).eval().requires_grad_(False)
    if precision == "bf16":  # the last norms and the head stay: a logit in bf16 has 8 bits
        for part in (gpt.text_embedding, gpt.text_positions, gpt.code_embedding, gpt.code_positions):
            part.to(torch.bfloat16)
    compiled = precision == "int8" and kernel.available() and kernel.supports(gpt.config)
    wanted = "fp32" if compiled else precision
    # A block that was taken is let go of here: the kernel packs it and its floats are gone.
    blocks = (
        _prepared(shells.popleft(), weights, f"blocks.{layer}.", device, wanted) for layer in range(gpt.config.layers)
    )
    if compiled:
        return kernel.Int8Gpt(gpt, blocks)
    gpt.blocks = nn.ModuleList(blocks)
    return None


def _read(weights: Weights, prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's tensors out of the file, where it is a part of `Gpt` under this prefix."""
    names = {name: coqui_name(prefix + name) for name in module.state_dict()}
    theirs = weights.read(names.values())
    tensors = {
        name: theirs[coqui].t().contiguous() if is_transposed(prefix + name) else theirs[coqui]
        for name, coqui in names.items()
    }
    weights.finite("gpt", {prefix + name: tensor for name, tensor in tensors.items()})
    return {name: tensor.float() for name, tensor in tensors.items()}


def _prepared(block: nn.Module, weights: Weights, prefix: str, device: torch.device, precision: str) -> nn.Module:
    block.load_state_dict(_read(weights, prefix, block), assign=True)
    block.eval().requires_grad_(False)
    if precision == "int8":
        for name, module in block.named_children():
            if isinstance(module, nn.Linear):
                setattr(block, name, Int8Linear(module))
    return block.to(device, torch.bfloat16 if precision == "bf16" else torch.float32)
