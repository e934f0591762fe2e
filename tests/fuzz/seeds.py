"""The files to damage: small nets of every age and kind, solvers, weights, states and means."""

from functools import cache
from pathlib import Path

import h5py
import numpy as np

from caffe_compat.formats.files import BlobStore, read_net, write_binary
from caffe_compat.layers import REGISTRY
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.prototxt import available, path
from tests.formats.test_fuzz import OLD, TEXT
from tests.layers.examples import EXAMPLES, example_text
from tests.solver.case import SOLVER, write_case

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

V1 = """name: "v1" input: "data" input_dim: [2, 3, 8, 8]
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: [1, 2] weight_decay: [1, 0]
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layers { name: "r" type: RELU bottom: "c" top: "c" }
layers { name: "p" type: POOLING bottom: "c" top: "p" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layers { name: "f" type: INNER_PRODUCT bottom: "p" top: "f" inner_product_param { num_output: 5 } }
layers { name: "s" type: SOFTMAX bottom: "f" top: "s" }
"""
MODEL = """name: "model" layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 8] } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 bias_filler { value: 0.1 } } }
layer { name: "b" type: "BatchNorm" bottom: "c" top: "b" }
layer { name: "sc" type: "Scale" bottom: "b" top: "b" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "b" top: "b" }
layer { name: "f" type: "InnerProduct" bottom: "b" top: "f" inner_product_param { num_output: 5 } }
"""


@cache
def nets() -> tuple[str, ...]:
    """Return texts of nets: one for each layer type, older forms, and the shipped definitions that are nets."""
    kinds = [example_text(kind) for kind in sorted(REGISTRY.keys() & EXAMPLES.keys())]
    shipped = [path(name).read_text() for name in available() if "solver" not in name.lower()]
    assert len(kinds) >= len(REGISTRY) - 1
    return (TEXT, OLD, V1, MODEL, *kinds, *shipped)


@cache
def solvers() -> tuple[str, ...]:
    """Return texts of solvers."""
    return (SOLVER, *(path(name).read_text() for name in available() if "solver" in name.lower()))


def write_files(folder: Path) -> dict[str, Path]:
    """Write files of every binary kind and what the solvers train on; return the files by kind."""
    write_case(folder)
    (folder / "model.prototxt").write_text(MODEL)
    net, store, rng = read_net(folder / "model.prototxt"), BlobStore(), np.random.default_rng(0)
    shapes = {"c": ((4, 3, 3, 3), (4,)), "b": ((4,), (4,), (1,)), "sc": ((4,), (4,)), "f": ((5, 144), (5,))}
    with h5py.File(folder / "weights.caffemodel.h5", "w") as file:
        for layer in net.layer:
            group = file.create_group(f"data/{layer.name}")
            for i, shape in enumerate(shapes.get(layer.name, ())):
                values = rng.standard_normal(shape).astype("f4")
                store.attach(layer.blobs.add(), values)
                group[str(i)] = values
    write_binary(net, folder / "weights.caffemodel", store)
    mean, store = pb.BlobProto(), BlobStore()
    store.attach(mean, rng.standard_normal((1, 3, 8, 8)).astype("f4"))
    write_binary(mean, folder / "mean.binaryproto", store)
    return {
        "caffemodel": folder / "weights.caffemodel",
        "caffemodel.h5": folder / "weights.caffemodel.h5",
        "binaryproto": folder / "mean.binaryproto",
        "solverstate": GOLDEN / "files/sgd_fixed_snap_iter_10.solverstate",
        "solverstate.h5": GOLDEN / "files/adam_hdf5_snap_iter_10.solverstate.h5",
    }
