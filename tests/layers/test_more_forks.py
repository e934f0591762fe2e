"""Layers of forks for detectors, faces, text and poses against the transcriptions in tests/reference/caffe_more_forks.py."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.layers.agreement import Values, agree, single
from tests.nets import build_graph, build_net
from tests.refusals import refused

ROIS = np.array(
    [[0, 0, 0, 40, 30], [1, 11.4, 5.6, 33.6, 20.5], [0, -30, -25, 20, 10], [1, 40, 30, 90, 90], [0, 30, 30, 10, 10], [0, 200, 200, 300, 300]],
    "f4",
)  # fmt: skip


@pytest.mark.parametrize("scale", [1, 0.125])
@pytest.mark.parametrize("group", [1, 3])
def test_position_sensitive_pooling_is_the_transcriptions(scale, group):
    body = f"psroi_pooling_param {{ output_dim: 2 group_size: {group} spatial_scale: {scale} }}"
    text = single("PSROIPooling", [(2, 2 * group * group, 5, 6), ROIS.shape], body)
    agree(text, labels={"x1": ROIS}, values=Values(1))


def test_a_region_of_no_image_is_refused():
    body = "psroi_pooling_param { output_dim: 1 group_size: 1 spatial_scale: 1 }"
    net = build_net(single("PSROIPooling", [(1, 1, 4, 4), (1, 5)], body))
    with refused("out-of-range", field="rois"):
        net(torch.zeros(1, 1, 4, 4), torch.tensor([[1.0, 0, 0, 1, 1]]))


@pytest.mark.parametrize("regions", [1, 3, 20])
@pytest.mark.parametrize("shape", [(12, 1), (6, 1, 1, 2)], ids=str)
def test_the_regions_with_the_largest_loss_of_each_image_are_chosen(regions, shape):
    rng = np.random.default_rng(regions)
    count = (shape[0], *shape[2:])
    rois = np.insert(rng.uniform(size=(shape[0], 4, *shape[2:])), 0, rng.integers(0, 3, count), 1).astype("f4")
    labels = {"x0": rois, "x2": rng.integers(0, 4, shape).astype("f4")}
    shapes = [rois.shape, shape, shape, (shape[0], 8, *shape[2:])]
    body = f"box_annotator_ohem_param {{ roi_per_img: {regions} ignore_label: -1 }}"
    agree(single("BoxAnnotatorOHEM", shapes, body, ("y", "z")), labels=labels, values=Values(2))


NORMALIZATIONS = ("", "normalize: false", "normalization: FULL", "normalization: BATCH_SIZE", "normalization: NONE")


@pytest.mark.parametrize("type_", ["SmoothL1Loss", "SmoothL1LossOHEM"])
@pytest.mark.parametrize(
    ("bottoms", "mode"), [*product((2, 3), (*NORMALIZATIONS, "normalization: PRE_FIXED pre_fixed_normalizer: 7"))]
)
def test_smooth_l1_with_weights_and_the_loss_of_each_region(type_, bottoms, mode):
    text = single(type_, [(3, 4, 2, 1)] * bottoms, f"loss_param {{ {mode} }}", ("y", "z"))
    agree(text, fork="py-rfcn" if "OHEM" in type_ else "rfcn", values=Values(3))


@pytest.mark.parametrize("type_", ["SoftmaxWithLoss", "SoftmaxWithLossOHEM"])
@pytest.mark.parametrize("mode", [*NORMALIZATIONS, "ignore_label: 1"])
def test_softmax_loss_with_the_loss_of_each_prediction(type_, mode):
    labels = {"x1": np.array([[[0, 1]], [[2, 1]]], "f4")}
    text = single(type_, [(2, 3, 1, 2), (2, 1, 2)], f"loss_param {{ {mode} }}", ("y", "p", "each"))
    agree(text, labels=labels, values=Values(8))


@pytest.mark.parametrize("bottoms", [2, 3])
def test_ssds_smooth_l1_is_over_the_batch(bottoms):
    agree(single("SmoothL1Loss", [(3, 4, 2, 1)] * bottoms), fork="ssd", values=Values(3))


def test_a_plain_smooth_l1_loss_is_fast_rcnns_unless_a_fork_is_named():
    assert build_graph(single("SmoothL1Loss", [(3, 4)] * 2)).nodes[-1].spec.fork == "fast-rcnn"
    assert (
        build_graph(single("SmoothL1Loss", [(3, 4)] * 2, "loss_param { normalization: PRE_FIXED }")).nodes[-1].spec.fork
        == "rfcn"
    )


def test_a_softmax_loss_with_three_tops_is_rfcns_without_being_named():
    text = single("SoftmaxWithLoss", [(2, 3), (2,)], "", ("y", "p", "each"))
    assert build_graph(text).nodes[-1].spec.fork == "rfcn"
    assert build_graph(single("SoftmaxWithLoss", [(2, 3), (2,)], "", ("y", "p"))).nodes[-1].spec.fork == ""


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 1, 3)], ids=str)
def test_center_loss_moves_each_center_by_a_mean_of_its_own(shape):
    labels = {"x1": np.array([0, 2, 2, 1, 2], "f4")}
    text = single("CenterLoss", [shape, (5,)], "center_loss_param { num_output: 4 }", extra="loss_weight: 0.25")
    agree(text, labels=labels, values=Values(4))


@pytest.mark.parametrize("margin", ["SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"])
@pytest.mark.parametrize("fall", ["", "base: 1000 gamma: 0.12 power: 1 lambda_min: 5 iteration: 30", "base: 0"])
def test_angular_margins(margin, fall):
    rng = np.random.default_rng(5)
    labels = {"x1": rng.integers(0, 6, 40).astype("f4")}
    text = single(
        "MarginInnerProduct", [(40, 2), (40,)], f"margin_inner_product_param {{ num_output: 6 type: {margin} {fall} }}", ("y", "l")
    )  # fmt: skip
    agree(text, labels=labels, values=Values(6), forwards=1)


def test_lambda_falls_with_each_pass():
    body = "margin_inner_product_param { num_output: 2 base: 6 gamma: 1 type: DOUBLE weight_filler { type: 'xavier' } }"
    net = build_net(single("MarginInnerProduct", [(1, 2), (1,)], body, ("y", "l")))
    seen = [float(net.forward_dict({"x0": torch.ones(1, 2), "x1": torch.zeros(1)})["l"]) for _ in range(3)]
    assert seen == [3, 2, 1.5]


LABELS = np.array([[0, 1, 3], [1, 1, 3], [2, 3, 3], [0, 0, 0]], "f4")


@pytest.mark.parametrize("steps", [4, 5])
def test_ctc_loss_sums_over_all_paths(steps):
    body = f"ctc_loss_param {{ alphabet_size: 4 time_step: {steps} blank_label: 3 }}"
    agree(single("CtcLoss", [(5, 4, 4), LABELS.shape], body), labels={"x1": LABELS}, values=Values(7))


def test_a_sequence_too_short_for_its_labels_costs_nothing():
    net = build_net(single("CtcLoss", [(1, 1, 3), (1, 2)], "ctc_loss_param { alphabet_size: 3 time_step: 1 }"))
    x = torch.randn(1, 1, 3, requires_grad=True)
    loss = net(x, torch.tensor([[1.0, 2]]))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


@pytest.mark.parametrize("labels", [[[0.0, 4]], [[-1.0, 0]]])
def test_a_label_of_no_letter_is_refused(labels):
    net = build_net(single("CtcLoss", [(3, 1, 4), (1, 2)], "ctc_loss_param { alphabet_size: 4 time_step: 3 }"))
    with refused("out-of-range", field="label"):
        net(torch.zeros(3, 1, 4), torch.tensor(labels))


def test_marks_and_accuracy_of_sequences():
    agree(single("ContinuationIndicator", [], "continuation_indicator_param { time_step: 3 batch_size: 2 }"))
    scores = np.eye(4)[[[3, 0, 0, 3, 1], [1, 3, 1, 1, 3], [2, 2, 2, 0, 3], [0, 3, 0, 0, 1]]]
    labels = {"x0": scores.astype("f4"), "x1": np.array([[0, 1, 3], [3, 1, 1], [2, 3, 3], [0, 0, 1]], "f4")}
    body = "labelsequence_accuracy_param { blank_label: 3 }"
    text = single("LabelsequenceAccuracy", [scores.shape, (4, 3)], body)
    agree(text, labels=labels)
    assert float(build_net(text)(*map(torch.from_numpy, labels.values()))) == 0.75


@pytest.mark.parametrize(
    "body", ["", "ignore_label: 1 ignore_label: 9", "ignore_label: 1 ignore_label: 9 reset: false"]
)
def test_scores_of_a_segmentation(body):
    labels = {"x1": np.random.default_rng(1).choice([0, 2, 9, 1] if body else [0, 1, 2], (2, 1, 4, 5)).astype("f4")}
    text = single("SegAccuracy", [(2, 4, 4, 5), (2, 1, 4, 5)], f"seg_accuracy_param {{ {body} }}")
    agree(text, labels=labels, values=Values(2, grid=True), forwards=2)


@pytest.mark.parametrize(("reset", "accuracy"), [("true", 0), ("false", 0.5)])
def test_the_counts_of_earlier_passes_remain_without_reset(reset, accuracy):
    net = build_net(single("SegAccuracy", [(1, 2, 1, 1), (1, 1, 1, 1)], f"seg_accuracy_param {{ reset: {reset} }}"))
    scores = torch.tensor([1.0, 0]).view(1, 2, 1, 1)
    assert net(scores, torch.zeros(1, 1, 1, 1)).flatten().tolist() == [1, 1, 1]
    assert float(net(scores, torch.ones(1, 1, 1, 1)).flatten()[0]) == accuracy


def test_a_pixel_of_no_class_is_refused():
    net = build_net(single("SegAccuracy", [(1, 2, 1, 1), (1, 1, 1, 1)]))
    with refused("out-of-range", field="label"):
        net(torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1, 1), 255.0))


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ((1, 2, 5, 7), "factor: 8"),
        ((3, 1, 9, 12), "factor: 2 start_scale: 1 scale_gap: 0.3"),
        ((2, 1, 6, 8), "target_spatial_width: 11 target_spatial_height: 4 start_scale: 0.9"),
        ((1, 1, 3, 4), "target_spatial_width: 2 target_spatial_height: 3"),
    ],
)
def test_maps_of_several_scales_are_resized_and_averaged(shape, body):
    agree(single("ImResize", [shape], f"imresize_param {{ {body} }}"), values=Values(9), tolerance=1e-9)


@pytest.mark.parametrize("shape", [(1, 3, 12, 9), (1, 3, 8, 14), (2, 4, 7, 7)], ids=str)
@pytest.mark.parametrize("body", ["num_parts: 3", "num_parts: 2 threshold: 0.1 max_peaks: 2"])
def test_peaks_of_maps(shape, body):
    agree(single("Nms", [shape], f"nms_param {{ {body} }}"), values=Values(10), tolerance=1e-6)


REFUSALS = [
    ("PSROIPooling", [(1, 8, 4, 4), (1, 5)], "psroi_pooling_param { output_dim: 2 group_size: 2 }", "field-missing"),
    ("PSROIPooling", [(1, 7, 4, 4), (1, 5)], "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 1 }", "shape-mismatch"),
    ("BoxAnnotatorOHEM", [(4, 5), (4,), (3,), (4, 8)], "box_annotator_ohem_param { roi_per_img: 2 }", "shape-mismatch"),
    ("BoxAnnotatorOHEM", [(4, 5), (4,), (4,), (4, 8)], "", "out-of-range"),
    ("SmoothL1LossOHEM", [(4, 5), (4, 6)], "", "shape-mismatch"),
    ("SoftmaxWithLossOHEM", [(4, 5), (4,)], "loss_param { normalization: PRE_FIXED }", "unsupported"),
    ("SoftmaxWithLossOHEM", [(4, 5), (4,)], "loss_param { normalization: FIXED }", "name-unknown"),
    ("CenterLoss", [(4, 5), (4,)], "", "out-of-range"),
    ("CenterLoss", [(4, 5, 2), (4,)], "center_loss_param { num_output: 2 axis: 2 }", "unsupported"),
    ("CenterLoss", [(4, 5), (5,)], "center_loss_param { num_output: 2 }", "shape-mismatch"),
    ("MarginInnerProduct", [(4, 5), (4,)], "", "out-of-range"),
    ("MarginInnerProduct", [(4, 5), (3,)], "margin_inner_product_param { num_output: 2 }", "shape-mismatch"),
    ("CtcLoss", [(4, 2, 5), (3, 2)], "ctc_loss_param { alphabet_size: 5 time_step: 4 }", "shape-mismatch"),
    ("CtcLoss", [(4, 2, 5), (2, 2)], "ctc_loss_param { alphabet_size: 6 time_step: 4 }", "mismatch"),
    ("CtcLoss", [(4, 2, 5), (2, 2)], "ctc_loss_param { alphabet_size: 5 time_step: 5 }", "out-of-range"),
    ("CtcLoss", [(4, 2, 5), (2, 2)], "ctc_loss_param { alphabet_size: 5 time_step: 4 blank_label: 5 }", "out-of-range"),
    ("ContinuationIndicator", [], "continuation_indicator_param { time_step: 5 }", "out-of-range"),
    ("LabelsequenceAccuracy", [(4, 2, 5), (3, 2)], "", "shape-mismatch"),
    ("SegAccuracy", [(4, 2, 5, 5), (4, 5, 5)], "", "shape-mismatch"),
    ("ImResize", [(4, 2, 5)], "", "shape-mismatch"),
    ("ImResize", [(4, 2, 5, 5)], "imresize_param { factor: 0.1 }", "out-of-range"),
    ("ImResize", [(4, 2, 5, 5)], "imresize_param { scale_gap: 0.5 }", "out-of-range"),
    ("Nms", [(1, 2, 5, 5)], "", "shape-mismatch"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "shapes", "body", "code"), REFUSALS)
def test_what_the_fork_would_refuse_or_misread_is_an_error(type_, shapes, body, code):
    tops = ("y", "z") if type_ in ("BoxAnnotatorOHEM", "MarginInnerProduct") else ("y",)
    with refused(code):
        build_graph(single(type_, shapes, body, tops))
