"""The configuration of the experiments as a file to edit, also where it is in a database."""

import hashlib
from typing import Any

from scheduler_service.documents import parse
from scheduler_service.errors import ExperimentConflict, InvalidExperiment
from scheduler_service.experiments.config import ConfigFile, Document, Snapshot
from scheduler_service.files import json_text

EXPORTED = "_exported"
"""The member of an exported file by which `import_config` notices a change in between."""


def export_config(file: ConfigFile) -> str:
    """The configuration as JSON, for a person to edit.

    Raises:
        StorageUnavailable: it is invalid.
    """
    document = file.known().document
    return json_text({EXPORTED: _digest(document), **_without_mark(document)})


def import_config(file: ConfigFile, content: bytes, *, although_changed: bool = False) -> Snapshot:
    """Replace the configuration by the one in `content`; returns the new state.

    Args:
        content: JSON as `export_config` returns it, edited.
        although_changed: also if somebody else has changed the configuration since the export.

    Raises:
        InvalidExperiment: it is not valid; nothing has changed.
        ExperimentConflict: somebody else has changed the configuration since the export.
        ModelNotFound, AmbiguousModelName: the registry does not know which model is meant.
    """
    try:
        new = parse(content)
    except ValueError as err:
        raise InvalidExperiment("import_not_json", reason=str(err)) from err
    if not isinstance(new, dict):
        raise InvalidExperiment("config_not_object")
    exported = new.get(EXPORTED)

    def replace(document: Document) -> None:
        if exported is not None and exported != _digest(document) and not although_changed:
            raise ExperimentConflict("changed_since_export")
        document.clear()
        document.update(_without_mark(new))

    return file.update(replace)


def _without_mark(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != EXPORTED}


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json_text(_without_mark(document)).encode()).hexdigest()[:16]
