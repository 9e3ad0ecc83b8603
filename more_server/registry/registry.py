"""The plugins of one server: found, checked, configured, enabled and disabled while it runs."""

import difflib
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from more_server.errors import (
    BadInput,
    MoreError,
    PluginFailure,
    PluginNotFound,
    SettingsError,
    Unavailable,
    allowed,
    shown,
)
from more_server.hookspecs import Context, Server
from more_server.registry import settings as fields
from more_server.registry.choices import Choice, Choices
from more_server.registry.discover import Found, discover
from more_server.registry.plugin import Plugin, new_manager, register
from more_server.registry.snapshot import Snapshot, merge
from more_server.settings import Settings, bundled_dir

log = structlog.get_logger("more_server.registry")

ENABLED = "enabled"
"""The one name in a plugin's table of settings that is the server's."""


class Row(msgspec.Struct, kw_only=True):
    """A plugin as an administrator sees it."""

    name: str
    version: str
    enabled: bool
    state: str
    """active, disabled or failed."""
    error: str | None
    """What it failed with last."""
    hooks: tuple[str, ...]
    origin: str
    """Where it comes from."""
    settings: dict[str, Any] | None
    """Effective values, secrets masked; None for a plugin without settings."""
    changed: tuple[str, ...]
    """Settings that an administrator has changed."""
    switched: bool
    """An administrator has enabled or disabled it; else it is as the settings or the plugin itself say."""
    schema: dict[str, Any] | None
    """JSON Schema of the settings."""


class Registry:
    """One plugin manager and what its plugins offer. `snapshot` is replaced whole and never changed.

    Requests keep the snapshot they began with. Methods block; call them off the event loop.
    """

    def __init__(self, settings: Settings, find: Callable[[Path | None], list[Found]] = discover) -> None:
        """Nothing is imported yet; `open` does that."""
        self._settings = settings
        self._find = find
        self._choices = Choices(settings)
        self._taken: dict[str, Choice] = {}
        """Choices that are in force here, or that could not be."""
        self._changing = threading.RLock()
        """One change at a time; held while code of plugins runs, which may take `plugin_seconds` again and again."""
        self._lock = threading.Lock()
        """Held for a moment, for what is looked at: `_plugins`, their errors, the snapshot."""
        self._manager = new_manager()
        self._plugins: dict[str, Plugin] = {}
        self._server: Server | None = None
        self.snapshot = Snapshot()
        self.check: Callable[[Snapshot], None] = lambda snapshot: None
        """Raises BadInput for a change that would leave the server without something that it needs."""

    # -- start and reload

    def open(self, server: Server | None) -> None:
        """Import, configure and ask every plugin. Without a server, as on the command line, nothing of it can be used.

        Raises SettingsError for a misspelt hook, two owners of one name, settings that do not fit, and names of
        plugins that do not exist. What a plugin itself raises is kept on its row.
        """
        with self._changing:
            self._server = server or cast(Server, _NoServer())
            self._take(self._settings, {}, lambda snapshot: None)

    def reload(self, settings: Settings, check: Callable[[Snapshot], None] = lambda snapshot: None) -> None:
        """Look for plugins and settings anew. Those whose code and settings are as before go on untouched.

        check: raises for a snapshot that the server cannot do with. Raises what it does, and SettingsError as `open`
        does; then everything stays as it was, and nobody has seen anything else.
        """
        with self._changing:
            self._take(settings, self._plugins, check)

    def _take(self, settings: Settings, before: Mapping[str, Plugin], check: Callable[[Snapshot], None]) -> None:
        choices, found = self._choices.read(), self._find(Path(settings.plugin_dir) if settings.plugin_dir else None)
        _check_names(settings.plugins, [one.name for one in found])
        manager, plugins = new_manager(), {}
        for one in found:
            choice, known = choices.get(one.name, Choice()), before.get(one.name)
            plugin = self._opened(manager, one, settings, choice, known)
            if known and _same(known, plugin):
                plugin, known.seconds = known, settings.plugin_seconds
            elif plugin.enabled and not plugin.error:
                self._ask(manager, plugin, choice)
            plugins[one.name] = plugin
        check(merge(plugins, settings.voice_store))
        self._taken = choices
        with self._lock:
            # Merged once more: one of them may have been found to hang meanwhile.
            self.snapshot = merge(plugins, settings.voice_store, strict=False)
            self._manager, self._plugins, self._settings = manager, plugins, settings

    def _opened(self, manager: Any, found: Found, settings: Settings, choice: Choice, known: Plugin | None) -> Plugin:
        plugin = Plugin(found, settings.plugin_seconds)
        given = settings.plugins.get(found.name, {})
        plugin.enabled = _enabled(found.name, choice, given, default=True)
        try:
            if known and known.module is not None and known.found.stamp == found.stamp:
                plugin.module, plugin.hooks = known.module, known.hooks
            else:
                plugin.load()
            default = bool(getattr(plugin.module, "enabled_by_default", True))
            plugin.enabled = _enabled(found.name, choice, given, default=default)
            plugin.settings = plugin.configure(_values(given, choice))
        except MoreError as error:
            self._failed(plugin, choice, error)
        else:
            if plugin.enabled:
                register(manager, plugin)
        return plugin

    def _ask(self, manager: Any, plugin: Plugin, choice: Choice) -> None:
        try:
            plugin.offers = plugin.ask(manager, self._context(plugin))
        except MoreError as error:
            self._failed(plugin, choice, error)

    def _failed(self, plugin: Plugin, choice: Choice, error: MoreError) -> None:
        """Keep the failure on its row. Raises SettingsError for settings that do not fit, which somebody must mend."""
        # What an administrator chose for another version of it is not worth keeping the server from its start.
        if isinstance(error, BadInput) and not choice.settings:
            raise SettingsError(error.message) from error
        plugin.error, plugin.offers = error.reason if isinstance(error, PluginFailure) else error.message, None
        log.error("a plugin failed", plugin=plugin.name, reason=error.message, exc_info=error.__cause__)

    def _context(self, plugin: Plugin) -> Context:
        assert self._server is not None
        return Context(
            plugin=plugin.name,
            settings=plugin.settings,
            data_dir=self._settings.data_dir,
            bundled_dir=bundled_dir(),
            server=self._server,
        )

    # -- while it runs

    @property
    def choices_path(self) -> Path:
        """The file of what an administrator decided while the server ran."""
        return self._choices.path

    def rows(self) -> list[Row]:
        """Every plugin, in order of name."""
        choices = self._choices.read()
        with self._lock:
            return [self._row(plugin, choices.get(name, Choice())) for name, plugin in sorted(self._plugins.items())]

    def row(self, name: str) -> Row:
        """One plugin. Raises PluginNotFound."""
        choices = self._choices.read()
        with self._lock:
            return self._row(self._get(name), choices.get(name, Choice()))

    def enable(self, name: str) -> None:
        """Let new requests use it. Raises what keeps it from that; then it stays as it was."""
        with self._changing:
            plugin, choice = self._get(name), self._choices.read().get(name, Choice())
            fresh = Plugin(plugin.found, self._settings.plugin_seconds)
            fresh.load()
            fresh.settings = fresh.configure(_values(self._settings.plugins.get(name, {}), choice))
            self._replace(fresh, msgspec.structs.replace(choice, enabled=True), choice)

    def disable(self, name: str) -> None:
        """Keep it from new requests; those that run keep what they began with."""
        with self._changing:
            plugin, choice = self._get(name), self._choices.read().get(name, Choice())
            fresh = Plugin(plugin.found, plugin.seconds, plugin.module, False, plugin.settings, hooks=plugin.hooks)
            self._replace(fresh, msgspec.structs.replace(choice, enabled=False), choice)

    def configure(self, name: str, changes: dict[str, Any]) -> None:
        """Change settings; null takes a change back. Raises BadInput naming the field; then all stays as it was."""
        with self._changing:
            plugin, choice = self._get(name), self._choices.read().get(name, Choice())
            if plugin.module is None:
                raise PluginFailure(name, plugin.error)
            chosen = fields.merged(plugin.struct, choice.settings, changes)
            given = self._settings.plugins.get(name, {})
            fresh = Plugin(plugin.found, plugin.seconds, plugin.module, plugin.enabled, hooks=plugin.hooks)
            fresh.settings = fresh.configure(_values(given, Choice(settings=chosen)))
            self._replace(fresh, msgspec.structs.replace(choice, settings=chosen), choice)

    def take_up(self, *, again: bool) -> dict[str, str]:
        """Follow what another server has decided: the plugins that are different now, and what kept each from it.

        again: those that failed here and are enabled by choice are tried anew. What cannot be taken up is not tried
        again before the next change of it. Raises SettingsError where the file cannot be used.
        """
        told = {}
        with self._changing:
            choices = self._choices.read()
            for name, plugin in self._plugins.items():
                choice = choices.get(name, Choice())
                failed = again and choice.enabled and plugin.state == "failed"
                if choice == self._taken.get(name, Choice()) and not failed:
                    continue
                self._taken[name] = choice
                try:
                    self._replace(self._chosen(plugin, choice), choice)
                except MoreError as error:
                    told[name] = error.message
                else:
                    told[name] = ""
        return told

    def _chosen(self, known: Plugin, choice: Choice) -> Plugin:
        """The plugin as a choice has it. Raises PluginFailure or BadInput."""
        given = self._settings.plugins.get(known.name, {})
        fresh = Plugin(known.found, known.seconds, known.module, hooks=known.hooks)
        if fresh.module is None or known.state == "failed":
            fresh = Plugin(known.found, known.seconds)
            fresh.load()
        default = bool(getattr(fresh.module, "enabled_by_default", True))
        fresh.enabled = _enabled(known.name, choice, given, default=default)
        fresh.settings = fresh.configure(_values(given, choice))
        return fresh

    def told(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes of settings as a log may tell them. Raises PluginNotFound."""
        with self._lock:
            return fields.hide(changes, self._get(name).struct)

    def report(
        self, name: str, error: str, cause: BaseException | None = None, *, hung: bool = False, told: bool = False
    ) -> None:
        """A plugin failed a request, or never answered: then it is kept from further ones until it is enabled again.

        told: it says itself what somebody has to mend, such as a setting.
        """
        with self._lock:
            plugin = self._plugins.get(name)
            if plugin is None:
                return
            plugin.error = error
            tell = log.warning if told else log.error
            tell("a plugin failed", plugin=name, reason=error, kept_out=hung, exc_info=cause)
            if hung and plugin.offers is not None:
                plugin.offers = None
                self.snapshot = merge(self._plugins, self._settings.voice_store, strict=False)

    def _replace(self, plugin: Plugin, choice: Choice, before: Choice | None = None) -> None:
        """Put a plugin in the place of itself: asked, merged, kept on disk where it is decided here, then seen.

        before: the choice that this one was worked out from; None: it was decided elsewhere.
        """
        known = self._manager.unregister(name=plugin.name) if self._manager.has_plugin(plugin.name) else None
        try:
            if plugin.enabled:
                register(self._manager, plugin)
                plugin.offers = plugin.ask(self._manager, self._context(plugin))
            self.check(merge(self._plugins | {plugin.name: plugin}, self._settings.voice_store))
            if before is not None:
                self._choices.write(plugin.name, choice, before)
        except BaseException as error:
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            if known is not None:
                self._manager.register(known, plugin.name)
            if isinstance(error, SettingsError):  # of a plugin, not of the start: whoever asked can mend it
                raise BadInput(error.message, param="name") from error
            raise
        self._taken[plugin.name] = choice
        with self._lock:
            # Merged once more: one of the others may have been found to hang meanwhile.
            self._plugins = self._plugins | {plugin.name: plugin}
            self.snapshot = merge(self._plugins, self._settings.voice_store, strict=False)

    def _get(self, name: str) -> Plugin:
        if name not in self._plugins:
            raise PluginNotFound(f"there is no plugin {shown(name)}; there are: {allowed(self._plugins)}", param="name")
        return self._plugins[name]

    def _row(self, plugin: Plugin, choice: Choice) -> Row:
        return Row(
            name=plugin.name,
            version=plugin.found.version or str(getattr(plugin.module, "__version__", "")),
            enabled=plugin.enabled,
            state=plugin.state,
            error=plugin.error or None,
            hooks=plugin.hooks,
            origin=plugin.found.origin,
            settings=fields.shown(plugin.settings),
            changed=tuple(sorted(choice.settings)),
            switched=choice.enabled is not None,
            schema=fields.schema(plugin.struct),
        )


class _NoServer:
    """Stands for the server where none runs."""

    def __getattr__(self, name: str) -> Any:
        raise Unavailable(f"{name} needs the running server")


def _enabled(name: str, choice: Choice, given: Mapping[str, Any], *, default: bool) -> bool:
    if choice.enabled is not None:
        return choice.enabled
    try:
        return msgspec.convert(given.get(ENABLED, default), bool, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"plugins.{name}.{ENABLED} must be true or false") from error


def _values(given: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != ENABLED} | choice.settings


def _same(known: Plugin, now: Plugin) -> bool:
    return (
        known.state == "active"
        and now.enabled
        and known.found.stamp == now.found.stamp
        and not now.error
        and known.settings == now.settings
    )


def _check_names(tables: Mapping[str, Any], names: Iterable[str]) -> None:
    names = list(names)
    for name in tables:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are: {allowed(names)}"
            raise SettingsError(f"plugins.{name}: there is no such plugin; {hint}")


__all__ = ("Registry", "Row")
