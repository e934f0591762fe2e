"""Nets that genuine Caffe has recorded: the authors', and published ones with their real weights."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_compat import load_net
from lq_emotion.prototxt import path

DEPLOY = "matlabscripts/recon/deploy/"
AUTHORS = {"cnn_d": "model_1F_CNN+D.prototxt", "sr_fcn": "SRCNN_net.prototxt"}
PUBLISHED = {
    "mini_xception_deploy": ("mini_xception/deploy.prototxt", "mini_xception/weights.caffemodel"),
    "mtcnn_det1": ("mtcnn/det1.prototxt", "mtcnn/det1.caffemodel"),
    "mtcnn_det2": ("mtcnn/det2.prototxt", "mtcnn/det2.caffemodel"),
    "mtcnn_det3": ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
    "mtcnn_det4": ("mtcnn/det4.prototxt", "mtcnn/det4.caffemodel"),
}
LAYERS = Path(__file__).parents[1] / "golden" / "layers"
CASES = [
    folder
    for folder in sorted(LAYERS.iterdir())
    if (case := json.loads((folder / "case.json").read_text()))["phase"] == "TEST" and case["forwards"] == 1
]
"""Recorded layers in TEST, after one forward pass."""
LARGEST_DIFFERENCE = 3e-6
"""Of an output's largest magnitude: float32 sums in another order."""


@dataclass(frozen=True)
class Recorded:
    """A net, inputs and what genuine Caffe answered: values of the outputs at some places."""

    definition: Path
    weights: Path
    inputs: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    places: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    def load(self):
        return load_net(self.definition, self.weights)

    def difference(self, tops: dict[str, np.ndarray]) -> float:
        """Return the largest difference of the outputs, relative to each one's largest magnitude."""
        names = {"": next(iter(self.values))} if "" in tops else {name: name for name in tops}
        assert set(names.values()) == set(self.values)
        assert all(tops[key].shape == self.shapes[name] for key, name in names.items())
        return max(
            float(np.abs(tops[key].ravel()[self.places[name]] - self.values[name]).max())
            / max(float(np.abs(tops[key]).max()), 1e-3)
            for key, name in names.items()
        )


def author(name: str, folder: Path) -> Recorded:
    """Return an author's net; `folder` is that of the fixture `nets`."""
    record = np.load(folder / f"{name}_deploy.npz")
    (top,) = load_net(path(DEPLOY + AUTHORS[name])).returns
    sampled = f"out_sample/{top}" in record.files
    shape = tuple(record[f"out_shape/{top}"]) if sampled else record[f"out/{top}"].shape
    values = record[f"out_sample/{top}"] if sampled else record[f"out/{top}"].ravel()
    places = record[f"out_index/{top}"] if sampled else np.arange(len(values))
    definition, weights = Path(path(DEPLOY + AUTHORS[name])), folder / f"{name}.caffemodel"
    return Recorded(definition, weights, {"data": record["in/data"]}, {top: shape}, {top: places}, {top: values})


def published(name: str, folder: Path) -> Recorded:
    """Return a published net; `folder` is that of the published nets."""
    record = np.load(folder / f"{name}.caffe.npz")
    definition, weights = (folder / file for file in PUBLISHED[name])
    tops = {key[4:]: record[key] for key in record.files if key.startswith("out/")}
    return Recorded(
        definition,
        weights,
        {key[3:]: record[key] for key in record.files if key.startswith("in/")},
        {top: values.shape for top, values in tops.items()},
        {top: np.arange(values.size) for top, values in tops.items()},
        {top: values.ravel() for top, values in tops.items()},
    )
