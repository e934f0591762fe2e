"""Layer types of Caffe's forks: what cases.py cannot state."""

from itertools import product

import numpy as np
import pytest
import torch

from caffe_compat.layers.forks.detection import overlaps
from caffe_compat.layers.forks.prior_box import Priors, boxes
from tests.layers.agreement import Values, agree, single
from tests.nets import build_net
from tests.reference.caffe_forks import DetectionOutput, ForkMessage
from tests.refusals import refused

FLAGS = ("true", "false")


def test_writes_to_the_output_do_not_change_the_prior_boxes():
    priors = Priors(((2.0, 2.0),), (0.1,), clip=False, offset=0.5, image=None, step=None)
    net = build_net(single("PriorBox", [(1, 1, 2, 2), (1, 1, 8, 8)], "prior_box_param { min_size: 2 }"))
    top = net(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 8, 8))
    top.zero_()
    assert np.array_equal(net(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 8, 8)), boxes(priors, (2, 2), (8, 8)))


def detections(body, seed=0, images=2, priors=30, classes=4, grid=False):
    """Detections of the engine and of the transcription in random predictions."""
    share = "share_location: false" not in body
    shapes = [(images, priors * 4 * (1 if share else classes)), (images, priors * classes), (1, 2, priors * 4)]
    net = build_net(single("DetectionOutput", shapes, f"detection_output_param {{ num_classes: {classes} {body} }}"))
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0.2, 0.8, (priors, 2)), rng.uniform(0.1, 0.5, (priors, 2))
    prior = np.concatenate([centre - size / 2, centre + size / 2], 1).reshape(-1)
    prior = np.stack([prior, np.tile([0.1, 0.1, 0.2, 0.2], priors)])[None]
    location = rng.standard_normal(shapes[0])
    scores = rng.integers(0, 3, shapes[1]) / 2 if grid else rng.uniform(size=shapes[1])
    bottoms = [v.astype(np.float32).astype(np.float64) for v in (location, scores, prior)]
    spec = net.caffe.nodes[-1].spec
    (expected,) = DetectionOutput(ForkMessage(spec.param, spec.added, ""), "TEST").forward(bottoms)
    return net.double()(*map(torch.from_numpy, bottoms)).numpy(), expected


@pytest.mark.parametrize(
    ("body", "grid"),
    [
        *(
            (f"code_type: {code} variance_encoded_in_target: {encoded} share_location: {share} nms_param {{ top_k: 9 }}", False)
            for code, encoded, share in product(("CORNER", "CENTER_SIZE", "CORNER_SIZE"), FLAGS, FLAGS)
        ),
        ("code_type: CENTER_SIZE nms_param { nms_threshold: 0.45 top_k: 20 } keep_top_k: 7 confidence_threshold: 0.3", False),
        ("code_type: CENTER_SIZE nms_param { nms_threshold: 0.9 eta: 0.7 } confidence_threshold: 0.5", False),
        ("code_type: CENTER_SIZE nms_param { nms_threshold: 0 } keep_top_k: 0", False),
        ("code_type: CENTER_SIZE background_label_id: 2 keep_top_k: 5", False),
        ("code_type: CENTER_SIZE background_label_id: -1 share_location: false keep_top_k: 200 nms_param { top_k: -1 }", False),
        ("code_type: CENTER_SIZE nms_param { top_k: 0 }", False),
        ("code_type: CENTER_SIZE keep_top_k: 6 nms_param { top_k: 10 }", True),  # of equal scores the lower class and prior
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(4))
def test_detections_are_decoded_suppressed_and_sorted_as_in_the_transcription(body, grid, seed):
    actual, expected = detections(body, seed, grid=grid)
    assert len(expected[0, 0]) > 10 or "variance_encoded" not in body
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_no_detection_is_a_row_of_minus_one_for_each_image():
    actual, _ = detections("confidence_threshold: 2", images=3)
    assert actual.tolist() == [[[[image, -1, -1, -1, -1, -1, -1] for image in range(3)]]]


def test_boxes_that_only_touch_do_not_overlap():
    box = np.array([0.0, 0, 1, 1])
    candidates = np.array([[1.0, 0, 2, 1], [0, 0, 1, 1], [0.5, 0, 1.5, 1], [2, 2, 1, 1]])
    np.testing.assert_allclose(overlaps(box, candidates), [0, 1, 1 / 3, 0])


def test_half_a_pixel_of_a_region_is_rounded_away_from_zero():
    net = build_net(single("ROIPooling", [(1, 1, 4, 4), (2, 5)], "roi_pooling_param { pooled_h: 1 pooled_w: 1 }"))
    rois = torch.tensor([[0, 0, 0, 0.5, 0.5], [0, 0, 0, 2.5, 2.5]])
    assert net(torch.arange(16.0).view(1, 1, 4, 4), rois).flatten().tolist() == [5, 15]


@pytest.mark.parametrize(("region", "code"), [([2, 0, 0, 1, 1], "out-of-range"), ([0, 0, np.nan, 1, 1], "not-finite")])
def test_a_region_of_no_image_or_no_place_is_refused(region, code):
    net = build_net(single("ROIPooling", [(2, 1, 4, 4), (1, 5)], "roi_pooling_param { pooled_h: 1 pooled_w: 1 }"))
    with refused(code, field="rois"):
        net(torch.zeros(2, 1, 4, 4), torch.tensor([region]))


def test_upsample_undoes_a_pooling():
    text = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 6 } } }
        layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "y" upsample_param { scale: 2 } }"""
    agree(text, values=Values(5))


def test_segnets_bn_shows_its_statistics_without_a_gradient():
    text = single("BN", [(2, 4, 5, 6)], "bn_param { }", ("y", "mean", "var"))
    net = build_net(text, fork="segnet").double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    actual = net.forward_dict({"x0": x})
    torch.testing.assert_close(actual["mean"].flatten(), x.detach().mean((0, 2, 3)))
    torch.testing.assert_close(actual["var"].flatten(), x.detach().var((0, 2, 3), unbiased=False))
    assert [actual[blob].requires_grad for blob in ("y", "mean", "var")] == [True, False, False]


def test_segnets_dropout_draws_in_test():
    net = build_net(single("Dropout", [(1, 1000)], "dropout_param { sample_weights_test: true }"))
    torch.manual_seed(0)
    actual = net(torch.ones(1, 1000))
    assert set(actual.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(actual, net(torch.ones(1, 1000)))


def test_fast_rcnns_dropout_scales_in_test_instead_of_train():
    text = single("Dropout", [(1, 1000)], "dropout_param { dropout_ratio: 0.1 scale_train: false }")
    x = torch.linspace(-1, 1, 1000)[None]
    factor = np.float32(1) / np.float32(1 / (1 - np.float64(np.float32(0.1))))
    assert torch.equal(build_net(text)(x), x * torch.tensor(factor))
    net = build_net(text, phase="TRAIN")
    torch.manual_seed(0)
    bottom = x.clone().requires_grad_()
    top = net(bottom)
    dropped = top == 0
    assert torch.equal(top, torch.where(dropped, 0, x))
    assert 50 < int(dropped.sum()) < 200
    top.sum().backward()
    assert torch.equal(bottom.grad, torch.where(dropped, 0.0, 1.0))
