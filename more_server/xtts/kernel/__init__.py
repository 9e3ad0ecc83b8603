"""XTTS's GPT-2 in int8 on x86-64 CPUs with AVX-512: all layers for n rows in one call into compiled code.

torch's int8 layers cost as much around them as in them. The compiled part (kernel.c) is built where a compiler is at
hand, and used where the CPU has its instructions and torch runs on GNU's OpenMP; elsewhere `available()` is false.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from more_server.xtts.config import GptConfig
from more_server.xtts.gpt import Gpt
from more_server.xtts.kernel.pack import packed_bytes, write

COMPILED = "more_server.xtts.kernel._compiled"
_Address = ctypes.c_void_p


class _Call(ctypes.Structure):
    """`Call` of kernel.c, field by field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "width", "heads", "codes")),
        ("weights", _Address),
        *((name, ctypes.c_int32) for name in ("slots", "positions")),
        *((name, _Address) for name in ("keys", "values")),
        *((name, ctypes.c_int32) for name in ("rows", "wanted_rows")),
        *((name, _Address) for name in ("slot", "position", "wanted", "hidden", "latents", "logits")),
        ("epsilon", ctypes.c_float),
        ("threads", ctypes.c_int32),
        *((name, _Address) for name in ("scratch", "parallel", "thread_number", "team_size")),
    )


def available() -> bool:
    """Whether the compiled part is there, the CPU has its instructions, and torch runs on GNU's OpenMP."""
    return _library() is not None and _openmp() is not None


def lack() -> str:
    """What keeps the kernel from being available, in words; empty where it is."""
    if find_spec(COMPILED) is None:
        return "not compiled, as there was no C compiler at the installation"
    if _library() is None:
        return "this CPU has no AVX-512 VNNI"
    return "" if _openmp() else "torch does not run on GNU's OpenMP here"


def supports(config: GptConfig) -> bool:
    """Whether a model's sizes fit: width a multiple of 64 up to 16,384, head width a multiple of 16."""
    head_width, left = divmod(config.model_dim, config.heads)
    # 4 * width products of 8-bit numbers are summed in 32 bits.
    return left == 0 and head_width % 16 == 0 and config.model_dim % 64 == 0 and config.model_dim <= 16_384


class Int8Gpt:
    """The layers of a `Gpt`, its last norms and its code head. Used by one thread at a time.

    Weights are int8 with a scale per output channel, those of the code head float32. Activations are quantised row by
    row, so that a row's results are the same to the bit in any company, in any order and on any number of threads.
    """

    def __init__(self, gpt: Gpt, blocks: Iterable[nn.Module] | None = None) -> None:
        """blocks: those of the model, float32, where `gpt` lacks them; one at a time is in memory if they come so.

        Raises RuntimeError where the kernel is not available, ValueError for a model whose sizes it does not support.
        """
        library, openmp, config = _library(), _openmp(), gpt.config
        if library is None or openmp is None:
            raise RuntimeError("the int8 kernel is not available here: see kernel.available")
        if not supports(config):
            raise ValueError(f"width {config.model_dim} and {config.heads} heads: see kernel.supports")
        self._library = library
        self._weights = _huge_pages(packed_bytes(config))
        write(self._weights, gpt, gpt.blocks if blocks is None else blocks)
        self._scratch = torch.empty(0, dtype=torch.uint8)
        self._cache_shape = (config.layers, config.heads, config.model_dim // config.heads)
        self._call = _Call(
            layers=config.layers,
            width=config.model_dim,
            heads=config.heads,
            codes=config.num_audio_tokens,
            weights=self._weights.data_ptr(),
            epsilon=gpt.ln_f.eps,
        )
        self._call.parallel, self._call.thread_number, self._call.team_size = openmp

    def forward(
        self,
        hidden: Tensor,
        slots: Sequence[int],
        positions: Sequence[int],
        keys: Tensor,
        values: Tensor,
        wanted: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """Run n rows through all layers; row i is at positions[i] of slots[i] and sees all up to itself there.

        Prompts are many rows of one slot, speaking on is one row of each: both are the same, and mix. Keys and values
        of all rows are written before any row looks.

        hidden: embeddings (n, width), float32. keys, values: (layers, slots, heads, positions, head width), float16.
        wanted: the rows whose outputs are needed. Returns their latents (m, width) and code logits (m, codes).
        Raises ValueError for arguments that do not fit. What is not finite goes in and comes out.
        """
        self._check(hidden, slots, positions, keys, values, wanted)
        call, rows, width = self._call, len(slots), self._call.width
        hidden = hidden.detach().clone(memory_format=torch.contiguous_format)
        latents, logits = torch.empty(len(wanted), width), torch.empty(len(wanted), call.codes)
        numbers = (ctypes.c_int32 * (2 * rows + len(wanted)))(*slots, *positions, *wanted)
        call.slots, call.positions = keys.shape[1], keys.shape[3]
        call.keys, call.values = keys.data_ptr(), values.data_ptr()
        call.rows, call.wanted_rows = rows, len(wanted)
        call.slot = ctypes.addressof(numbers)
        call.position, call.wanted = call.slot + 4 * rows, call.slot + 8 * rows
        call.hidden, call.latents, call.logits = hidden.data_ptr(), latents.data_ptr(), logits.data_ptr()
        call.threads = torch.get_num_threads()
        needed = self._library.gpt_scratch_bytes(call)
        if needed > len(self._scratch):
            self._scratch = torch.empty(needed, dtype=torch.uint8)
        call.scratch = self._scratch.data_ptr()
        self._library.gpt_forward(call)
        return latents, logits

    def _check(
        self,
        hidden: Tensor,
        slots: Sequence[int],
        positions: Sequence[int],
        keys: Tensor,
        values: Tensor,
        wanted: Sequence[int],
    ) -> None:
        layers, heads, head_width = self._cache_shape
        rows, width = len(slots), heads * head_width
        if hidden.shape != (rows, width) or hidden.dtype != torch.float32 or hidden.device.type != "cpu":
            raise ValueError(f"hidden must be ({rows}, {width}) in float32 on the CPU, not {_described(hidden)}")
        for name, kept in (("keys", keys), ("values", values)):
            fits = kept.ndim == 5 and kept.shape == (layers, keys.shape[1], heads, keys.shape[3], head_width)
            plain = kept.dtype == torch.float16 and kept.is_contiguous() and kept.device.type == "cpu"
            if not (fits and plain):
                wish = f"({layers}, slots, {heads}, positions, {head_width}) in float16, contiguous, on the CPU"
                raise ValueError(f"{name} must be {wish}, not {_described(kept)}")
        _check_range("slot", slots, keys.shape[1])
        _check_range("position", positions, keys.shape[3])
        _check_range("wanted row", wanted, rows)
        if len(positions) != rows or len(set(zip(slots, positions, strict=True))) != rows:
            raise ValueError(f"{rows} rows at {len(positions)} positions: each needs a place of its own")


def _described(tensor: Tensor) -> str:
    layout = "contiguous" if tensor.is_contiguous() else "with strides"
    return f"{tuple(tensor.shape)} in {str(tensor.dtype).removeprefix('torch.')}, {layout}, on {tensor.device}"


def _check_range(what: str, numbers: Sequence[int], end: int) -> None:
    if len(numbers) and not 0 <= min(numbers) <= max(numbers) < end:
        raise ValueError(f"{what} {min(numbers)} to {max(numbers)}: must lie between 0 and {end - 1}")


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled part, where it was built and the CPU has its instructions."""
    spec = find_spec(COMPILED)
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    if not library.gpt_supported():
        return None
    library.gpt_forward.argtypes = library.gpt_scratch_bytes.argtypes = (ctypes.POINTER(_Call),)
    library.gpt_forward.restype, library.gpt_scratch_bytes.restype = None, ctypes.c_size_t
    return library


@cache
def _openmp() -> tuple[int, ...] | None:
    """Addresses of GOMP_parallel, omp_get_thread_num and omp_get_num_threads in the library that torch runs on.

    In that very library: the threads of a second one would fight torch's for the cores, 8 ms an operation.
    """
    if sys.platform != "linux":
        return None
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libgomp" in line}
    torchs = [path for path in mapped if Path(path).is_relative_to(Path(torch.__file__).parent.parent)]
    found = torchs or list(mapped)
    if len(found) != 1:
        return None
    library = ctypes.CDLL(found[0], mode=os.RTLD_NOLOAD)
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    return tuple(ctypes.cast(library[name], _Address).value or 0 for name in names)


def _huge_pages(size: int) -> Tensor:
    """Memory (size,) in pages of 2 MB where there are such: two threads read 50 GB/s from them, 32 from 4 KB pages."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
