"""Voices in an object store: what storages answer, what they lose, what others change, and what settings may say."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import more_voice_object_store
import msgspec
import pytest
from more_voice_object_store import Settings
from more_voice_object_store.connection import connected
from more_voice_object_store.refresher import Refresher
from more_voice_object_store.store import ObjectVoiceStore
from structlog.testing import capture_logs

from more_server import Context, errors
from more_server.registry.settings import secrets
from tests.stores import ANN, CLIPS, Place, s3_server

SECRET = "s3cr3t-key"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture
def place(endpoint: str, tmp_path: Path) -> Place:
    return Place("s3", tmp_path.name, endpoint)


@pytest.fixture
def store(place: Place) -> ObjectVoiceStore:
    return opened(place)


def opened(place: Place, refresh_seconds: float = 0.0) -> ObjectVoiceStore:
    store = place.open(refresh_seconds)
    assert isinstance(store, ObjectVoiceStore)
    return store


class Meddled:
    """obstore's store with one method replaced; `method` is given the real one before the arguments."""

    def __init__(self, store: Any, name: str, method: Callable[..., Any]) -> None:
        self._store, self._name, self._method = store, name, method

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        return (lambda *given, **options: self._method(real, *given, **options)) if name == self._name else real


def meddle(store: ObjectVoiceStore, name: str, method: Callable[..., Any]) -> None:
    bucket = store._bucket
    bucket.store = Meddled(bucket.store, name, method)


# -- settings


def context(settings: Settings) -> Context:
    nothing: Any = None
    return Context(plugin="x", settings=settings, data_dir=Path(), bundled_dir=Path(), server=nothing)


def test_it_is_off_until_somebody_gives_it_an_address(tmp_path: Path) -> None:
    assert more_voice_object_store.enabled_by_default is False
    with pytest.raises(errors.BadInput, match=r"needs an address: s3://") as refused:
        more_voice_object_store.voice_stores(context(Settings()))
    assert refused.value.param == "settings.url"
    given = context(Settings(url=f"file://{tmp_path}", name="fleet"))
    (store,) = more_voice_object_store.voice_stores(given)
    assert (store.name, store.writable) == ("fleet", True)
    (service,) = more_voice_object_store.services(given)
    assert isinstance(service, Refresher)
    assert service._store is store
    assert more_voice_object_store.services(context(Settings(url=f"file://{tmp_path}", refresh_seconds=0))) == ()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("url", {"url": "voices"}),
        ("url", {"url": "s3://"}),
        ("url", {"url": "s3:///prefix"}),
        ("url", {"url": "s3://b//x"}),
        ("url", {"url": "s3://b/\n"}),
        ("url", {"url": f"s3://key:{SECRET}@bucket/x"}),
        ("url", {"url": "memory:///"}),
        ("url", {"url": "https://bucket.s3.amazonaws.com"}),
        ("url", {"url": "file://relative"}),
        ("url", {"url": "file:///no/such/folder"}),
        ("url", {"url": "az://container/x"}),
        ("url", {"url": "az://container/x", "access_key_id": "me", "secret_access_key": f"no base 64: {SECRET}"}),
        ("url", {"url": "gs://bucket/x", "secret_access_key": f'{{"{SECRET}"'}),
        ("endpoint", {"url": "s3://b", "endpoint": "not a url"}),
        ("endpoint", {"url": "s3://b", "endpoint": "https://"}),
        ("endpoint", {"url": "s3://b", "endpoint": "https://x:99999"}),
        ("endpoint", {"url": "s3://b", "endpoint": f"https://key:{SECRET}@x"}),
        ("endpoint", {"url": "s3://b", "endpoint": "http://x"}),
        ("region", {"url": "s3://b", "region": "eu\nwest"}),
        ("access_key_id", {"url": "s3://b", "access_key_id": "a\u202eb"}),
    ],
)
def test_settings_that_do_not_fit(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(errors.BadInput, match=f"settings.{field}: ") as refused:
        connected(Settings(**values))
    assert refused.value.param == f"settings.{field}"
    assert SECRET not in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"url": "s3://bucket"},
        {"url": "s3://bucket/a/b/", "endpoint": "https://[::1]:9000/minio", "region": "eu-1"},
        {"url": "s3://bucket", "endpoint": "http://127.0.0.1:9000", "allow_http": True},
        {"url": "gs://bucket/x", "endpoint": "https://storage.example.org"},
        {"url": "az://container/x", "access_key_id": "me", "secret_access_key": "a2V5"},
    ],
)
def test_settings_of_every_provider(values: dict[str, Any]) -> None:
    connected(Settings(**values))


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\n", "a\u202eb", "Fleet"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.name"):
        msgspec.convert({"name": name}, Settings)


def test_a_path_with_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "on a mount"
    folder.mkdir()
    for address in (str(folder), str(folder).replace(" ", "%20")):
        bucket = connected(Settings(url=f"file://{address}"))
        bucket.session().put("a b", b"c")
        assert bucket.folder == folder
    assert (folder / "a b").read_bytes() == b"c"


def test_the_secret_is_marked_and_not_shown() -> None:
    assert secrets(Settings) == {"secret_access_key"}
    assert SECRET not in repr(Settings(secret_access_key=SECRET))


# -- storages that fail


class Answers(BaseHTTPRequestHandler):
    """Answers every request alike, as soon as it may."""

    status, code, may_answer = 200, "", threading.Event()

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.may_answer.wait()
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>m</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = answer  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def failing() -> Iterator[Callable[..., ObjectVoiceStore]]:
    """A store whose server answers `failing(503, "SlowDown")`, or does not before the end of the test."""
    handler = type("Handler", (Answers,), {"may_answer": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()

        def make(status: int, code: str, answers: bool = True, timeout: float = 2.0) -> ObjectVoiceStore:
            handler.status, handler.code = status, code
            if answers:
                handler.may_answer.set()
            settings = Place("s3", "x", f"http://127.0.0.1:{server.server_port}").settings(
                secret_access_key=SECRET, timeout_seconds=timeout
            )
            return ObjectVoiceStore("objects", connected(settings), 0.0)

        yield make
        handler.may_answer.set()
        server.shutdown()
        thread.join()


def works(store: ObjectVoiceStore) -> list[Callable[[], Any]]:
    return [
        store.list,
        lambda: store.read("ann", "reference-01.wav"),
        lambda: store.write(ANN, CLIPS),
        lambda: store.update(ANN),
        lambda: store.delete("ann"),
        lambda: store.read_derived("0" * 64),
        lambda: store.write_derived("0" * 64, b""),
    ]


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "AccessDenied", "refuses access"),
        (403, "SignatureDoesNotMatch", "refuses access"),
        (401, "InvalidToken", "refuses access"),
        (404, "NoSuchBucket", "bucket does not exist"),
        (400, "InvalidBucketName", "answers 400"),
        (301, "PermanentRedirect", "another region"),
        (501, "NotImplemented", "conditional writes"),
        (503, "SlowDown", "answers 503"),
        (507, "InsufficientStorage", "answers 507"),
    ],
)
def test_what_storages_answer_is_told_in_words(
    failing: Callable[..., ObjectVoiceStore], status: int, code: str, says: str
) -> None:
    store = failing(status, code)
    with capture_logs() as logs:
        for work in works(store):
            with pytest.raises(errors.StorageError, match=r"the voice store 'objects' cannot be used: ") as refused:
                work()
            message = refused.value.message
            assert says in message
            for hidden in (SECRET, "127.0.0.1", "http", "\n"):
                assert hidden not in message
    assert logs
    assert SECRET not in str(logs)


@pytest.mark.parametrize("where", ["nobody listens", "no such host", "no such bucket", "no keys"])
def test_storages_out_of_reach(endpoint: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    values: dict[str, Any] = {
        "nobody listens": {"endpoint": "http://127.0.0.1:1"},
        "no such host": {"endpoint": "https://no.such.host.invalid"},
        "no such bucket": {"url": "s3://no-such-bucket/x"},
        "no keys": {"access_key_id": "", "secret_access_key": ""},
    }[where]
    says = {"no such bucket": "bucket does not exist", "no keys": "no keys"}.get(where, "cannot be reached")
    store = ObjectVoiceStore("objects", connected(Place("s3", "x", endpoint).settings(**values)), 0.0)
    for work in works(store):
        with pytest.raises(errors.StorageError, match=says):
            work()


def test_a_storage_that_hangs_is_left_in_time(failing: Callable[..., ObjectVoiceStore]) -> None:
    store = failing(200, "", answers=False, timeout=0.5)
    for work in works(store):
        with pytest.raises(errors.StorageError, match="answer"):
            work()


def test_a_storage_that_is_slow_again_and_again_is_left_too(store: ObjectVoiceStore) -> None:
    calls: list[str] = []

    def slow(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        calls.append(real.__name__)
        time.sleep(0.2)
        return real(*given, **options)

    store._bucket.request_seconds = 0.5
    for name in ("get", "put", "head", "delete", "list"):
        meddle(store, name, slow)
    clips = {f"reference-{number:02}.wav": b"" for number in range(400)}
    with pytest.raises(errors.StorageError, match="too slowly"):
        store.write(msgspec.structs.replace(ANN, references=tuple(clips), mix=()), clips)
    assert 0 < calls.count("put") < len(clips) / 2


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    store = opened(Place("file", str(tmp_path)))
    tmp_path.rmdir()
    with pytest.raises(errors.StorageError, match="folder is gone"):
        store.list()


def test_a_library_that_panics(store: ObjectVoiceStore) -> None:
    class PanicException(BaseException):
        """As Rust's panics come: no Exception, and of no module that could be imported."""

    def panic(*_given: object, **_options: object) -> None:
        raise PanicException("called `Result::unwrap()` on an `Err` value")

    meddle(store, "list", panic)
    with pytest.raises(errors.StorageError, match="its library failed"):
        store.list()
