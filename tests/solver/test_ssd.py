"""A small SSD that our solver trains on drawn shapes finds them: the fork's data layer, loss, detections and test together."""

import io
import re

import cv2
import numpy as np
import pytest
import torch

from caffe_compat import load_net
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb
from caffe_compat.solver import CaffeLog, Solver
from tests.data.databases import write_lmdb

SIDE = 64


def drawn(rng):
    """An image with one or two shapes, dark squares (class 1) and bright discs (class 2), and their AnnotatedDatum."""
    image = rng.integers(100, 150, (SIDE, SIDE, 3), dtype=np.uint8)
    record = fb.AnnotatedDatum(type=fb.AnnotatedDatum.BBOX)
    for left in rng.permutation([2, 34])[: rng.integers(1, 3)]:
        label, size = int(rng.integers(1, 3)), int(rng.integers(14, 28))
        x, y = left + int(rng.integers(0, 30 - size + 1)), int(rng.integers(0, SIDE - size))
        if label == 1:
            image[y : y + size, x : x + size] = rng.integers(0, 50, 3)
        else:
            colour = tuple(int(v) for v in rng.integers(200, 256, 3))
            cv2.circle(image, (x + size // 2, y + size // 2), size // 2, colour, -1)
        box = record.annotation_group.add(group_label=label).annotation.add().bbox
        box.xmin, box.ymin, box.xmax, box.ymax = (v / SIDE for v in (x, y, x + size, y + size))
    content = cv2.imencode(".png", image)[1].tobytes()
    record.datum.CopyFrom(pb.Datum(data=content, encoded=True, channels=3, height=SIDE, width=SIDE, label=-1))
    return record.SerializeToString()


def conv(name, bottom, outputs, kernel, *, stride=1, relu=True):
    lines = f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ num_output: {outputs}
      kernel_size: {kernel} pad: {kernel // 2} stride: {stride} weight_filler {{ type: "xavier" }} }} }}"""
    return lines + (f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}' if relu else "")


def head(source, size, largest):
    """Locations, classes and priors of one map, flattened: three priors in a cell."""
    parts = [
        f"""layer {{ name: "{source}_prior" type: "PriorBox" bottom: "{source}" bottom: "data" top: "{source}_prior" prior_box_param {{
      min_size: {size} max_size: {largest} aspect_ratio: 1.5 flip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }} }}"""
    ]
    for what, outputs in (("loc", 12), ("conf", 9)):
        name = f"{source}_{what}"
        parts += [
            conv(name, source, outputs, 3, relu=False),
            f'layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm" permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}',
            f'layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" flatten_param {{ axis: 1 }} }}',
        ]
    return "\n".join(parts)


def concat(what, axis):
    bottoms = " ".join(f'bottom: "{source}_{what}"' for source in ("c3", "c4"))
    return f'layer {{ name: "{what}" type: "Concat" {bottoms} top: "{what}" concat_param {{ axis: {axis} }} }}'


FEED = """layer { name: "data" type: "AnnotatedData" top: "data" top: "label" include { phase: %s }
  data_param { source: "%s" batch_size: %d backend: LMDB } transform_param { mean_value: 125 scale: 0.02 %s } annotated_data_param { %s } }"""
CROPS = """batch_sampler { max_sample: 1 max_trials: 1 } batch_sampler { sampler { min_scale: 0.8 max_scale: 1 }
  sample_constraint { min_object_coverage: 0.9 } max_sample: 1 max_trials: 10 }"""
SIZED = "resize_param { height: 64 width: 64 }"
BODY = "\n".join([
    conv("c1", "data", 12, 3, stride=2), conv("c2", "c1", 16, 3, stride=2), conv("c3", "c2", 24, 3, stride=2), conv("c4", "c3", 24, 3, stride=2),
    head("c3", 14, 20), head("c4", 22, 30), concat("loc_flat", 1), concat("conf_flat", 1), concat("prior", 2),
])  # fmt: skip
LOSS = """layer { name: "loss" type: "MultiBoxLoss" bottom: "loc_flat" bottom: "conf_flat" bottom: "prior" bottom: "label" top: "loss" include { phase: TRAIN }
  propagate_down: true propagate_down: true propagate_down: false propagate_down: false
  multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE overlap_threshold: 0.5 } }"""
DETECT = """layer { name: "rows" type: "Reshape" bottom: "conf_flat" top: "rows" reshape_param { shape { dim: 0 dim: -1 dim: 3 } } include { phase: TEST } }
layer { name: "softmax" type: "Softmax" bottom: "rows" top: "softmax" softmax_param { axis: 2 } include { phase: TEST } }
layer { name: "scores" type: "Flatten" bottom: "softmax" top: "scores" flatten_param { axis: 1 } include { phase: TEST } }
layer { name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "scores" bottom: "prior" top: "found" include { phase: TEST }
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.01 nms_param { nms_threshold: 0.45 top_k: 100 } } }"""
EVALUATE = """layer { name: "map" type: "DetectionEvaluate" bottom: "found" bottom: "label" top: "map" include { phase: TEST }
  detection_evaluate_param { num_classes: 3 } }"""
SOLVER = """net: "net.prototxt" type: "Adam" base_lr: 0.003 lr_policy: "multistep" gamma: 0.2 stepvalue: 280 momentum: 0.9 momentum2: 0.999
max_iter: 350 test_iter: 4 test_interval: 350 test_initialization: false snapshot_prefix: "ssd" random_seed: 1 solver_mode: CPU
eval_type: "detection" ap_version: "11point" show_per_class_result: true"""


DISTORTED = """distort_param { brightness_prob: 0.5 brightness_delta: 32 contrast_prob: 0.5 contrast_lower: 0.5 contrast_upper: 1.5 hue_prob: 0.5
  hue_delta: 18 saturation_prob: 0.5 saturation_lower: 0.5 saturation_upper: 1.5 random_order_prob: 0.5 } expand_param { max_expand_ratio: 2 }"""


def test_a_resumed_training_is_the_uninterrupted_one(folder):
    rng = np.random.default_rng(0)
    write_lmdb(folder / "train", [drawn(rng) for _ in range(20)])
    feed = FEED % ("TRAIN", "train", 4, f"mirror: true {SIZED} {DISTORTED}", CROPS)
    (folder / "net.prototxt").write_text(f"{feed}\n{BODY}\n{LOSS}")
    lines = 'net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed" max_iter: 8 snapshot: 4 snapshot_prefix: "ssd" random_seed: 1'
    weights = []
    for state in (None, "ssd_iter_4.solverstate"):
        with Solver(parse_text(lines, pb.SolverParameter), base_dir=folder) as solver:
            if state is not None:
                solver.restore(state)
            solver.solve()
            weights.append({name: value.clone() for name, value in solver.net.state_dict().items()})
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.slow  # 350 iterations
def test_a_small_ssd_learns_to_find_drawn_shapes(folder):
    rng = np.random.default_rng(0)
    for name, count in (("train", 400), ("test", 100)):
        write_lmdb(folder / name, [drawn(rng) for _ in range(count)])
    feeds = FEED % ("TRAIN", "train", 16, f"mirror: true {SIZED}", CROPS) + FEED % ("TEST", "test", 25, SIZED, "")
    (folder / "net.prototxt").write_text(f"{feeds}\n{BODY}\n{LOSS}\n{DETECT}\n{EVALUATE}")
    log = io.StringIO()
    with Solver(parse_text(SOLVER, pb.SolverParameter), base_dir=folder, log=CaffeLog(log)) as solver:
        solver.solve()
        ((name, precision),) = solver.test(0).scores
    assert name == "map"
    assert precision > 0.9
    logged = re.findall(
        r"solver.cpp:(540\] class[12]|546\]     Test net output #0: map) ?[:=] ([\d.]+)", log.getvalue()
    )
    assert [place for place, _ in logged[:3]] == ["540] class1", "540] class2", "546]     Test net output #0: map"]
    assert float(logged[2][1]) == pytest.approx(precision, abs=1e-5)
    deployed = load_net(folder / "net.prototxt", folder / "ssd_iter_350.caffemodel")
    record = fb.AnnotatedDatum.FromString(drawn(rng))
    pixels = cv2.imdecode(np.frombuffer(record.datum.data, np.uint8), cv2.IMREAD_COLOR).transpose(2, 0, 1)
    best = deployed(torch.from_numpy((pixels - np.float32(125)) * np.float32(0.02))[None])[0, 0]
    best = best[best[:, 2].argmax()]
    objects = [
        [g.group_label, b.xmin, b.ymin, b.xmax, b.ymax] for g in record.annotation_group for b in [g.annotation[0].bbox]
    ]
    assert any(best[[1, 3, 4, 5, 6]].tolist() == pytest.approx(row, abs=0.1) for row in objects)
