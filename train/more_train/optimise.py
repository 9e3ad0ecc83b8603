"""Steps of training: AdamW with warm-up and cosine, clipped gradients, and the running average that is kept.

optimiser = Optimiser(module, Optimisation(learning_rate=5e-6, total_steps=2_000, warmup_steps=50))
for step in range(optimiser.steps, 2_000):
    loss(step).backward()
    update = optimiser.step()       # gradients are clipped, used and gone; Diverged where they are no numbers
with optimiser.averaged():          # the module holds the running average of its weights
    evaluate(module)
run.save(Checkpoint(optimiser.steps, optimiser.parts()))
optimiser.load(checkpoint.parts)    # and the next step gives the bits that it would have given
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor, nn

from more_server.errors import ModelError, MoreError

DECAYED = ("weight", "original1")
"""The last part of names of parameters that may shrink; original1 is the direction of a weight-normed one."""
KEPT_WHOLE = (nn.Embedding, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
MOMENTS = ("exp_avg", "exp_avg_sq")


class Diverged(MoreError):
    """A loss or a gradient is no number any more."""


class Optimisation(msgspec.Struct, frozen=True, kw_only=True):
    """How weights move."""

    learning_rate: float
    """At its highest."""
    total_steps: int
    warmup_steps: int = 0
    """Steps until the highest rate, from nearly none."""
    final_share: float = 0.1
    """Of the rate, at the last step."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.96)
    clip: float = 1.0
    """Largest norm of all gradients together; 0: as they are."""
    average: float = 0.999
    """How slowly the running average follows; 0: it is the weights themselves."""


@dataclass(frozen=True)
class Update:
    """What one step did."""

    rate: float
    norm: float
    """Of all gradients together, before they were clipped."""


class Optimiser:
    """Moves the parameters of a module that want gradients, and keeps their running average."""

    def __init__(self, module: nn.Module, settings: Optimisation) -> None:
        self.module, self.settings = module, settings
        self.steps = 0
        """Done so far."""
        self._trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._adam = torch.optim.AdamW(
            groups(module, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas, fused=True
        )
        self._average = [value.detach().clone() for value in self._trained.values()] if settings.average else []
        self._prime()

    def _prime(self) -> None:
        """Make AdamW's memory now: what does not fit is to be known before the first step."""
        for value in self._trained.values():
            step = torch.zeros((), dtype=torch.float32, device=value.device)
            self._adam.state[value] = {"step": step, **{name: torch.zeros_like(value) for name in MOMENTS}}

    def step(self) -> Update:
        """Use the gradients, and drop them. Raises Diverged, with nothing changed, where they are not finite."""
        gradients = [value.grad for value in self._trained.values() if value.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not math.isfinite(size := float(norm)):
            raise Diverged(f"the gradients of step {self.steps + 1} are no finite numbers")
        if self.settings.clip:
            torch.nn.utils.clip_grads_with_norm_(self._trained.values(), self.settings.clip, norm)
        rate = self.settings.learning_rate * schedule(self.steps, self.settings)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        self.steps += 1
        self._follow()
        return Update(rate, size)

    @torch.no_grad()
    def _follow(self) -> None:
        if self._average:
            # A young average follows fast, or a short training would end where it began.
            decay = min(self.settings.average, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self._average, list(self._trained.values()), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The module holds the running average of its weights; afterwards its own again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for value, average in zip(self._trained.values(), self._average, strict=bool(self._average)):
            value.data, average.data = average.data, value.data

    # -- keeping

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Parts of a checkpoint: `weights` and `ema`, each by the module's own names, and `optimiser`. Not copies."""
        weights = self.module.state_dict()
        average = dict(zip(self._trained, self._average, strict=True)) if self._average else {}
        moments = {
            f"{name}.{moment}": self._adam.state[value][moment]
            for name, value in self._trained.items()
            for moment in MOMENTS
        }
        return {
            "weights": weights,
            "ema": {**weights, **average},
            "optimiser": {"steps": torch.tensor(self.steps), **moments},
        }

    @torch.no_grad()
    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from a checkpoint. Raises ModelError where its tensors are another module's."""
        try:
            moments = parts["optimiser"]
            self.module.load_state_dict(parts["weights"])
            for name, average in zip(self._trained, self._average, strict=bool(self._average)):
                average.copy_(parts["ema"][name])
            for name, value in self._trained.items():
                for moment in MOMENTS:
                    self._adam.state[value][moment].copy_(moments[f"{name}.{moment}"])
            self._set_steps(int(moments["steps"]))
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"the checkpoint does not fit what is trained: {error}") from error

    def share(self, same: Callable[[Iterable[Tensor]], None]) -> None:
        """Make all that is kept alike in processes that train together; same: does that to tensors."""
        steps = torch.tensor([self.steps])
        moments = [self._adam.state[value][moment] for value in self._trained.values() for moment in MOMENTS]
        same([*self.module.state_dict().values(), *self._average, *moments, steps])
        self._set_steps(int(steps))

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        for value in self._trained.values():
            self._adam.state[value]["step"].fill_(steps)


def schedule(step: int, settings: Optimisation) -> float:
    """Share of the learning rate at a step, counted from 0: up in a line, then down along half a cosine."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    length = max(1, settings.total_steps - settings.warmup_steps)
    share = min(1.0, (step - settings.warmup_steps) / length)
    return settings.final_share + (1 - settings.final_share) * (1 + math.cos(math.pi * share)) / 2


def groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameters that want gradients, in those that decay and those that do not: norms, biases, embeddings."""
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for owner in module.modules():
        for name, value in owner.named_parameters(recurse=False):
            if not value.requires_grad:
                continue
            may_shrink = name in DECAYED and value.dim() > 1 and not isinstance(owner, KEPT_WHOLE)
            (decayed if may_shrink else kept).append(value)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
