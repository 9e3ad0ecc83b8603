"""The recipe of fine-tuning: every setting with its unit and the reason for its default; read from TOML or JSON."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from more_server.errors import BadInput

Recipe = TypeVar("Recipe", bound=msgspec.Struct)
Share = Annotated[float, Meta(ge=0, le=1)]


class FineTune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a speaker is taught to a model; what is 0 by default is chosen by the amount of data."""

    epochs: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Times that every clip is seen; 0: 40 below half an hour of speech, 20 below two hours, else 10."""
    batch_size: Annotated[int, Meta(ge=1, le=1024)] = 4
    """Clips in memory at once, on each device; 2 to 4 is what fits into 16 to 24 GB with XTTS-v2."""
    effective_batch: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Clips behind one step of the weights; 0: a tenth of the data, from batch_size to 252, coqui's advice."""
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 5e-6
    """Highest rate of AdamW; more makes XTTS forget other languages and voices, less takes days."""
    warmup_share: Share = 0.05
    """Share of all steps until that rate: AdamW's averages are unreliable before."""
    final_share: Share = 0.1
    """Of that rate, at the last step: the cosine ends so low that the last steps only settle."""
    weight_decay: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Of matrices alone, per step and rate; coqui's."""
    betas: tuple[Share, Share] = (0.9, 0.96)
    """Memory of AdamW, per step; coqui's."""
    clip: Annotated[float, Meta(ge=0)] = 1.0
    """Largest norm of all gradients together; one odd clip cannot throw the weights. 0: as they are."""
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    """Memory of the weights' running average, per step; that average is what is kept. 0: the weights themselves."""
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """Share of activations left out, as GPT-2 and coqui's trainer have it: few minutes of speech are soon learnt."""
    text_weight: Annotated[float, Meta(ge=0)] = 0.01
    """Of the text loss against the loss of the codes; coqui's."""
    show_text_stop: bool = True
    """Let codes see the text's STOP, as they do when the model serves; coqui's trainer hides it by a mask."""
    train_conditioning: bool = True
    """Train what listens to the reference, too, as coqui does."""
    reference_shares: tuple[Annotated[float, Meta(gt=0)], Annotated[float, Meta(gt=0)]] = (0.75, 1.5)
    """Shortest and longest reference, in the model's own chunks of it: 3 and 6 s for XTTS-v2, as coqui trained it."""
    shortest_seconds: Annotated[float, Meta(ge=0.7)] = 1.0
    """Shorter clips are left out: half of one must still make a reference of 0.35 s."""
    longest_seconds: Annotated[float, Meta(gt=0)] = 15.0
    """Longer clips are left out: memory grows with the longest one, and XTTS heard none beyond 11.6 s."""
    evaluate_epochs: Annotated[float, Meta(gt=0)] = 1.0
    """Epochs between evaluations on the clips held out."""
    patience: Annotated[int, Meta(ge=0)] = 5
    """Evaluations without a better held-out loss after which training ends; 0: it never ends early."""
    save_minutes: Annotated[float, Meta(gt=0)] = 15.0
    """Minutes between checkpoints beside those of evaluations: what a power failure may cost."""
    checkpointing: bool = False
    """Compute activations again on the way back: a third slower, a fraction of the memory."""
    precision: Annotated[str, Meta(pattern="^(auto|fp32|bf16)$")] = "auto"
    """Of products (autocast); auto: bf16 where the device has instructions for it. Weights are kept in fp32."""
    speak: bool = True
    """Speak sentences at each evaluation: the loss does not tell a voice's faults. Takes the model's memory again."""
    samples: tuple[str, ...] = ()
    """Those sentences; none: one ordinary sentence, and one of the texts held out."""
    sample_language: str = ""
    """Language of those sentences; empty: the one that most clips have."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    """Of order, references and dropout: the same seed gives the same weights on the same CPU."""


def read_recipe(path: Path, kind: type[Recipe]) -> Recipe:
    """A recipe out of a .toml or .json file. Raises BadInput naming the setting and what is allowed."""
    try:
        content = path.read_text("utf-8")
        values = msgspec.json.decode(content) if path.suffix == ".json" else tomllib.loads(content)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is neither valid TOML nor, with the ending .json, valid JSON: {error}") from error
    return make_recipe(values, kind, path.name)


def make_recipe(values: Any, kind: type[Recipe], source: str = "the recipe") -> Recipe:
    """A recipe of these values. Raises BadInput naming the setting and what is allowed."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"{source}: {_explained(str(error), kind)}", param=_at_fault(str(error))) from error


def _at_fault(message: str) -> str:
    """`recipe.betas` of a message that ends with the setting's path, or tells a name that is unknown."""
    found = re.search(r"unknown field `([^`]+)|`\$\.([^`\[]+)", message)
    return f"recipe.{found[1] or found[2]}" if found else "recipe"


def _explained(message: str, kind: type[msgspec.Struct]) -> str:
    if "unknown field" not in message:
        return message.replace("`$.", "`")
    unknown, names = message.split("`")[1], kind.__struct_fields__
    nearest = difflib.get_close_matches(unknown, names, n=1, cutoff=0.6)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(names)}"
    return f"{unknown} is no setting of {kind.__name__}; {hint}"
