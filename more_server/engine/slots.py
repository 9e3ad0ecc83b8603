"""Cache slots: who may write where in the key-value cache."""


class Slots:
    """A fixed number of slots, handed out lowest first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = sorted(range(count), reverse=True)

    @property
    def free(self) -> int:
        return len(self._free)

    def acquire(self) -> int | None:
        return self._free.pop() if self._free else None

    def release(self, slot: int) -> None:
        assert slot not in self._free, f"slot {slot} released twice"
        self._free.append(slot)
        self._free.sort(reverse=True)
