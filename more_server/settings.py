"""One Settings struct from more.toml and MORE_* variables; nothing else reads the environment."""

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from more_server.errors import SettingsError

PREFIX = "MORE_"
OF_CLIENTS = frozenset(("MORE_URL", "MORE_API_KEY"))
"""What `more-server jobs` reads where it is a client of a server that runs: no settings."""
FILE_NAME = "more.toml"
PLUGINS = "plugins"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listening side."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """TCP port; 0 lets the system choose one."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Processes behind the port, each with an engine on a GPU of its own, or on its share of the cores."""
    shutdown_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Seconds that running streams may take to end after SIGTERM."""
    cors_origins: tuple[str, ...] = ()
    """Sites whose pages may call the API, such as `https://chat.example`; `*`: all. Without a key to speak only."""
    allow_open: bool = False
    """Bind an address that other machines reach although there is no key: everyone there may do everything."""
    open_discovery: bool = True
    """Models and voices may be listed without a key: Open WebUI and wyoming_openai send none there."""


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request may ask for, and how long everybody may be kept waiting by one client."""

    text_characters: Annotated[int, Meta(ge=1)] = 16_384
    """Characters of `input`; OpenAI's own limit is 4096, some clients send more."""
    body_bytes: Annotated[int, Meta(ge=1024)] = 1_048_576
    """Bytes of a request body."""
    reference_bytes: Annotated[int, Meta(ge=1024)] = 10_485_760
    """Bytes of one uploaded reference clip."""
    reference_seconds: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    """Seconds of one reference clip."""
    reference_channels: Annotated[int, Meta(ge=1)] = 8
    """Channels of one reference clip; they are mixed to mono."""
    voice_references: Annotated[int, Meta(ge=1, le=100)] = 16
    """Reference clips of one voice."""
    job_bytes: Annotated[int, Meta(ge=1024)] = 67_108_864
    """Bytes of the body that asks for a job: a book may come in it."""
    upload_bytes: Annotated[int, Meta(ge=1024)] = 21_474_836_480
    """Bytes of one upload of recordings."""
    upload_hours: Annotated[float, Meta(gt=0, le=8760)] = 48.0
    """Hours that an upload is kept after its last byte, unless a dataset is made of it."""
    # 1024 files are what most systems let a process have open; half of them leaves enough for models, voices and jobs.
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    """Connections at a time; beyond, one without a request gives way, else a new one is answered 503."""
    # More than the 256 requests that engine.max_concurrency may be and the queue behind them, fewer than connections.
    requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 384
    """Requests and WebSockets at a time, but for those that need no key, such as /health; further ones: 503."""
    # Half: whoever it is leaves as much to all others. A program such as Open WebUI asks for all of its users.
    address_requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 192
    """Those of one address without a key; further ones are answered 429. A key has limits of its own."""
    # As in nginx (60 s for a body, 75 between requests) and Apache (20 s for a head, 500 bytes a second). Linux tells
    # of room in a client's buffer once a sixteenth of up to 6 MB is free, for which 64 kbit/s need 47 s.
    head_seconds: Annotated[float, Meta(gt=0, le=3600)] = 20.0
    """Seconds from the first byte of a request to the end of its head; then it is answered 408."""
    body_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Seconds that a body's next bytes may stay away; then it is answered 408."""
    reader_seconds: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    """Seconds that a client may take nothing of what is ready for it; then it is cut off, whoever waits or not."""
    slow_bytes: Annotated[int, Meta(ge=1)] = 500
    """Bytes a second that a client must send and take; one that is slower counts as standing still."""
    keep_alive_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 75.0
    """Seconds that a connection may be without a request; more than most proxies keep theirs."""
    socket_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    """Seconds that a WebSocket may be silent, in both directions."""
    # XTTS-v2 on two cores makes a sentence in 10 s; high_quality makes it two or three times before it is heard, and
    # engine.deadline_seconds may have gone by before that.
    first_audio_seconds: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    """Seconds until the first audio of a request for speech is made; then it is answered 503."""
    # The longest text is 18 minutes of speech, which a machine at a quarter of real time makes within this.
    total_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """Seconds that a request for speech may take beyond the length of its audio, which a listener needs in any case."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one owner of the device."""

    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1` …; `auto` takes a GPU where one answers."""
    precision: Annotated[str, Meta(pattern="^(auto|fp32|bf16|int8)$")] = "auto"
    """`fp32`; `bf16`; `int8`, fastest on a CPU; `auto`: bf16 on a GPU, int8 for large models on a CPU, else fp32."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """CPU threads of the model; 0: every core this process may use."""
    slots: Annotated[int, Meta(ge=0, le=256)] = 0
    """Segments spoken at the same time; 0: what the memory holds, at most 8 on a CPU and 64 on a GPU."""
    memory_gb: Annotated[float, Meta(ge=0)] = 0.0
    """GB (10^9 bytes) that the model, its slots and its work may take; 0: most of what is free on the device."""
    max_concurrency: Annotated[int, Meta(ge=0, le=256)] = 0
    """Requests spoken at the same time; 0: as many as there are slots."""
    queue: Annotated[int, Meta(ge=0)] = 32
    """Requests that may wait beyond those; further ones are answered 429."""
    deadline_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Longest wait for a slot; who would wait longer is answered 429 at once, who has is then."""
    ahead_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds of audio made ahead of a slow listener before its utterance pauses."""
    stalled_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds that a listener may take nothing while others wait for its slot, or a training for its end."""
    hung_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Seconds after which a step that does not come back is a hang: /health/live asks for a new start then."""


class JobSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Books and training, which take hours."""

    database: Annotated[str, Meta(pattern=r"\A(postgresql://.*)?\Z")] = ""
    """`postgresql://user:password@host/name` for several servers that share the work; empty: a file of SQLite."""
    work: bool = True
    """This server works on jobs; without, it takes them for others that share its database and data directory."""
    at_a_time: Annotated[int, Meta(ge=1, le=64)] = 1
    """Jobs of one kind that this server works on at the same time."""
    keep_days: Annotated[float, Meta(gt=0, le=3650)] = 30.0
    """Days after its end that a job and its results are deleted."""
    webhook_secret: Annotated[str, Meta(extra={"secret": True})] = ""
    """`whsec_` and base64 of 24 to 64 bytes, which webhooks are signed with; empty: no webhooks."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts that webhooks may go to; empty: every one that is not on this machine or in a private network."""
    training_memory: Annotated[str, Meta(pattern=r"\A(pause|share|refuse)\Z")] = "share"
    """What a training does to speech: `pause` it, `share` with fewer slots, or `refuse` to train where it speaks."""


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told to other programs than Prometheus, which asks by itself."""

    otlp_endpoint: str = ""
    """Collector that traces of requests go to, OTLP over HTTP, as `http://127.0.0.1:4318`; empty: no traces."""
    sampled: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of requests that are traced, 0 to 1; a caller who sends a `traceparent` decides for his own."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured; an environment name is the path joined by double underscores."""

    data_dir: Path = Path()
    """Everything the server writes: models/, voices/, cache/. Default: the checkout, else ~/.local/share/more-server"""
    model: str = "auto"
    """Model that serves; `auto`: the one chosen with `models use`, else the bundled nano."""
    default_voice: str = ""
    """Voice of requests that name none; empty: the first one."""
    default_quality: str = "balanced"
    """Quality profile of requests that name none."""
    prepare_voices: bool = True
    """After the start, work out what the first request for each voice would wait for, once; people go first."""
    voice_store: str = ""
    """Store that new voices go to, and that is looked at first; empty: the first one that can be written."""
    default_language: str = "en"
    """Language where neither the request nor the voice names one, and none is recognised."""
    detect_language: bool = True
    """Recognise the language of a text where the request names none and the voice none or several."""
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: Annotated[str, Meta(pattern="^(auto|json|text)$")] = "auto"
    """`json`, `text`, or `auto`: text on a terminal, else JSON."""
    plugin_dir: str = ""
    """Folder with further plugins, files or packages; whatever is in it is run as part of the server. Empty: none."""
    plugin_seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """Seconds that a plugin may take to be imported, to answer a hook, and for a piece of audio."""
    plugins: dict[str, dict[str, Any]] = {}
    """A table for each plugin: `enabled`, and its own settings; `more-server plugins list` shows them."""
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    jobs: JobSettings = JobSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @property
    def model_dirs(self) -> tuple[Path, ...]:
        """Where models are looked for, the writable folder first."""
        return _with_bundled(self.data_dir, "models")

    @property
    def admin_dir(self) -> Path:
        """What was decided while the server ran: plugins, profiles, keys, and the log of who decided it."""
        return self.data_dir / "admin"

    @property
    def jobs_dir(self) -> Path:
        """Jobs and their results."""
        return self.data_dir / "jobs"

    @property
    def datasets_dir(self) -> Path:
        """Datasets for training, and the uploads of recordings that they are made of."""
        return self.data_dir / "datasets"


def bundled_dir() -> Path:
    """The folder that holds the shipped models/ and voices/: the checkout, or the installation's share folder."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout
    return Path(sys.prefix) / "share" / "more-server"


def _with_bundled(data_dir: Path, kind: str) -> tuple[Path, ...]:
    own, bundled = data_dir / kind, bundled_dir() / kind
    return (own,) if own.resolve() == bundled.resolve() else (own, bundled)


RELOADABLE = frozenset(
    ("default_voice", "default_quality", "default_language", "detect_language", "voice_store", "plugin_dir")
).union(("plugin_seconds", "plugins", "limits"))
"""Settings that a reload takes up; the others wait for the next start."""
DEFAULT, COMMAND_LINE = "default", "command line"


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each comes from."""

    settings: Settings
    sources: dict[str, str]
    """By path, such as `server.port`: the file or the variable that it was read from; defaults are not in it."""


def child_environment(**more: str) -> dict[str, str]:
    """The variables of this process and some more, for one that it starts."""
    return {**os.environ, **more}


def load(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings as `read` finds them."""
    return read(file, environment).settings


def read(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read settings: built-in defaults, then the file, then `MORE_*` variables.

    `file` None means `MORE_CONFIG`, else `more.toml` in the working directory where it exists.
    Raises SettingsError naming the setting, its source and what is allowed.
    """
    environment = os.environ if environment is None else environment
    variables = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    variables = {name: value for name, value in variables.items() if name not in OF_CLIENTS}
    named = variables.pop(PREFIX + "CONFIG", None)
    file = file or (Path(named) if named else None)
    file = file or (Path(FILE_NAME) if Path(FILE_NAME).is_file() else None)
    values = _read_file(file) if file else {}
    sources = dict.fromkeys(_paths(values), str(file))
    for name, value in variables.items():
        sources[".".join(_place(values, name, value))] = name
    values.setdefault("data_dir", str(_default_data_dir(environment)))
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings do not fit: {_hint(str(error), values)}") from error
    data_dir = settings.data_dir.expanduser().absolute()
    if data_dir.exists() and not data_dir.is_dir():
        raise SettingsError(f"data_dir {data_dir} is a file; it must be a folder, or not exist yet")
    plugin_dir = settings.plugin_dir and str(Path(settings.plugin_dir).expanduser().absolute())
    return Loaded(msgspec.structs.replace(settings, data_dir=data_dir, plugin_dir=plugin_dir), sources)


def _paths(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of everything in nested tables."""
    paths = []
    for name, value in values.items():
        paths += _paths(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return paths


def effective(loaded: Loaded) -> list[tuple[str, Any, str, bool]]:
    """Every setting but those of plugins: path, value, source, and whether a reload takes it up."""
    rows = []
    for path in _fields_of(Settings):
        value: Any = loaded.settings
        for part in path.split("."):
            value = getattr(value, part)
        rows.append((path, value, source_of(loaded, path), path.partition(".")[0] in RELOADABLE))
    return rows


def source_of(loaded: Loaded, path: str) -> str:
    """Where a setting comes from; of a table, the first of its parts that was given."""
    given = (source for one, source in loaded.sources.items() if one == path or one.startswith(f"{path}."))
    return next(given, DEFAULT)


def reloaded(running: Settings, now: Settings) -> tuple[Settings, list[str]]:
    """What a running server takes up of `now`, and the paths of what has changed and waits for the next start."""
    changes = {name: getattr(now, name) for name in RELOADABLE}
    waiting = []
    for path in _fields_of(Settings):
        name, _, inner = path.partition(".")
        one, other = getattr(running, name), getattr(now, name)
        if name not in RELOADABLE and (getattr(one, inner) != getattr(other, inner) if inner else one != other):
            waiting.append(path)
    return msgspec.structs.replace(running, **changes), waiting


def _fields_of(struct: type[msgspec.Struct], prefix: str = "") -> list[str]:
    paths = []
    for name, kind in _fields(struct).items():
        if name != PLUGINS:
            paths += _fields_of(kind, f"{prefix}{name}.") if _fields(kind) else [prefix + name]
    return paths


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _place(values: dict[str, Any], name: str, value: str) -> list[str]:
    """Put a variable's value where its name says; the path of it."""
    path = name.removeprefix(PREFIX).lower().split("__")
    node: Any = Settings
    if path[0] == PLUGINS:
        # The plugin itself tells later what it knows; numbers and truth values are read out of text there.
        if len(path) < 3 or not all(path):
            raise SettingsError(f"{name} must be {PREFIX}PLUGINS__<plugin>__<setting>")
        node = str
    for part in path if node is Settings else ():
        node = _fields(node).get(part) if node is not None else None
    if node is None:
        raise SettingsError(f"unknown environment variable {name}{_nearest(name, environment_names())}")
    table = values
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"settings do not fit: {part} must be a table of settings, as {name} belongs into it")
    parts = [part.strip() for part in value.split(",")]
    table[path[-1]] = [part for part in parts if part] if node == tuple[str, ...] else value
    return path


def _fields(struct: Any) -> dict[str, Any]:
    return get_type_hints(struct) if isinstance(struct, type) and issubclass(struct, msgspec.Struct) else {}


def environment_names(struct: type[msgspec.Struct] = Settings, prefix: str = PREFIX) -> list[str]:
    """Every `MORE_*` name, in the order of the struct's fields."""
    names = []
    for field, kind in _fields(struct).items():
        if field == PLUGINS:
            continue
        name = prefix + field.upper()
        names += environment_names(kind, name + "__") if _fields(kind) else [name]
    return names


def _hint(message: str, values: Mapping[str, Any]) -> str:
    if "unknown field" not in message:
        return message
    unknown = message.split("`")[1]
    where = message.split("`$.")[1].rstrip("`") if "`$." in message else ""
    struct: Any = Settings
    for part in where.split(".") if where else []:
        struct = _fields(struct).get(part)
    return f"{message}{_nearest(unknown, list(_fields(struct)))}"


def _nearest(name: str, names: list[str]) -> str:
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else f"; allowed are {', '.join(names)}"


def _decode(kind: type, value: Any) -> Any:
    if isinstance(value, str) and kind is Path:
        return Path(value)
    raise NotImplementedError


def _default_data_dir(environment: Mapping[str, str]) -> Path:
    bundled = bundled_dir()
    if (bundled / "pyproject.toml").is_file():
        return bundled
    home = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "more-server"
