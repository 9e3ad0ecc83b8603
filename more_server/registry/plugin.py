"""One plugin: imported, configured, and what its hooks offer. Everything a stranger's code does is isolated here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import msgspec
import pluggy

from more_server import hookspecs
from more_server.errors import BadInput, MoreError, PluginFailure, SettingsError
from more_server.hookspecs import Context, Service, VoiceStore
from more_server.registry.discover import Found
from more_server.registry.limits import described, within
from more_server.registry.settings import convert
from more_server.speech import PostProcessorKind, Profile

KINDS: tuple[tuple[str, type], ...] = (
    ("profiles", Profile),
    ("voice_stores", VoiceStore),
    ("post_processors", PostProcessorKind),
    ("routes", object),
    ("services", Service),
)
"""Every hook and what it gives a sequence of."""


@dataclass(frozen=True)
class Offers:
    """What the hooks of one plugin gave."""

    profiles: tuple[Profile, ...] = ()
    voice_stores: tuple[VoiceStore, ...] = ()
    post_processors: tuple[PostProcessorKind, ...] = ()
    routes: tuple[Any, ...] = ()
    services: tuple[Service, ...] = ()


@dataclass
class Plugin:
    """A plugin as it stands."""

    found: Found
    seconds: float
    """How long its code may take for each thing."""
    module: Any = None
    enabled: bool = True
    settings: Any = None
    offers: Offers | None = None
    """None while it is disabled or has failed."""
    error: str = ""
    """What it failed with last; it may go on working."""
    hooks: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def state(self) -> str:
        if not self.enabled:
            return "disabled"
        return "active" if self.offers is not None else "failed"

    @property
    def struct(self) -> type[msgspec.Struct] | None:
        """The settings it declares."""
        declared = getattr(self.module, "Settings", None)
        return declared if isinstance(declared, type) and issubclass(declared, msgspec.Struct) else None

    def load(self) -> None:
        """Import it. Raises PluginFailure."""
        self.module = self._guarded("importing it", self.found.load)
        self._check_hidden()
        self.hooks = tuple(name for name, _ in KINDS if hasattr(getattr(self.module, name, None), _MARK))

    def configure(self, values: dict[str, Any]) -> Any:
        """Its settings from plain values. Raises BadInput, or PluginFailure where its own struct is at fault."""
        return self._guarded("checking its settings", lambda: convert(self.name, self.struct, values))

    def ask(self, hooks: pluggy.PluginManager, context: Context) -> Offers:
        """Call each of its hooks, on its own. Raises PluginFailure, or BadInput for settings that do not fit."""
        self._check_hidden()
        given = {}
        for name, kind in KINDS:
            items: list[Any] = []
            for implementation in getattr(hooks.hook, name).get_hookimpls():
                if implementation.plugin_name == self.name:
                    arguments = {"context": context} if implementation.argnames else {}
                    result = self._guarded(name, partial(implementation.function, **arguments))
                    items += self._checked(name, result, kind)
            given[name] = tuple(items)
        offers = Offers(**given)
        self._guarded("what its hooks gave", lambda: _check(offers))
        return offers

    def _check_hidden(self) -> None:
        """Raises PluginFailure for a submodule called as a hook: once imported, it takes the function's place."""
        for name, _ in KINDS:
            if isinstance(getattr(self.module, name, None), ModuleType):
                raise PluginFailure(self.name, f"its module {name} takes the place of the hook {name}; rename the file")

    def _checked(self, hook: str, result: Any, kind: type) -> Sequence[Any]:
        if isinstance(result, Sequence) and all(isinstance(item, kind) for item in result):
            return result
        raise PluginFailure(self.name, f"{hook} must give a sequence of {kind.__name__}, not {type(result).__name__}")

    def _guarded(self, what: str, work: Callable[[], Any]) -> Any:
        try:
            return within(self.seconds, work)
        except MoreError:
            raise
        except Exception as error:
            raise PluginFailure(self.name, f"{what}: {described(error)}") from error


def _check(offers: Offers) -> None:
    """Raises TypeError for what has the right class and nothing in it; hooks of strangers are not type-checked."""
    for store in offers.voice_stores:
        if not isinstance(store.name, str) or not store.name:
            raise TypeError(f"a voice store needs a name, not {store.name!r}")
    for kind in offers.post_processors:
        if not isinstance(kind.name, str) or not callable(kind.make):
            raise TypeError("a post-processor needs a name, or none, and something that makes it")
    for profile in offers.profiles:
        try:
            profile.derived(profile.name, {})
        except BadInput as error:
            raise TypeError(f"profile {profile.name!r}: {error.message}") from error


_MARK = f"{hookspecs.PROJECT}_impl"
"""The attribute that pluggy's marker leaves on a function."""


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def register(manager: pluggy.PluginManager, plugin: Plugin) -> None:
    """Take its hooks in. Raises SettingsError by name for one that does not exist or takes something else."""
    try:
        manager.register(plugin.module, plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        names = ", ".join(name for name, _ in KINDS)
        out = f"plugins.{plugin.name}.enabled = false in the settings keeps it out"
        raise SettingsError(
            f"plugin {plugin.name} ({plugin.found.origin}): {error}; the hooks are: {names}; {out}"
        ) from error
