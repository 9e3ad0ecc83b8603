"""What all plugins offer together at one moment. Requests look things up here, once each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from more_server.errors import BadInput, PluginFailure, SettingsError, allowed, shown
from more_server.hookspecs import Service, VoiceStore
from more_server.registry.plugin import Plugin
from more_server.speech import PostProcessing, Profile


@dataclass(frozen=True)
class Snapshot:
    """Never changed once it is made."""

    profiles: Mapping[str, Profile] = field(default_factory=dict)
    stores: tuple[tuple[str, VoiceStore], ...] = ()
    """Plugin and store, in the order in which voices are looked for."""
    post_processors: Mapping[str, PostProcessing] = field(default_factory=dict)
    """By the id that profiles use."""
    routes: tuple[tuple[str, Any], ...] = ()
    """Plugin and handler."""
    services: tuple[tuple[str, Service], ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    """Of every plugin: active, disabled or failed."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """What failed plugins failed with."""
    lost_stores: tuple[str, ...] = ()
    """A sentence for each failed plugin whose voices are missing."""

    def chain(self, profile: Profile) -> tuple[PostProcessing, ...]:
        """The post-processors of a profile; those of disabled plugins are left out.

        Raises PluginFailure for one whose plugin has failed or does not offer it.
        """
        found = []
        for name in profile.post_processors:
            plugin = name.partition(".")[0]
            if link := self.post_processors.get(name):
                found.append(link)
            elif self.states.get(plugin) == "failed":
                raise PluginFailure(plugin, self.errors[plugin])
            elif self.states.get(plugin) != "disabled":
                raise PluginFailure(plugin, f"the quality {profile.name} asks for {name}, which it does not offer")
        return tuple(found)

    def check(self, profile: Profile) -> Profile:
        """The profile, where everything it names exists. Raises BadInput."""
        for name in profile.post_processors:
            plugin = name.partition(".")[0]
            if self.states.get(plugin) in (None, "active") and name not in self.post_processors:
                raise BadInput(
                    f"post_processors: there is no {shown(name)}; there are: {allowed(self.post_processors)}",
                    param="post_processors",
                )
        return profile


def merge(plugins: Mapping[str, Plugin], first_store: str, *, strict: bool = True) -> Snapshot:
    """What the active ones of `plugins` offer; the store `first_store` before all others.

    Raises SettingsError for two owners of one name and, where it is strict, for a first store that does not exist.
    """
    active = [(name, plugin.offers) for name, plugin in plugins.items() if plugin.enabled and plugin.offers]
    stores = [(name, store) for name, offers in active for store in offers.voice_stores]
    _distinct("voice stores", [(store.name, name) for name, store in stores])
    profiles = [(profile, name) for name, offers in active for profile in offers.profiles]
    _distinct("profiles", [(profile.name, name) for profile, name in profiles])
    links = [
        PostProcessing(f"{name}.{kind.name}" if kind.name else name, name, kind, None, plugins[name].found.stamp)
        for name, offers in active
        for kind in offers.post_processors
    ]
    _distinct("post-processors", [(link.id, link.plugin) for link in links])
    if strict and first_store and first_store not in [store.name for _, store in stores]:
        raise SettingsError(
            f"voice_store {shown(first_store)} is none of: {allowed(store.name for _, store in stores)}"
        )
    return Snapshot(
        profiles={profile.name: profile for profile, _ in profiles},
        stores=tuple(sorted(stores, key=lambda one: one[1].name != first_store)),
        post_processors={link.id: link for link in links},
        routes=tuple((name, handler) for name, offers in active for handler in offers.routes),
        services=tuple((name, service) for name, offers in active for service in offers.services),
        states={name: plugin.state for name, plugin in plugins.items()},
        errors={name: plugin.error for name, plugin in plugins.items() if plugin.state == "failed"},
        lost_stores=tuple(
            f"the voices of the plugin {name} are missing: {plugin.error}"
            for name, plugin in plugins.items()
            if plugin.state == "failed" and "voice_stores" in plugin.hooks
        ),
    )


def _distinct(what: str, owned: list[tuple[str, str]]) -> None:
    owners: dict[str, str] = {}
    for name, plugin in owned:
        if name in owners:
            raise SettingsError(f"two {what} are called {name}: of the plugins {owners[name]} and {plugin}")
        owners[name] = plugin
