"""Thirty mistakes a user can make, each with the command or the function that reports it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

import caffe_compat.cli
import lq_emotion.cli
import matlab_ports
from caffe_compat.errors import CaffeCompatError
from lq_emotion.training.run import find_weights
from tests.solver.case import NET, SOLVER, write_case

GOLDEN = Path(__file__).parents[1] / "golden" / "messages.txt"
_MAIN = {"caffe-compat": caffe_compat.cli.main, "lq-emotion": lq_emotion.cli.main}
_INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def _net(*layers: str) -> dict[str, str]:
    return {"net.prototxt": _INPUT + "\n".join(layers) + "\n"}


def _conv(fields: str, name: str = "conv1", bottom: str = "data") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"\n'
        f"  convolution_param {{ {fields} }} }}"
    )


def _train(before: str, after: str) -> dict[str, str]:
    """Return the files of a training run, with one change to its solver."""
    assert before in SOLVER
    return {"net.prototxt": NET, "solver.prototxt": SOLVER.replace(before, after)}


COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "a misspelt layer type": (
        "caffe-compat show net.prototxt",
        _net('layer { name: "conv1" type: "Convolutoin" bottom: "data" top: "conv1" }'),
    ),
    "a misspelt field": ("caffe-compat show net.prototxt", _net(_conv("num_output: 4 kernel: 3"))),
    "a kernel larger than the image": (
        "caffe-compat show net.prototxt",
        _net(_conv("num_output: 4 kernel_size: 11")),
    ),
    "a bottom that no layer makes": (
        "caffe-compat show net.prototxt",
        _net(_conv("num_output: 4 kernel_size: 3", bottom="dta")),
    ),
    "bottoms of different shapes": (
        "caffe-compat show net.prototxt",
        _net(
            _conv("num_output: 3 kernel_size: 3"),
            'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "conv1" top: "sum" }',
        ),
    ),
    "too few tops": (
        "caffe-compat show net.prototxt",
        _net('layer { name: "slice" type: "Slice" bottom: "data" top: "a" slice_param { slice_point: 1 } }'),
    ),
    "two mistakes in one net": (
        "caffe-compat show net.prototxt",
        _net(_conv("kernel_size: 3"), _conv("num_output: 4", name="conv2")),
    ),
    "an unclosed brace": ("caffe-compat show net.prototxt", {"net.prototxt": _INPUT.replace("} } }", "} }")}),
    "a missing file": ("caffe-compat show nte.prototxt", {}),
    "a solver in place of a net": ("caffe-compat show solver.prototxt", {"solver.prototxt": SOLVER}),
    "a caffemodel that is cut off": (
        "caffe-compat convert cut.caffemodel weights.h5",
        {"cut.caffemodel": "\n\x04tiny\xa2\x06\x7f\n\x02ip"},
    ),
    "a target of no known format": ("caffe-compat convert a.caffemodel weights.bin", {"a.caffemodel": ""}),
    "weights of another shape": (
        "caffe-compat convert four.h5 weights.pt --model=net.prototxt",
        _net(_conv("num_output: 8 kernel_size: 3")),
    ),
    "a solver without a net": ("caffe-compat train --solver=solver.prototxt", _train('net: "net.prototxt"', "")),
    "an unknown learning rate policy": (
        "caffe-compat train --solver=solver.prototxt",
        _train('"fixed"', '"stpe"'),
    ),
    "a test of no batches": ("caffe-compat train --solver=solver.prototxt", _train("test_iter: 3", "test_iter: 0")),
    "both weights and a snapshot": (
        "caffe-compat train --solver=solver.prototxt --weights=a.caffemodel --snapshot=a.solverstate",
        _train("", ""),
    ),
    "a device that torch does not have": (
        "caffe-compat train --solver=solver.prototxt --device=gpu:0",
        _train("", ""),
    ),
    "data that is missing": (
        "caffe-compat train --solver=solver.prototxt",
        {"net.prototxt": NET.replace("train.txt", "trian.txt"), "solver.prototxt": SOLVER},
    ),
    "a label out of range": (
        "caffe-compat train --solver=solver.prototxt",
        {
            "net.prototxt": NET.replace("EuclideanLoss", "SoftmaxWithLoss").replace("num_output: 1", "num_output: 5"),
            "solver.prototxt": SOLVER,
        },
    ),
    "a list without a label": (
        "caffe-compat convert_imageset ./ list.txt database",
        {"list.txt": "a.png 0\nb.png\n"},
    ),
    "a net and a solver compared": (
        "caffe-compat diff net.prototxt solver.prototxt",
        _net() | {"solver.prototxt": SOLVER},
    ),
    "an unknown rule": ("caffe-compat lint --ignore=inplce net.prototxt", _net()),
    "a training without data": ("lq-emotion study train --h5 h5 --out run", {}),
    "recordings in an unknown layout": ("lq-emotion data prepare --recordings recordings --out out", {"recordings/a.txt": ""}),
    "a damaged MAT-file": (
        "lq-emotion study evaluate --weights run --data HQ --out scores --names a",
        {"run/notes.txt": "", "HQ/a.mat": ""},
    ),
    "a report of nothing": ("lq-emotion study report --out results", {}),
}  # fmt: skip
"""What is wrong -> the command that reports it, and the files it reads."""

FUNCTIONS: dict[str, tuple[str, Callable[[], object]]] = {
    "an image without three planes": (
        "matlab_ports.rgb2ycbcr(np.zeros((8, 8)))",
        lambda: matlab_ports.rgb2ycbcr(np.zeros((8, 8))),
    ),
    "an unknown method of resizing": (
        'matlab_ports.imresize(np.zeros((8, 8)), 2, "bicubik")',
        lambda: matlab_ports.imresize(np.zeros((8, 8)), 2, "bicubik"),
    ),
    "a run without a snapshot": (
        'lq_emotion.training.run.find_weights(Path("run"))',
        lambda: find_weights(_written("run/log.txt", "").parent),
    ),
}
"""What is wrong -> the call that reports it, as text and as a function without arguments."""


def _written(name: str, content: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("latin-1"))
    return path


def message(case: str, folder: Path) -> str:
    """Return what a case reports, run in an empty folder."""
    with contextlib.chdir(folder):
        if case in FUNCTIONS:
            call, function = FUNCTIONS[case]
            try:
                function()
            except CaffeCompatError as error:
                return f">>> {call}\n{type(error).__name__}: {error}\n"
            raise AssertionError(f"{call} raised nothing")
        command, files = COMMANDS[case]
        if "solver.prototxt" in files:
            write_case(Path())
        if "four.h5" in command:
            _write_four_filters(Path("four.h5"))
        for name, content in files.items():
            _written(name, content)
        program, *argv = command.split()
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            code = _MAIN[program](argv)
    errors = stderr.getvalue()[max(stderr.getvalue().find(f"{program}: error: "), 0) :]
    return f"$ {command}\n{errors.replace(os.fspath(folder), 'FOLDER')}(exit code {code})\n"


def _write_four_filters(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer = file.create_group("data/conv1")
        layer["0"], layer["1"] = np.zeros((4, 3, 3, 3), "f4"), np.zeros(4, "f4")


def collected(new_folder: Callable[[], Path]) -> str:
    """Return the messages of all cases as the golden file has them."""
    return "\n".join(f"# {case}\n{message(case, new_folder())}" for case in (*COMMANDS, *FUNCTIONS))
