"""Which files a dataset is made of, by their names; the content is looked at where it is made."""

from pathlib import PurePosixPath

READABLE = frozenset(
    (
        *(".wav", ".w64", ".mp3", ".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".ogg", ".oga", ".opus", ".flac"),
        *(".webm", ".mka", ".mkv", ".aiff", ".aif", ".aifc", ".caf"),
    )
)
ARCHIVE = ".zip"
METADATA = frozenset(("metadata.csv", "metadata_train.csv", "metadata_eval.csv"))
"""The latter two are what coqui's fine-tuning page writes; what is held out is chosen anew."""
STREWN = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
"""What systems leave in folders, beside names that begin with a dot."""


def is_recording(name: str) -> bool:
    """Whether it looks like audio that can be read."""
    return PurePosixPath(name).suffix.lower() in READABLE


def is_metadata(name: str) -> bool:
    """Whether it tells what recordings say."""
    return PurePosixPath(name).name.lower() in METADATA


def is_archive(name: str) -> bool:
    """Whether it holds other files."""
    return PurePosixPath(name).suffix.lower() == ARCHIVE


def is_strewn(name: str) -> bool:
    """Whether a file or folder is none of a person's."""
    return name.startswith(".") or name.lower() in STREWN
