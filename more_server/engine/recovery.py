"""What becomes of work that fails on the device: out of memory is tried again in halves, the rest one by one."""

from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import TypeVar

import structlog
import torch

from more_server.engine.sequence import Sequence

Result = TypeVar("Result")
Work = Callable[[Many[Sequence]], Many[Result]]
log = structlog.get_logger("more_server.engine")

STEPS_UNTIL_DOUBLED = 200
"""Steps without trouble, some seconds, after which twice as many rows are tried again."""


class Recovery:
    """Runs work for sequences so that one that cannot be done fails alone. Work that fails must leave no trace."""

    def __init__(self, slots: int, free: Callable[[], None]) -> None:
        self.rows = slots
        """Most sequences of a step: halved when memory ran out, doubled when it has not for a while."""
        self._slots = slots
        self._free = free
        self._good_steps = 0

    def run(self, work: Work[Result], sequences: Many[Sequence]) -> list[tuple[Sequence, Result | Exception]]:
        """Each sequence with its result, or with what kept it from having one."""
        if not sequences:
            return []
        try:
            results = list(zip(sequences, work(sequences), strict=True))
        except Exception as error:  # noqa: BLE001 - told to whom it concerns
            if is_out_of_memory(error):
                return self._in_halves(work, sequences, error)
            if len(sequences) == 1:
                return [(sequences[0], error)]
            return [outcome for sequence in sequences for outcome in self.run(work, [sequence])]
        self._good_steps += 1
        if self.rows < self._slots and self._good_steps >= STEPS_UNTIL_DOUBLED:
            self.rows, self._good_steps = min(2 * self.rows, self._slots), 0
        return [*results]

    def retried(self, work: Callable[[], Result]) -> Result:
        """What work that is nobody's row gives, done once more where memory ran out. Raises what it fails with."""
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("out of memory", reason=str(error).partition("\n")[0])
        # Not before the error has gone, whose frames hold the tensors that there was no room for.
        self._free()
        return work()

    def _in_halves(
        self, work: Work[Result], sequences: Many[Sequence], error: Exception
    ) -> list[tuple[Sequence, Result | Exception]]:
        self.rows, self._good_steps = max(1, min(self.rows, len(sequences)) // 2), 0
        log.warning("out of memory", rows=len(sequences), next_rows=self.rows, reason=str(error).partition("\n")[0])
        error.__traceback__ = None  # its frames hold the tensors that there was no room for
        self._free()
        if len(sequences) > 1:
            middle = len(sequences) // 2
            return [*self.run(work, sequences[:middle]), *self.run(work, sequences[middle:])]
        try:
            return [*zip(sequences, work(sequences), strict=True)]
        except Exception as again:  # noqa: BLE001 - told to whom it concerns
            self._free()
            return [(sequences[0], again)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or in the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch's allocator for the host raises a bare RuntimeError ("DefaultCPUAllocator: can't allocate memory"), and so
    # do the libraries that want memory of a GPU for themselves.
    words = ("allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
