"""The layer types of Caffe's forks, forward and backward, against the transcription in tests/reference/caffe_forks.py."""

from itertools import product

import numpy as np
import pytest
import torch

from caffe_compat.layers import FORK_REGISTRY
from caffe_compat.layers.forks.detection import overlaps
from caffe_compat.layers.forks.prior_box import Priors, boxes
from tests.layers.agreement import Values, agree, single
from tests.nets import build_net
from tests.reference.caffe_forks import FORK_TYPES, DetectionOutput, ForkMessage
from tests.reference.caffe_more_forks import MORE_FORK_TYPES
from tests.refusals import refused

MAP = (2, 4, 5, 6)
FLAGS = ("true", "false")
CASES = [
    *(
        ("Normalize", [shape], f"norm_param {{ across_spatial: {across} channel_shared: {shared} eps: 0.25 }}")
        for shape, across, shared in product((MAP, (3, 4)), FLAGS, FLAGS)
    ),
    *(
        ("Permute", [MAP], f"permute_param {{ {order} }}")
        for order in ("", "order: 0 order: 2 order: 3 order: 1", "order: 3", "order: 2 order: 0")
    ),
    *(
        ("PriorBox", [(2, 1, 3, 5), (2, 3, 90, 150)], f"prior_box_param {{ {body} }}")
        for body in (
            "min_size: 30",
            "min_size: 30.7 max_size: 60.2 aspect_ratio: 2 aspect_ratio: 3",
            "min_size: 20 min_size: 30 max_size: 31 max_size: 47 aspect_ratio: 2 flip: false clip: true",
            "min_size: 30 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 step: 8 offset: 0.3",
            "min_size: 30 img_size: 300 variance: 0.3 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2",
            "min_size: 30 img_h: 300 img_w: 200 step_h: 7.1 step_w: 9.7 aspect_ratio: 0.3",
        )
    ),
    *(
        ("Interp", [(2, 2, 5, 6)], f"interp_param {{ {body} }}")
        for body in (
            "height: 9 width: 4", "zoom_factor: 3", "shrink_factor: 2", "zoom_factor: 2 shrink_factor: 3", "height: 5 width: 6",
            "height: 1 width: 7", "zoom_factor: 2 pad_beg: -1 pad_end: -2", "height: 7 width: 8 zoom_factor: 2 shrink_factor: 2",
            "height: 7 width: 8 shrink_factor: 2",
        )
    ),
    *(("Axpy", [shape, MAP, MAP], "") for shape in ((2, 4), (2, 4, 1, 1))),
    *(
        ("DepthwiseConvolution", [MAP], f"convolution_param {{ num_output: 4 group: 4 {body} }}")
        for body in ("kernel_size: 3", "kernel_size: 3 pad: 1 stride: 2 bias_term: false", "kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 0")
    ),
    *(
        ("ConvolutionDepthwise", [MAP], f"convolution_param {{ {body} }}")
        for body in (
            "kernel_size: 3", "num_output: 4 kernel_size: 3 pad: 1 stride: 2 bias_term: false", "kernel_size: 2 dilation: 2",
            "group: 2 kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2",
        )
    ),
    *(("ShuffleChannel", [(2, 6, 2, 3)], f"shuffle_channel_param {{ group: {group} }}") for group in (1, 2, 3, 6)),
    *(("Upsample", [MAP], f"upsample_param {{ scale: {scale} }}") for scale in (1, 2, 3)),
    *(
        ("Pooling", [MAP], f"pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 ceil_mode: {up} }}")
        for pool, up in product(("MAX", "AVE"), FLAGS)
    ),
    *(
        ("SmoothL1Loss", [(3, 4)] * bottoms, f"smooth_l1_loss_param {{ sigma: {sigma} }}")
        for bottoms, sigma in product((2, 4), (1, 3))
    ),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "shapes", "body"), CASES)
def test_every_value_and_gradient_is_the_transcriptions(type_, shapes, body):
    agree(single(type_, shapes, body), values=Values(3), tolerance=1e-9 if "epthwise" in type_ else None)


@pytest.mark.parametrize("body", ["", 'normalize_type: "L1"', "bp_norm: true", 'normalize_type: "L1" bp_norm: true'])
@pytest.mark.parametrize("tops", [("y",), ("y", "z")], ids=["one top", "two tops"])
def test_happynears_normalize_with_its_norms_as_a_top(body, tops):
    agree(single("Normalize", [MAP], f"normalize_param {{ {body} }}", tops), fork="happynear", values=Values(4))


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


ROIS = np.array(
    [[0, 0, 0, 5, 4], [1, 1.4, 0.6, 3.6, 2.5], [0, -3, -2.5, 2, 1], [1, 4, 3, 9, 9], [0, 3, 3, 1, 1], [0, 20, 20, 30, 30]],
    "f4",
)  # fmt: skip


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "equal values"])
@pytest.mark.parametrize("scale", [1, 0.0625])
@pytest.mark.parametrize("pooled", [(2, 3), (7, 4)], ids=str)
def test_regions_are_pooled_as_in_the_transcription(pooled, scale, grid):
    body = f"roi_pooling_param {{ pooled_h: {pooled[0]} pooled_w: {pooled[1]} spatial_scale: {scale} }}"
    rois = ROIS * np.array([1, *[1 / scale] * 4], "f4")
    agree(single("ROIPooling", [(2, 2, 5, 6), rois.shape], body), labels={"x1": rois}, values=Values(1, grid=grid))


def test_half_a_pixel_of_a_region_is_rounded_away_from_zero():
    net = build_net(single("ROIPooling", [(1, 1, 4, 4), (2, 5)], "roi_pooling_param { pooled_h: 1 pooled_w: 1 }"))
    rois = torch.tensor([[0, 0, 0, 0.5, 0.5], [0, 0, 0, 2.5, 2.5]])
    assert net(torch.arange(16.0).view(1, 1, 4, 4), rois).flatten().tolist() == [5, 15]


@pytest.mark.parametrize(("region", "code"), [([2, 0, 0, 1, 1], "out-of-range"), ([0, 0, np.nan, 1, 1], "not-finite")])
def test_a_region_of_no_image_or_no_place_is_refused(region, code):
    net = build_net(single("ROIPooling", [(2, 1, 4, 4), (1, 5)], "roi_pooling_param { pooled_h: 1 pooled_w: 1 }"))
    with refused(code, field="rois"):
        net(torch.zeros(2, 1, 4, 4), torch.tensor([region]))


UNPOOL = {
    "scale: 2": (4, 6), "scale_h: 3 scale_w: 2": (6, 6), "upsample_h: 3 upsample_w: 5": (3, 5),
    "pad_out_h: true": (3, 6), "pad_out_w: true pad_out_h: true": (3, 5),
}  # fmt: skip


@pytest.mark.parametrize("body", UNPOOL)
def test_an_upsampling_by_mask_is_the_transcriptions(body):
    high, wide = UNPOOL[body]
    mask = np.random.default_rng(0).permuted(np.tile(np.arange(high * wide), (4, 1)), axis=1)[:, :6]
    text = single("Upsample", [(2, 2, 2, 3)] * 2, f"upsample_param {{ {body} }}")
    agree(text, labels={"x1": mask.reshape(2, 2, 2, 3).astype("f4")})


def test_where_pooling_windows_overlapped_the_later_value_stays_and_all_get_its_gradient():
    mask = np.array([[[[3, 3], [1, 3]]]], "f4")
    agree(single("Upsample", [(1, 1, 2, 2)] * 2, "upsample_param { scale: 2 }"), labels={"x1": mask})


def test_upsample_undoes_a_pooling():
    text = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 6 } } }
        layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "y" upsample_param { scale: 2 } }"""
    agree(text, values=Values(5))


@pytest.mark.parametrize("body", ["", "bn_mode: LEARN", "bn_mode: INFERENCE"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_segnets_bn_in_both_modes(body, phase):
    agree(single("BN", [MAP], f"bn_param {{ {body} }}"), fork="segnet", phase=phase, values=Values(6), tolerance=1e-8)


def test_segnets_bn_shows_its_statistics_without_a_gradient():
    text = single("BN", [MAP], "bn_param { }", ("y", "mean", "var"))
    net = build_net(text, fork="segnet").double()
    x = torch.randn(MAP, dtype=torch.float64, requires_grad=True)
    actual = net.forward_dict({"x0": x})
    torch.testing.assert_close(actual["mean"].flatten(), x.detach().mean((0, 2, 3)))
    torch.testing.assert_close(actual["var"].flatten(), x.detach().var((0, 2, 3), unbiased=False))
    assert [actual[blob].requires_grad for blob in ("y", "mean", "var")] == [True, False, False]


@pytest.mark.parametrize("fork", ["pspnet", "yjxiong", "happynear"])
@pytest.mark.parametrize("body", ["eps: 0.1", "momentum: 0.7", "frozen: true"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_pspnets_bn_learns_its_statistics_unless_frozen(fork, body, phase):
    text = single("BN", [MAP], f"bn_param {{ slope_filler {{ value: 1 }} {body} }}")
    agree(text, fork=fork, phase=phase, forwards=2, values=Values(7))


def test_relu6_passes_a_gradient_between_0_and_6():
    agree(single("ReLU6", [(1, 6)]), labels={"x0": np.array([[-1, 0, 3, 6, 7, 5.5]], "f4")})


@pytest.mark.parametrize("body", ["ignore_label: 1", "normalize: false", ""])
@pytest.mark.parametrize("axis", [1, -3])
def test_the_softmax_loss_with_weights_of_classes(body, axis):
    weights = "weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 2 class_weighting: 1.25"
    labels = {"x1": np.array([[[0, 1]], [[2, 1]]], "f4")}
    body = f"loss_param {{ {weights} {body} }} softmax_param {{ axis: {axis} }}"
    text = single("SoftmaxWithLoss", [(2, 3, 1, 2), (2, 1, 2)], body)
    agree(text, labels=labels, values=Values(8))


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


def test_every_fork_type_has_a_witness():
    types = {
        f"{layer.forks[0]} {layer.type}" for layers in FORK_REGISTRY.values() for layer in layers if not layer.is_data
    }
    assert types - set(FORK_TYPES | MORE_FORK_TYPES) == {"fast-rcnn Dropout", "segnet Dropout"}
