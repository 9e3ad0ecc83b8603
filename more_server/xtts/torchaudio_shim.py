"""A stand-in for torchaudio's compiled extension, where that cannot load."""

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

EXTENSION = "torchaudio._extension"


def install() -> str | None:
    """Make `import torchaudio` work beside a CPU-only torch; call before anything of coqui is imported.

    The package index has torchaudio 2.11.0 only as a CUDA build: its extension wants libc10_cuda.so
    and fails at import beside a CPU torch. XTTS uses mel spectrograms alone, which are plain torch.

    Returns the reason for the stand-in, or None where torchaudio's own extension works.
    """
    if EXTENSION in sys.modules:
        return None if hasattr(sys.modules[EXTENSION], "_load_lib") else "already replaced"
    if torch.version.cuda is not None:
        return None
    reason = _loading_error()
    if reason is not None:
        sys.modules[EXTENSION] = _stand_in(reason)
    return reason


def _loading_error() -> str | None:
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        return None
    for library in sorted((Path(spec.origin).parent / "lib").glob("_torchaudio*")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError as error:
            return f"torchaudio's extension cannot load beside a CPU-only torch: {error}"
    return None


def _stand_in(reason: str) -> types.ModuleType:
    def fail(_function: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*_args: Any, **_kwargs: Any) -> None:
            raise RuntimeError(reason)

        return refuse

    module = types.ModuleType(EXTENSION, doc=reason)
    vars(module).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, fail_if_no_align=fail, _check_cuda_version=lambda: None)
    return module
