"""What object storages and their library answer, in words that hold neither keys nor addresses."""

import os
import re

NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
"""S3's, Azure's and Google's ways to say so."""
METADATA_SERVICES = ("latest/api/token", "computeMetadata", "metadata/identity")
"""What is asked for credentials when the settings give none: Amazon's, Google's, Azure's."""


def lacks_bucket(error: BaseException) -> bool:
    """Whether it is the bucket that was not found, not an object in it."""
    return any(words in str(error) for words in NO_BUCKET)


def in_words(error: BaseException) -> str:
    """The end of a sentence about the storage."""
    text, kind = str(error), type(error).__name__
    code, status = _found(r"<Code>(\w+)</Code>", text), _found(r"status code: (\d{3})", text)
    if lacks_bucket(error):
        return "its bucket does not exist"
    if any(part in text for part in METADATA_SERVICES):
        return "there are no keys for it in the settings, and this machine has none of its own"
    if status in ("401", "403") or kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return f"it refuses access ({code or status or kind}); check the keys and what they may do"
    if number := _found(r"\(os error (\d+)\)", text.partition("Debug source")[0]):
        return os.strerror(int(number))
    if "kind: Timeout" in text:
        return "it does not answer in time"
    if "kind: Connect" in text:
        return "it cannot be reached"
    if "Received redirect" in text:
        return "it lies in another region"
    if status == "501":
        return "it does not know what is needed of it (conditional writes)"
    if status:
        return f"it answers {status}{f' ({code})' if code else ''}"
    return f"its library failed ({kind})"


def details(error: BaseException) -> str:
    """What the library says, for the log: without what stands in the query of an address or before its host."""
    words = re.split(r"[<\n]", str(error))[0][:500]
    return re.sub(r"//[^/\s@]*@", "//…@", re.sub(r"\?\S*", "?…", words))


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
