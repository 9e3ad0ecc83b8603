"""Plugins: which there are, what they offer, and what an administrator makes of them."""

from more_server.registry.choices import set_damaged_choices_aside
from more_server.registry.limits import Escaped, Hung, awaited_within, described, within
from more_server.registry.registry import Registry, Row
from more_server.registry.snapshot import Snapshot

__all__ = (
    "Escaped",
    "Hung",
    "Registry",
    "Row",
    "Snapshot",
    "awaited_within",
    "described",
    "set_damaged_choices_aside",
    "within",
)
