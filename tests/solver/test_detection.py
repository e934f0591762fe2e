"""SSD's detection test: average precision as weiliu89/caffe (ssd) computes it, its fields and its log lines."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import CaffeLog, Solver
from caffe_compat.solver.detection import DetectionScores, average_precision, detection_settings, mean_precision
from tests.refusals import refused
from tests.solver.case import NET, SOLVER, write_case

RECORD = Path(__file__).parents[1] / "golden" / "forks" / "evaluate.npz"
VERSIONS = ("11point", "MaxIntegral", "Integral")

TESTED = """
layer { name: "det" type: "DummyData" top: "det" dummy_data_param { shape { dim: 1 dim: 1 dim: 1 dim: 7 } data_filler { value: 1 } } include { phase: TEST } }
layer { name: "gt" type: "DummyData" top: "gt" dummy_data_param { shape { dim: 1 dim: 1 dim: 1 dim: 8 } data_filler { value: 1 } } include { phase: TEST } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "det" bottom: "gt" top: "eval" detection_evaluate_param { num_classes: 3 } include { phase: TEST } }
layer { name: "silence" type: "Silence" bottom: "loss" include { phase: TEST } }
"""


@pytest.mark.parametrize("name", [f"ap{number:02}" for number in range(12)])
def test_average_precisions_are_the_forks_bit_for_bit(name):
    with np.load(RECORD) as record:
        scores, right, objects, expected = (
            record[f"{name}/{key}"] for key in ("scores", "right", "objects", "precision")
        )
    actual = [average_precision(scores.tolist(), right.tolist(), int(objects), version) for version in VERSIONS]
    assert np.array(actual, "f4").tolist() == expected.tolist()


def test_a_class_without_objects_has_the_precision_0():
    assert average_precision([0.5], [False], 0, "Integral") == 0


def test_rows_of_batches_add_up_and_a_class_without_detections_counts_as_0():
    rows = DetectionScores()
    for score, right in ((0.9, 1), (0.8, 0)):
        batch = [[-1, 1, 1, -1, -1], [-1, 2, 1, -1, -1], [0, 1, score, right, 1 - right], [0, 1, 0.95, 0, 0]]
        rows.add({"eval": torch.tensor([[batch]])})
    precisions = rows.precisions("Integral")["eval"]
    assert precisions == {1: 0.5, 2: None}
    assert mean_precision(precisions) == 0.25


def lines(folder, fields, net=TESTED):
    write_case(
        folder,
        net=NET + net,
        solver=SOLVER + fields,
    )
    log = io.StringIO()
    with Solver(parse_text(SOLVER + fields, pb.SolverParameter), base_dir=folder, log=CaffeLog(log)) as solver:
        result = solver.test(0)
    return result, [line[line.index("solver.cpp") :] for line in log.getvalue().splitlines() if " solver.cpp" in line][
        -4:
    ]


def test_the_log_lines_are_the_forks(folder):
    result, last = lines(folder, 'eval_type: "detection" ap_version: "11point" show_per_class_result: true')
    assert last == [
        "solver.cpp:433] Iteration 0, Testing net (#0)",
        "solver.cpp:540] class1: 0",
        "solver.cpp:524] Missing true_pos for label: 2",
        "solver.cpp:546]     Test net output #0: eval = 0",
    ]
    assert result.scores == (("eval", 0.0),)


def test_classification_is_caffes_test(folder):
    result, last = lines(folder, 'eval_type: "classification"', net="")
    assert "solver.cpp:414]     Test net output #0: loss" in last[-1]
    assert result.scores[0][0] == "loss"


@pytest.mark.parametrize(
    ("fields", "net", "code", "field"),
    [
        ('eval_type: "segmentation"', TESTED, "name-unknown", "eval_type"),
        ('ap_version: "12point"', TESTED, "name-unknown", "ap_version"),
        ("show_per_class_result: 7", TESTED, "out-of-range", "show_per_class_result"),
        ("plateau_winsize: 3", TESTED, "field-unknown", "plateau_winsize"),
        ('eval_type: "detection"', "", "shape-mismatch", "eval_type"),  # the outputs are no detections
    ],
)
def test_values_that_the_fork_has_not_are_refused(folder, fields, net, code, field):
    with refused(code, field=field):
        lines(folder, fields, net=net)


def test_without_the_fields_nothing_is_rated():
    assert detection_settings(pb.SolverParameter()) is None
