"""Phrases of each language that the corpus makes sentences of."""

from collections.abc import Mapping
from types import MappingProxyType

from more_train.nano.phrases import de, en, es, pt
from more_train.nano.phrases.grammar import Grammar

GRAMMARS: Mapping[str, Grammar] = MappingProxyType(
    {grammar.language: grammar for grammar in (en.GRAMMAR, pt.GRAMMAR, es.GRAMMAR, de.GRAMMAR)}
)

__all__ = ("GRAMMARS", "Grammar")
