"""Models on disk: what there is, which one serves, and how another one gets here."""

from more_server.models.catalogue import (
    AUTO,
    DEFAULT_MODEL,
    ModelInfo,
    check_model,
    choice_path,
    find_model,
    list_models,
    remove,
    serving_model,
    set_damaged_choice_aside,
    use,
)
from more_server.models.incoming import XTTS2_LICENCE, import_folder
from more_server.models.manifest import Manifest, ManifestFile, ManifestModel, read_manifest
from more_server.models.pull import PulledFile, PullResult, pull

__all__ = (
    "AUTO",
    "DEFAULT_MODEL",
    "XTTS2_LICENCE",
    "Manifest",
    "ManifestFile",
    "ManifestModel",
    "ModelInfo",
    "PullResult",
    "PulledFile",
    "check_model",
    "choice_path",
    "find_model",
    "import_folder",
    "list_models",
    "pull",
    "read_manifest",
    "remove",
    "serving_model",
    "set_damaged_choice_aside",
    "use",
)
