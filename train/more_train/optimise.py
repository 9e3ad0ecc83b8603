"""Steps of training: AdamW, Muon for chosen matrices, warm-up and cosine, clipped gradients, a running average.

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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from more_server.errors import ModelError, MoreError
from more_train.muon import MOMENTUM, Muon

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


class Matrices(NamedTuple):
    """Parameters that Muon moves instead of AdamW."""

    names: tuple[str, ...]
    """What theirs begin with; of those, the ones of two dimensions."""
    rate: float
    """Muon's learning rate at its highest."""

    def among(self, values: Mapping[str, Tensor]) -> list[Tensor]:
        """Those of a module's parameters by name."""
        return [value for name, value in values.items() if value.dim() == 2 and name.startswith(self.names)]


@dataclass(frozen=True)
class Update:
    """What one step did."""

    rate: float
    norm: float
    """Of all gradients together, before they were clipped."""


class Optimiser:
    """Moves the parameters of a module that want gradients, and keeps their running average."""

    def __init__(self, module: nn.Module, settings: Optimisation, matrices: Matrices | None = None) -> None:
        """matrices: what Muon moves, and AdamW does not."""
        self.module, self.settings = module, settings
        self.steps = 0
        """Done so far."""
        self._trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        turned = matrices.among(self._trained) if matrices else []
        self._turned = {id(value) for value in turned}
        plain = groups(module, settings.weight_decay, self._turned)
        self._adam = torch.optim.AdamW(plain, lr=settings.learning_rate, betas=settings.betas, fused=True)
        self._rates: list[tuple[torch.optim.Optimizer, float]] = [(self._adam, settings.learning_rate)]
        if matrices:
            self._muon = Muon(turned, matrices.rate, settings.weight_decay)
            self._rates.append((self._muon, matrices.rate))
        self._average = [value.detach().clone() for value in self._trained.values()] if settings.average else []
        self._memory = self._prime()

    def _prime(self) -> dict[str, Tensor]:
        """Make both memories now: what does not fit is to be known before the first step."""
        memory = dict[str, Tensor]()
        for name, value in self._trained.items():
            owner, kinds = (self._muon, (MOMENTUM,)) if id(value) in self._turned else (self._adam, MOMENTS)
            kept = {kind: torch.zeros_like(value) for kind in kinds}
            memory |= {f"{name}.{kind}": tensor for kind, tensor in kept.items()}
            owner.state[value] = kept
            if owner is self._adam:
                kept["step"] = torch.zeros((), dtype=torch.float32, device=value.device)
        return memory

    def step(self) -> Update:
        """Use the gradients, and drop them. Raises Diverged, with nothing changed, where they are not finite."""
        gradients = [value.grad for value in self._trained.values() if value.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not math.isfinite(size := float(norm)):
            raise Diverged(f"the gradients of step {self.steps + 1} are no finite numbers")
        if self.settings.clip:
            torch.nn.utils.clip_grads_with_norm_(self._trained.values(), self.settings.clip, norm)
        share = schedule(self.steps, self.settings)
        for optimiser, highest in self._rates:
            for group in optimiser.param_groups:
                group["lr"] = highest * share
            optimiser.step()
        for value in self._trained.values():
            value.grad = None
        self.steps += 1
        self._follow()
        return Update(self.settings.learning_rate * share, size)

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
        return {
            "weights": weights,
            "ema": {**weights, **average},
            "optimiser": {"steps": torch.tensor(self.steps), **self._memory},
        }

    @torch.no_grad()
    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from a checkpoint. Raises ModelError where its tensors are another module's."""
        try:
            moments = parts["optimiser"]
            self.module.load_state_dict(parts["weights"])
            for name, average in zip(self._trained, self._average, strict=bool(self._average)):
                average.copy_(parts["ema"][name])
            for name, kept in self._memory.items():
                kept.copy_(moments[name])
            self._set_steps(int(moments["steps"]))
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"the checkpoint does not fit what is trained: {error}") from error

    def share(self, same: Callable[[Iterable[Tensor]], None]) -> None:
        """Make all that is kept alike in processes that train together; same: does that to tensors."""
        steps = torch.tensor([self.steps])
        same([*self.module.state_dict().values(), *self._average, *self._memory.values(), steps])
        self._set_steps(int(steps))

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        for state in self._adam.state.values():
            state["step"].fill_(steps)


def schedule(step: int, settings: Optimisation) -> float:
    """Share of the learning rate at a step, counted from 0: up in a line, then down along half a cosine."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    length = max(1, settings.total_steps - settings.warmup_steps)
    share = min(1.0, (step - settings.warmup_steps) / length)
    return settings.final_share + (1 - settings.final_share) * (1 + math.cos(math.pi * share)) / 2


def groups(module: nn.Module, weight_decay: float, without: Collection[int] = ()) -> list[dict[str, object]]:
    """Parameters that want gradients, in those that decay and those that do not: norms, biases, embeddings.

    without: ids of parameters that are in neither.
    """
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for owner in module.modules():
        for name, value in owner.named_parameters(recurse=False):
            if not value.requires_grad or id(value) in without:
                continue
            may_shrink = name in DECAYED and value.dim() > 1 and not isinstance(owner, KEPT_WHOLE)
            (decayed if may_shrink else kept).append(value)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
