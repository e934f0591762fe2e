"""Copy weights that the user has into the folder of installed models."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.errors import DataError
from lq_emotion.nets.known.installation import PathLike, copy_weights_file, write_sidecars
from lq_emotion.nets.known.loading import Description, describe, load_model
from lq_emotion.nets.known.model import KnownModel, Part
from lq_emotion.nets.known.recognition import Recognition, recognise
from lq_emotion.nets.known.registry import KNOWN
from lq_emotion.nets.known.store import Store


def add_model(
    file: PathLike,
    store: Store,
    *,
    name: str | None = None,
    definition: PathLike | None = None,
    preprocess: PathLike | None = None,
    labels: PathLike | None = None,
    margin: float | None = None,
) -> tuple[str, Path]:
    """Copy weights into the store, with the files that describe them; return the model's name and folder.

    Parameters
    ----------
    file : .caffemodel or .caffemodel.h5.
    name : of the model; by default that of the model it is recognised as.
    definition, preprocess, labels : as for :func:`load_model`; needed where the weights are not recognised.
    margin : of the crop (see :class:`FaceCrop`); by default the model's, or 0.

    Raises
    ------
    CaffeCompatError
        The weights cannot be read, are described by too little, or do not fit the definition; nothing is copied then.
    """
    weights = Path(file)
    if margin is not None and not 0 <= margin <= 2:
        raise DataError("expected 0 to 2", code="out-of-range", field="--margin", value=margin)
    recognition = recognise(weights)
    if recognition is not None and recognition.model.outputs is None:
        return recognition.model.name, _add_part(weights, store, recognition, name)
    model = _chosen(recognition, name)
    if model is None and name is None:
        raise DataError("the weights are not recognised", code="field-missing", field="--name", hint="--name NAME")
    description = describe(
        weights, model, recognition, definition=definition, preprocess=preprocess, labels=labels, margin=margin
    )
    load_model(weights, definition=definition, preprocess=preprocess, labels=labels)  # they fit
    target = model.name if model else str(name)
    with store.new(target) as folder:
        _write(weights, folder, target, description)
    return target, store.folder(target)


def _chosen(recognition: Recognition | None, name: str | None) -> KnownModel | None:
    """Return the known model that the weights are added as; None where they get a name of their own.

    Raises
    ------
    DataError
        The name is that of a known model that the weights are not for.
    """
    named = next((model for model in KNOWN if name and model.name.lower() == name.lower()), None)
    if name is None:
        return recognition.model if recognition else None
    if named is not None and (recognition is None or named.name not in recognition.same):
        nature = f"those of {' or '.join(recognition.same)}" if recognition else "not recognised"
        problem = f"the weights are {nature}"
        raise DataError(problem, code="mismatch", field="--name", value=name, hint="choose a name of your own")
    return named


def _add_part(weights: Path, store: Store, recognition: Recognition, name: str | None) -> Path:
    """Add one net of a detector, and keep the nets that are installed already."""
    model, part = recognition.model, recognition.part
    if name is not None and name.lower() != model.name.lower():
        problem = f"the weights are {part.name} of {model.name}"
        raise DataError(problem, code="mismatch", field="--name", value=name, hint="leave --name out")
    earlier = [p for p in model.parts if p.name != part.name and p.name in store.weights(model.name)]
    with store.new(model.name) as folder:
        for other in earlier:
            _write_part(store.weights(model.name)[other.name], folder, model, other)
        _write_part(weights, folder, model, part)
    return store.folder(model.name)


def _write_part(weights: Path, folder: Path, model: KnownModel, part: Part) -> None:
    copy = copy_weights_file(weights, folder, part.name)
    write_sidecars(copy, part.definition(), part.preprocessing, model.outputs, model.crop)


def _write(weights: Path, folder: Path, name: str, description: Description) -> None:
    copy = copy_weights_file(weights, folder, name)
    write_sidecars(copy, description.definition, description.preprocessing, description.outputs, description.crop)
