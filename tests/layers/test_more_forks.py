"""Layers of forks for detectors, faces, text and poses: what cases.py cannot state."""

import pytest
import torch

from tests.layers.agreement import single
from tests.nets import build_graph, build_net
from tests.refusals import refused


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


def test_lambda_falls_with_each_pass():
    body = "margin_inner_product_param { num_output: 2 base: 6 gamma: 1 type: DOUBLE weight_filler { type: 'xavier' } }"
    net = build_net(single("MarginInnerProduct", [(1, 2), (1,)], body, ("y", "l")))
    seen = [float(net.forward_dict({"x0": torch.ones(1, 2), "x1": torch.zeros(1)})["l"]) for _ in range(3)]
    assert seen == [3, 2, 1.5]


def test_a_sequence_too_short_for_its_labels_costs_nothing():
    net = build_net(single("CtcLoss", [(1, 1, 3), (1, 2)], "ctc_loss_param { alphabet_size: 3 time_step: 1 }"))
    x = torch.randn(1, 1, 3, requires_grad=True)
    loss = net(x, torch.tensor([[1.0, 2]]))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


@pytest.mark.parametrize(
    ("type_", "shape", "body", "second", "field"),
    [
        ("PSROIPooling", (1, 1, 4, 4), "psroi_pooling_param { output_dim: 1 group_size: 1 spatial_scale: 1 }", [[1, 0, 0, 1, 1]], "rois"),
        ("CtcLoss", (3, 1, 4), "ctc_loss_param { alphabet_size: 4 time_step: 3 }", [[0, 4]], "label"),
        ("CtcLoss", (3, 1, 4), "ctc_loss_param { alphabet_size: 4 time_step: 3 }", [[-1, 0]], "label"),
        ("SegAccuracy", (1, 2, 1, 1), "", [[[[255]]]], "label"),
    ],
)  # fmt: skip
def test_an_image_letter_or_class_beyond_the_last_is_refused(type_, shape, body, second, field):
    bottom = torch.tensor(second, dtype=torch.float32)
    net = build_net(single(type_, [shape, tuple(bottom.shape)], body))
    with refused("out-of-range", field=field):
        net(torch.zeros(shape), bottom)


@pytest.mark.parametrize(("reset", "accuracy"), [("true", 0), ("false", 0.5)])
def test_the_counts_of_earlier_passes_remain_without_reset(reset, accuracy):
    net = build_net(single("SegAccuracy", [(1, 2, 1, 1), (1, 1, 1, 1)], f"seg_accuracy_param {{ reset: {reset} }}"))
    scores = torch.tensor([1.0, 0]).view(1, 2, 1, 1)
    assert net(scores, torch.zeros(1, 1, 1, 1)).flatten().tolist() == [1, 1, 1]
    assert float(net(scores, torch.ones(1, 1, 1, 1)).flatten()[0]) == accuracy
