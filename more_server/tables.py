"""The tables of more.toml, which `settings.Settings` is made of."""

from typing import Annotated

import msgspec
from msgspec import Meta


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

    work: bool = True
    """This server works on jobs; without, it takes them for others that share its database and shared_dir."""
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
