"""Plugins of strangers, which fail in every way, each on its own row."""

import sys

import msgspec
import pytest

from more_server.errors import PluginFailure
from tests.house import EMPTY, PROFILE, House, house, states

__all__ = ("house",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ImportError('no such thing')", "importing it: ImportError: no such thing"),
        ("import sys; sys.exit(3)", "importing it: SystemExit: 3"),
        ("class Panic(BaseException): pass\nraise Panic('rust')", "importing it: Panic: rust"),
        ("def profiles(:", "importing it: SyntaxError"),
        ("import time; time.sleep(60)", "importing it: no answer within"),
        (EMPTY + "@hookimpl\ndef profiles(context): raise RuntimeError('never')", "profiles: RuntimeError: never"),
        (EMPTY + "@hookimpl\ndef profiles(context): import time; time.sleep(60)", "profiles: no answer within"),
        (EMPTY + "@hookimpl\ndef profiles(context): return 5", "profiles must give a sequence of Profile, not int"),
        (
            EMPTY + "@hookimpl\ndef voice_stores(context): return ['x']",
            "voice_stores must give a sequence of VoiceStore",
        ),
        (EMPTY + "@hookimpl\ndef profiles(context): context.server.speak(None)", "speak needs the running server"),
    ],
)
def test_a_plugin_that_fails_is_told_on_its_row_and_the_others_go_on(house: House, text: str, says: str) -> None:
    house.write("bad", text)
    house.write("calm", PROFILE)
    registry = house.open(plugin_seconds=0.5)
    assert states(registry) == {"bad": "failed", "calm": "active"}
    assert says in str(registry.row("bad").error)
    assert set(registry.snapshot.profiles) == {"calm"}
    asking = msgspec.structs.replace(registry.snapshot.profiles["calm"], post_processors=("bad",))
    with pytest.raises(PluginFailure) as failed:
        registry.snapshot.chain(asking)
    assert failed.value.message.count("the plugin bad failed: ") == 1
    assert says in failed.value.message


@pytest.mark.parametrize(
    ("offered", "says"),
    [
        (
            "voice_stores(context): return [type('S', (VoiceStore,), dict.fromkeys(METHODS))()]",
            "a voice store needs a name",
        ),
        ("post_processors(context): return [PostProcessorKind(5)]", "something that makes it"),
        ("profiles(context): return [Profile(name='a', temperature='hot', top_p=1)]", "profile 'a': temperature"),
    ],
)
def test_what_is_hollow_is_told_on_the_row(house: House, offered: str, says: str) -> None:
    imports = "from more_server import PostProcessorKind, Profile, VoiceStore, hookimpl\n"
    names = "METHODS = ('list', 'read', 'read_derived', 'write_derived', 'name')\n"
    house.write("hollow", imports + names + f"@hookimpl\ndef {offered}")
    registry = house.open()
    assert says in str(registry.row("hollow").error)
    with pytest.raises(PluginFailure, match=says):
        registry.enable("hollow")
    registry.disable("hollow")
    assert states(registry) == {"hollow": "disabled"}


def test_a_module_that_hides_a_hook_is_told(house: House) -> None:
    package = house.folder / "pack"
    package.mkdir()
    hook = "@hookimpl\ndef routes(context):\n    return []\n"
    late = "import importlib\nimportlib.import_module(__name__ + '.routes')\n"
    (package / "__init__.py").write_text(EMPTY + hook + late)
    (package / "routes.py").write_text("")
    assert "its module routes takes the place of the hook" in str(house.open().row("pack").error)


def test_a_failed_import_leaves_nothing_behind(house: House) -> None:
    house.write("bad", "raise ValueError")
    house.open()
    files = [str(getattr(module, "__file__", "")) for module in list(sys.modules.values())]
    assert not [file for file in files if file.startswith(str(house.folder))]
