"""MultiBoxLoss against what the fork computed, and against the transcription in tests/reference/caffe_multibox.py."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.layers.forks.std_sort import best, sorted_as_gcc
from tests.layers.agreement import agree, single
from tests.nets import build_net
from tests.records import difference
from tests.refusals import refused

RECORD = Path(__file__).parents[1] / "golden" / "forks" / "multibox.npz"
"""Loss and gradients that weiliu89/caffe (ssd, CPU, float32) computed of random predictions."""
FORWARD, BACKWARD = 3e-6, 2e-5  # as in test_records.py


def cases():
    with np.load(RECORD) as record:
        return sorted({key.partition("/")[0] for key in record.files})


def layer(body, shapes):
    return build_net(single("MultiBoxLoss", shapes, body), phase="TRAIN")


def scene(seed, classes=4, groups=1, background=0, images=2, priors=12, truths=6):
    """Random predictions, priors and ground truth."""
    rng = np.random.default_rng(seed)
    boxes = []
    for count, sizes in ((priors, (0.05, 0.5)), (truths, (0.1, 0.5))):
        centre, size = rng.uniform(0.1, 0.9, (count, 2)), rng.uniform(*sizes, (count, 2))
        boxes.append(np.concatenate([centre - size / 2, centre + size / 2], 1))
    prior = np.stack([boxes[0].reshape(-1), np.tile([0.1, 0.1, 0.2, 0.2], priors)])[None]
    truth = np.zeros((1, 1, truths, 8))
    truth[0, 0, :, 0] = np.sort(rng.integers(-1, images, truths))
    truth[0, 0, :, 1] = rng.choice([c for c in range(classes) if c != background], truths)
    truth[0, 0, :, 3:7], truth[0, 0, :, 7] = boxes[1], rng.integers(0, 2, truths)
    location = rng.standard_normal((images, priors * groups * 4))
    confidence = 2 * rng.standard_normal((images, priors * classes))
    return [x.astype("f4") for x in (location, confidence, prior, truth)]


@pytest.mark.parametrize("name", cases())
def test_loss_and_gradients_are_the_forks(name):
    with np.load(RECORD) as record:
        case = {key.partition("/")[2]: record[key] for key in record.files if key.startswith(f"{name}/")}
    bottoms = [torch.from_numpy(case[blob]) for blob in ("loc", "conf", "prior", "gt")]
    net = layer(str(case["body"]), [tuple(x.shape) for x in bottoms])
    for x in bottoms[:2]:
        x.requires_grad_()
    loss = net(*bottoms)
    loss.backward()
    assert difference("loss", loss.detach().numpy(), case["loss"]).relative <= FORWARD
    for x, blob in zip(bottoms, ("grad_loc", "grad_conf"), strict=False):
        recorded = case[blob]
        actual = np.zeros(recorded.shape) if x.grad is None else x.grad.numpy()
        assert difference(blob, actual, recorded).relative <= BACKWARD


def compared(body, groups=1, phase="TRAIN", **sizes):
    """Compare a net with the transcription, forward and backward, in float64."""
    bottoms = scene(len(body), groups=groups, **sizes)
    text = single("MultiBoxLoss", [x.shape for x in bottoms], body)
    agree(text, labels={f"x{i}": x for i, x in enumerate(bottoms)}, phase=phase)


BASE = "num_classes: 4 overlap_threshold: 0.3"
KINDS = [
    f"{BASE} mining_type: {mining} conf_loss_type: {classes} code_type: {code} {rest}"
    for mining, classes, code in product(
        ("NONE", "MAX_NEGATIVE", "HARD_EXAMPLE"), ("SOFTMAX", "LOGISTIC"), ("CORNER", "CENTER_SIZE", "CORNER_SIZE")
    )
    for rest in (
        "encode_variance_in_target: true bp_inside: true loc_loss_type: L2 nms_param { top_k: 15 }",
        "bp_inside: true use_prior_for_matching: false match_type: BIPARTITE sample_size: 9",
        "use_prior_for_matching: false ignore_cross_boundary_bbox: true sample_size: 5 nms_param { top_k: -1 }",
        "use_prior_for_nms: true neg_overlap: 0.2 neg_pos_ratio: 1.5 use_difficult_gt: false nms_param { top_k: 9 }",
    )
]


@pytest.mark.parametrize("fields", KINDS)
def test_the_loss_is_the_transcriptions(fields):
    compared(f"multibox_loss_param {{ {fields} }}")


@pytest.mark.parametrize("classes", ["SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("priors", ["true", "false"])
def test_classes_with_locations_of_their_own_are_matched_by_label(classes, priors):
    fields = (
        f"{BASE} share_location: false mining_type: NONE conf_loss_type: {classes} use_prior_for_matching: {priors}"
    )
    compared(f"multibox_loss_param {{ {fields} background_label_id: 1 }}", groups=4, background=1)


@pytest.mark.parametrize(
    "mode", ["normalization: FULL", "normalization: BATCH_SIZE", "normalization: NONE", "normalize: false"]
)
def test_the_normalisation_is_the_transcriptions(mode):
    compared(f"multibox_loss_param {{ {BASE} }} loss_param {{ {mode} }}")


def test_an_object_of_any_class_is_the_class_after_the_backgrounds():
    compared("multibox_loss_param { num_classes: 2 map_object_to_agnostic: true }", classes=2)


def test_without_a_background_class_negatives_have_none():
    compared(
        "multibox_loss_param { num_classes: 4 conf_loss_type: LOGISTIC background_label_id: 4294967295 }", background=-1
    )


def test_images_without_ground_truth_give_no_loss():
    location, confidence, prior, truth = scene(1)
    truth[..., 0] = -1
    bottoms = [torch.from_numpy(x).requires_grad_(i < 2) for i, x in enumerate((location, confidence, prior, truth))]
    loss = layer("multibox_loss_param { num_classes: 4 }", [x.shape for x in bottoms])(*bottoms)
    loss.backward()
    assert loss.item() == 0
    assert not bottoms[0].grad.any()
    assert not bottoms[1].grad.any()


def test_equal_keys_are_in_the_order_that_gcc_leaves_them_in():
    # std::sort of g++ 12, the largest first
    expected = [
        29, 20, 17, 23, 14, 26, 11, 8, 32, 5, 35, 2, 38, 31, 1, 34, 28, 25, 37, 22,
        16, 13, 4, 10, 19, 7, 30, 39, 0, 3, 36, 6, 33, 9, 12, 27, 15, 24, 18, 21,
    ]  # fmt: skip
    keys = np.arange(40) % 3
    assert sorted_as_gcc(-keys).tolist() == expected
    assert sorted(best(keys.astype("f4"), 15).tolist()) == sorted(expected[:15])
    assert best(keys.astype("f4"), 0).tolist() == []


@pytest.mark.parametrize(("label", "code"), [(0, "invalid"), (4, "out-of-range"), (-1, "out-of-range")])
def test_labels_of_the_background_or_of_no_class_are_refused(label, code):
    location, confidence, prior, truth = scene(2)
    truth[..., 0], truth[..., 1] = 0, label
    net = layer("multibox_loss_param { num_classes: 4 }", [x.shape for x in (location, confidence, prior, truth)])
    with refused(code):
        net(*map(torch.from_numpy, (location, confidence, prior, truth)))


def test_boxes_without_area_are_refused_where_their_size_matters():
    location, confidence, prior, truth = scene(2)
    prior[0, 0] = 0
    bottoms = [location, confidence, prior, truth]
    net = layer(
        "multibox_loss_param { num_classes: 4 use_prior_for_matching: false code_type: CENTER_SIZE }",
        [x.shape for x in bottoms],
    )
    with refused("invalid"):
        net(*map(torch.from_numpy, bottoms))
