"""Models on disk: what there is, which one serves, and how another one gets here."""

from more_server.models.catalogue import (
    AUTO,
    DEFAULT_MODEL,
    ModelInfo,
    check_model,
    choice_path,
    find_model,
    has_model,
    list_models,
    remove,
    serving_model,
    set_damaged_choice_aside,
    use,
)
from more_server.models.fetch import fetch_chosen
from more_server.models.incoming import XTTS2_LICENCE, import_folder
from more_server.models.licences import set_damaged_licences_aside
from more_server.models.manifest import Manifest, ManifestFile, ManifestModel, read_manifest, read_manifests
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
    "fetch_chosen",
    "find_model",
    "has_model",
    "import_folder",
    "list_models",
    "pull",
    "read_manifest",
    "read_manifests",
    "remove",
    "serving_model",
    "set_damaged_choice_aside",
    "set_damaged_licences_aside",
    "use",
)
