"""Cache slots: who may write where in the key-value cache."""


class Slots:
    """A fixed number of slots, handed out lowest first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.most = count
        """In use at a time, where somebody has lowered it; those beyond it that are taken come back by themselves."""
        self._free = sorted(range(count), reverse=True)

    @property
    def free(self) -> int:
        return max(0, self.most - self.in_use)

    @property
    def in_use(self) -> int:
        return self.count - len(self._free)

    def acquire(self) -> int | None:
        """One of all there are: who speaks already gets one beyond `most`, too."""
        return self._free.pop() if self._free else None

    def release(self, slot: int) -> None:
        assert slot not in self._free, f"slot {slot} released twice"
        self._free.append(slot)
        self._free.sort(reverse=True)
