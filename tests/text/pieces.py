"""The texts of what `split` gives, for tests that look at nothing else."""

from typing import Any

from more_server import text


def split(said: str, language: str, **limits: Any) -> list[str]:
    return [piece.text for piece in text.split(said, language, **limits)]
