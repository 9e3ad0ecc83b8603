"""Every error a person can meet, with its HTTP status and code.

MoreError                       500 server_error
├── BadInput                    400 invalid_value         the request names `param`
│   ├── VoiceNotFound           404 voice_not_found
│   ├── ModelNotFound           404 model_not_found
│   ├── ConsentNotFound         404 consent_not_found
│   ├── PluginNotFound          404 plugin_not_found
│   ├── KeyNotFound             404 key_not_found
│   ├── JobNotFound             404 job_not_found
│   ├── ResultNotFound          404 result_not_found      the job has not made it, or not yet
│   ├── DatasetNotFound         404 dataset_not_found
│   ├── UploadNotFound          404 upload_not_found
│   ├── Conflict                409 conflict              not now: what it is about is in another state
│   │   ├── VoiceChanged        409 voice_changed         a job has spoken with what the voice was before
│   │   └── UploadLocked        423 upload_locked         another request sends bytes of it
│   ├── RouteNotFound           404 not_found
│   ├── MethodNotAllowed        405 method_not_allowed
│   ├── RequestTimeout          408 request_timeout       the client has kept the server waiting
│   ├── Changed                 412 precondition_failed   the file is not the one that the request is about (If-Match)
│   ├── WrongVersion            412 precondition_failed   an upload by another version of tus, or by none
│   ├── TooLarge                413 payload_too_large
│   ├── WrongType               415 unsupported_media_type
│   ├── NoSuchRange             416 range_not_satisfiable the file ends before the bytes that are asked for
│   └── WrongChecksum           460 checksum_mismatch     what came is not what was sent; the status is tus's own
├── NotAuthenticated            401 invalid_api_key       no key was shown, or a wrong one
├── NotAllowed                  403 insufficient_scope    the key is right and not enough
│   └── ForeignPage             403 foreign_page          what may be another site's page asks for administration
├── Busy                        429 rate_limit_exceeded   with retry_after
├── Unavailable                 503 server_busy           with retry_after
│   ├── ModelLoading            503 model_loading
│   ├── Resting                 503 speech_paused         a model is trained in the memory that speech needs
│   ├── OutOfTime               503 out_of_time           speech has taken longer than it may
│   └── KeysUnreadable          503 keys_unreadable       stops the start; later nobody is let in
├── EngineFailure               500 server_error          the device or the model failed
├── PluginFailure               500 plugin_error          a plugin failed, which the text names
├── BrokenVoice                 500 broken_voice          a voice's reference cannot be used
├── StorageError                500 storage_error         a file cannot be read or written
│   ├── InUse                   503 in_use                somebody else writes the same, with retry_after
│   ├── DatabaseAway            503 database_away         with retry_after
│   └── DiskFull                507 disk_full
├── SettingsError               stops the start
└── ModelError                  stops the start, or an import or a download
"""

from collections.abc import Iterable


class MoreError(Exception):
    """Root of the tree; its text is written for the person who reads it."""

    status = 500
    code = "server_error"
    kind = "server_error"
    """The `type` of OpenAI's error body."""

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """Name of the field at fault, as the caller spells it."""
        self.retry_after = retry_after
        """Seconds after which a new attempt makes sense."""


class BadInput(MoreError):
    """The caller can mend it; `param` names the field and the text says what is allowed."""

    status = 400
    code = "invalid_value"
    kind = "invalid_request_error"


class VoiceNotFound(BadInput):
    """No voice has this id or alias."""

    status = 404
    code = "voice_not_found"


class ModelNotFound(BadInput):
    """No model has this id."""

    status = 404
    code = "model_not_found"


class ConsentNotFound(BadInput):
    """No consent has this id."""

    status = 404
    code = "consent_not_found"


class PluginNotFound(BadInput):
    """No plugin has this name."""

    status = 404
    code = "plugin_not_found"


class KeyNotFound(BadInput):
    """No key has this id."""

    status = 404
    code = "key_not_found"


class JobNotFound(BadInput):
    """No job has this id, or it is somebody else's."""

    status = 404
    code = "job_not_found"


class ResultNotFound(BadInput):
    """A job has no such result, or none yet."""

    status = 404
    code = "result_not_found"


class DatasetNotFound(BadInput):
    """No dataset has this name."""

    status = 404
    code = "dataset_not_found"


class UploadNotFound(BadInput):
    """No upload has this id, or its time is over."""

    status = 404
    code = "upload_not_found"


class Conflict(BadInput):
    """What the request is about is in a state that does not allow it."""

    status = 409
    code = "conflict"


class VoiceChanged(Conflict):
    """A voice's references are not those any more that a job has begun to speak with."""

    code = "voice_changed"


class RouteNotFound(BadInput):
    """No such path."""

    status = 404
    code = "not_found"


class MethodNotAllowed(BadInput):
    """The path exists, with another method."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(BadInput):
    """What the client is to send did not come in time."""

    status = 408
    code = "request_timeout"


class Changed(BadInput):
    """A file is not, or no more, the one that the request asks for."""

    status = 412
    code = "precondition_failed"


class TooLarge(BadInput):
    """More bytes or seconds than the settings allow."""

    status = 413
    code = "payload_too_large"


class UploadLocked(Conflict):
    """Another request sends bytes of the same upload."""

    status = 423
    code = "upload_locked"


class WrongVersion(BadInput):
    """The client speaks another version of tus, or none."""

    status = 412
    code = "precondition_failed"


class WrongType(BadInput):
    """The body says that it is something else."""

    status = 415
    code = "unsupported_media_type"


class WrongChecksum(BadInput):
    """What came is not what was sent; tus has a status of its own for it."""

    status = 460
    code = "checksum_mismatch"


class NoSuchRange(BadInput):
    """A file ends before the bytes that are asked for."""

    status = 416
    code = "range_not_satisfiable"


class NotAuthenticated(MoreError):
    """The request shows no key, or none that is known."""

    status = 401
    code = "invalid_api_key"
    kind = "invalid_request_error"


class NotAllowed(MoreError):
    """Who asks is known, and may not do this."""

    status = 403
    code = "insufficient_scope"
    kind = "invalid_request_error"


class ForeignPage(NotAllowed):
    """While there is no key, administration is refused to whatever may be a page of another site in a browser."""

    code = "foreign_page"


class Busy(MoreError):
    """The queue is full, or a key's own limit is reached."""

    status = 429
    code = "rate_limit_exceeded"
    kind = "rate_limit_error"


class Unavailable(MoreError):
    """The server cannot speak at the moment."""

    status = 503
    code = "server_busy"


class ModelLoading(Unavailable):
    """The model is not loaded yet."""

    code = "model_loading"


class Resting(Unavailable):
    """Speech is paused while a model is being trained."""

    code = "speech_paused"


class OutOfTime(Unavailable):
    """Speech was not made, or not taken, within the time that a request may have."""

    code = "out_of_time"


class KeysUnreadable(Unavailable):
    """The file of keys is damaged or out of reach, so nobody can be told from anybody else."""

    code = "keys_unreadable"


class EngineFailure(MoreError):
    """The device or the model failed while speaking."""


class PluginFailure(MoreError):
    """Code of a plugin raised, hung, or gave something that cannot be used."""

    code = "plugin_error"

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"the plugin {plugin} failed: {reason}")
        self.plugin = plugin
        self.reason = reason


class BrokenVoice(MoreError):
    """A voice that is installed has a reference that cannot be used; whoever asked for it cannot mend that."""

    code = "broken_voice"


class StorageError(MoreError):
    """A file or folder of ours cannot be read or written."""

    code = "storage_error"


class InUse(StorageError):
    """Somebody else writes the same, and has done so for longer than is waited."""

    status = 503
    code = "in_use"


class DatabaseAway(StorageError):
    """What servers share cannot be changed, nor read where that is not copied."""

    status = 503
    code = "database_away"


class DiskFull(StorageError):
    """There is no room; what has come stays."""

    status = 507
    code = "disk_full"


class SettingsError(MoreError):
    """The configuration does not fit; stops the start."""


class ModelError(MoreError):
    """A model folder, import or download is broken; the text says where and why."""


def allowed(names: Iterable[str]) -> str:
    """The end of a message: what exists, in order."""
    return ", ".join(sorted(names)) or "none"


def shown(value: str) -> str:
    """A caller's value for a message, cut where it is long."""
    return repr(value if len(value) <= 80 else value[:77] + "...")
