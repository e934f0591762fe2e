"""A net that trains in milliseconds, its data and its solver, written into a folder."""

import h5py
import numpy as np

NET = """
name: "tiny"
layer { name: "feed" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }
  hdf5_data_param { source: "train.txt" batch_size: 4 } }
layer { name: "feed" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }
  hdf5_data_param { source: "test.txt" batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt"
base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed"
max_iter: 12 display: 4 test_iter: 3 test_interval: 6
snapshot: 5 snapshot_prefix: "snap" solver_mode: CPU random_seed: 1
"""


def write_case(folder, *, net=NET, solver=SOLVER):
    """Write net.prototxt, solver.prototxt and the data; return the folder."""
    rng = np.random.default_rng(0)
    for name, rows in (("train", 10), ("test", 15)):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            data = rng.standard_normal((rows, 3)).astype("f4")
            file["data"] = data
            file["label"] = data @ np.float32([[1], [-2], [0.5]]) + np.float32(0.25)
        (folder / f"{name}.txt").write_text(f"{name}.h5\n")
    (folder / "net.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(solver)
    return folder
