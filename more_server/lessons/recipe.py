"""What a training is asked for."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class TrainJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fine-tuning: a model learns the voices of a dataset."""

    dataset: str
    """Name of a dataset of this server."""
    model: str = ""
    """Id of the model to begin with, which must be trainable; empty: the one that serves."""
    name: str = ""
    """Id of the new model; empty: the dataset's name, or that and a number."""
    recipe: dict[str, Any] = {}
    """Settings of the recipe, such as `epochs` and `learning_rate`; those left out have their own defaults."""
    device: Annotated[str, Meta(max_length=20)] = "auto"
    """`cpu`, `cuda`, `cuda:1` …; `auto` takes a GPU where one answers."""
    precision: Literal["fp16", "fp32"] = "fp16"
    """How the new model is stored; fp16 takes half the room."""
    evaluate: bool = False
    """Judge the new model by what it says of the clips held out, before it is kept; the report is a result."""
    load: bool = True
    """Load the new model beside the one that serves when it is done, where memory allows, so that it can be tried."""
