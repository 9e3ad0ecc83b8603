"""From judged clips to the lists of a dataset: who speaks, what is held out, what is refused."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from more_train.dataset.clip import SUFFIX
from more_train.dataset.format import CLIP_FOLDER, WORK, Clip, Refused, Split
from more_train.dataset.judge import Candidate, Problem

HELD_OUT_SHARE, MOST_HELD_OUT = 0.05, 100
"""Enough to tell an overtrained voice; more would be missing from training."""
CUT = f"{WORK}/cut"
"""Where clips lie that are in no dataset."""


def speaker_folders(names: Iterable[str]) -> dict[str, str]:
    """A folder's name for every speaker: letters, digits and hyphens, each its own even where letter case is none."""
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        letters = unicodedata.normalize("NFC", name).lower()
        folder = re.sub(r"[\W_]+", "-", letters).strip("-")[:40].strip("-") or "speaker"
        if folder in found.values() or len(folder.encode()) > 80:
            folder = f"{folder[:20]}-{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}"
        found[name] = folder
    return found


def held_out(ids: Sequence[str]) -> frozenset[str]:
    """Clips that no training may see: those whose hash lies in the lowest 5 %, at least one and at most a hundred.

    More clips never move one from training into what is held out, so a model trained on fewer can be compared.
    """
    ranked = sorted(ids, key=_rank)
    count = sum(_rank(name) < HELD_OUT_SHARE for name in ranked)
    return frozenset(ranked[: min(max(count, 1), MOST_HELD_OUT)])


def _rank(name: str) -> float:
    """Between 0 and 1, the same for the same id everywhere."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64


def sorted_out(
    candidates: Sequence[Candidate], problems: Mapping[str, Sequence[Problem]], language: str
) -> tuple[list[Clip], list[Refused]]:
    """Good clips and refused ones, each in the order of their recordings."""
    good = [candidate for candidate in candidates if not problems[candidate.piece.id]]
    apart = held_out([candidate.piece.id for candidate in good]) if good else frozenset()
    kept = [_clip(candidate, language, "held_out" if candidate.piece.id in apart else "train") for candidate in good]
    return kept, [_refused(c, problems[c.piece.id]) for c in candidates if problems[c.piece.id]]


def _clip(candidate: Candidate, language: str, split: Split) -> Clip:
    piece = candidate.piece
    return Clip(
        id=piece.id,
        file=f"{CLIP_FOLDER}/{candidate.speaker}/{piece.id}{SUFFIX}",
        speaker=candidate.speaker,
        language=language,
        text=candidate.text,
        seconds=piece.seconds,
        split=split,
        source=candidate.source,
        start=piece.start,
        end=piece.end,
    )


def _refused(candidate: Candidate, problems: Sequence[Problem]) -> Refused:
    piece = candidate.piece
    return Refused(
        source=candidate.source,
        reasons=tuple(dict.fromkeys(reason for reason, _ in problems)),
        why="; ".join(why for _, why in problems),
        id=piece.id,
        file=f"{CUT}/{piece.id}{SUFFIX}",
        speaker=candidate.speaker,
        text=candidate.text,
        start=piece.start,
        end=piece.end,
    )
