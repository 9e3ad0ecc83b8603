"""Settings from file and environment, and what is said of wrong ones."""

import ast
from pathlib import Path

import pytest

from more_server.errors import SettingsError
from more_server.settings import Settings, environment_names, load


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_need_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(environment={})
    assert (loaded.server.host, loaded.server.port) == ("127.0.0.1", 8000)
    assert (loaded.data_dir / "models" / "nano").is_dir()


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", 'default_voice = "rowan"\n[server]\nport = 1\nhost = "::1"\n')
    loaded = load(file, {"MORE_SERVER__PORT": "2", "MORE_SERVER__CORS_ORIGINS": "http://a, http://b", "HOME": "/x"})
    assert (loaded.server.port, loaded.server.host, loaded.default_voice) == (2, "::1", "rowan")
    assert loaded.server.cors_origins == ("http://a", "http://b")


def test_the_file_is_named_found_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = write(tmp_path / "named.toml", "[server]\nport = 3\n")
    assert load(environment={"MORE_CONFIG": str(named)}).server.port == 3
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "more.toml", "[server]\nport = 4\n")
    assert load(environment={}).server.port == 4
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "missing.toml", {})


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        ("[server]\nprt = 1", {}, r"unknown field `prt`.*did you mean port\?"),
        ("sever = 1", {}, r"unknown field `sever`.*did you mean server\?"),
        ("[server]\nport = 70000", {}, r"<= 65535.*\$\.server\.port"),
        ("[server]\nport = ", {}, "not valid TOML"),
        ("log_level = 'loud'", {}, "debug|info|warning|error"),
        ("", {"MORE_SERVER__PRT": "1"}, "MORE_SERVER__PRT; did you mean MORE_SERVER__PORT"),
        ("", {"MORE_QXZ": "1"}, "unknown environment variable MORE_QXZ; allowed are MORE_DATA_DIR"),
        ("", {"MORE_ENGINE__SLOTS": "many"}, r"Expected `int`.*engine\.slots"),
        ("", {"MORE_SERVER": "x"}, r"\$\.server"),
        ("server = 5", {"MORE_SERVER__PORT": "1"}, r"server"),
        ("[engine]\nahead_seconds = inf", {}, r"engine\.ahead_seconds"),
        ("[server]\nshutdown_seconds = inf", {}, r"server\.shutdown_seconds"),
        ("data_dir = 'README.md'", {}, "is a file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(write(tmp_path / "more.toml", text), environment)


@pytest.mark.parametrize("name", environment_names())
def test_every_name_can_be_set(tmp_path: Path, name: str) -> None:
    """Each default, written into its variable, gives the defaults again."""
    file = write(tmp_path / "more.toml", "")
    defaults = load(file, {})
    value: object = defaults
    for part in name.removeprefix("MORE_").lower().split("__"):
        value = getattr(value, part)
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    assert load(file, {name: text}) == defaults


def test_the_data_dir_is_absolute(tmp_path: Path) -> None:
    loaded = load(write(tmp_path / "more.toml", 'data_dir = "~/speech"'), {})
    assert loaded.data_dir == Path.home() / "speech"
    assert loaded.model_dirs[0] == Path.home() / "speech" / "models"
    assert (loaded.model_dirs[1] / "nano").is_dir()


def test_every_setting_says_what_it_is() -> None:
    """The README's table is made of these lines."""
    trees = [ast.parse(Path(f"more_server/{module}.py").read_text()) for module in ("settings", "tables")]
    for struct in (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, after in zip(struct.body, [*struct.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation).endswith("Settings") is False:
                assert isinstance(after, ast.Expr), f"{struct.name}.{ast.unparse(field.target)} has no line"
    assert Settings.__struct_config__.forbid_unknown_fields
