"""Labels and indices in float blobs: a value that no integer holds is refused, whatever a processor's cast makes of it."""

from unittest.mock import patch

import numpy as np
import pytest
import torch

from caffe_compat.layers.labels import class_indices, indices, whole_numbers
from tests.layers.agreement import single
from tests.nets import build_net
from tests.refusals import refused

X, LABELS, ROIS = (2, 3), (2,), (2, 5)
NO_INDEX = [float("nan"), float("inf"), -float("inf"), 1e20, 3e9, -1.0]
READERS = [
    ("Accuracy", "", [X, LABELS], 1),
    ("Accuracy", "accuracy_param { ignore_label: 7 }", [X, LABELS], 1),
    ("SoftmaxWithLoss", "", [X, LABELS], 1),
    ("SoftmaxWithLoss", "loss_param { ignore_label: 7 }", [X, LABELS], 1),
    ("MultinomialLogisticLoss", "", [X, LABELS], 1),
    ("HingeLoss", "", [X, LABELS], 1),
    ("InfogainLoss", "", [X, LABELS, (1, 1, 3, 3)], 1),
    ("Embed", "embed_param { num_output: 2 input_dim: 3 }", [LABELS], 0),
    ("BatchReindex", "", [X, LABELS], 1),
    ("Upsample", "upsample_param { scale: 2 }", [(1, 1, 2, 2), (1, 1, 2, 2)], 1),
    ("SegAccuracy", "", [(1, 3, 1, 2), (1, 1, 1, 2)], 1),
    ("CtcLoss", "ctc_loss_param { alphabet_size: 3 time_step: 4 }", [(4, 2, 3), (2, 1)], 1),
    ("CenterLoss", "center_loss_param { num_output: 3 }", [X, LABELS], 1),
    ("MarginInnerProduct", "margin_inner_product_param { num_output: 3 }", [X, LABELS], 1),
    ("ROIPooling", "roi_pooling_param { pooled_h: 1 pooled_w: 1 }", [(1, 1, 4, 4), ROIS], 1),
    ("PSROIPooling", "psroi_pooling_param { output_dim: 1 group_size: 1 spatial_scale: 1 }", [(1, 1, 4, 4), ROIS], 1),
    ("BoxAnnotatorOHEM", "box_annotator_ohem_param { roi_per_img: 1 }", [(2, 5, 1, 1), (2, 1), (2, 1), (2, 4)], 0),
    ("DetectionEvaluate", "detection_evaluate_param { num_classes: 3 }", [(1, 1, 1, 7), (1, 1, 1, 8)], 0),
    ("DetectionEvaluate", "detection_evaluate_param { num_classes: 3 }", [(1, 1, 1, 7), (1, 1, 1, 8)], 1),
]


NEGATIVE = [
    (*reader, -2.0) for reader in READERS if reader[0] != "DetectionEvaluate"
]  # there, a row that does not count


@pytest.mark.parametrize(
    ("kind", "fields", "shapes", "place", "value"),
    [*((*reader, value) for reader in READERS for value in NO_INDEX[:5]), *NEGATIVE],
)
def test_layers_refuse_what_is_no_index(kind, fields, shapes, place, value):
    tops = ("y", "z") if kind in {"MarginInnerProduct", "BoxAnnotatorOHEM"} else ("y",)
    net = build_net(single(kind, shapes, fields, tops), phase="TRAIN")
    bottoms = [torch.ones(shape) for shape in shapes]
    bottoms[place].view(-1)[0] = value
    with refused("not-finite" if "ROIP" in kind and not np.isfinite(value) else "out-of-range"):
        net(*bottoms)


@pytest.mark.parametrize("value", NO_INDEX)
def test_what_is_no_index_is_refused_or_minus_1(value):
    x = torch.tensor([0.0, value])
    with refused("out-of-range", field="label"):
        indices(x, 3, "label")
    with patch.object(torch.compiler, "is_compiling", return_value=True):
        assert indices(x, 3, "label").tolist() == [0, -1]


@pytest.mark.parametrize("type_", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_indices_are_cut_towards_zero(type_):
    x = torch.tensor([-0.75, 0, 1.5, 2.99], dtype=torch.float64).to(type_)
    assert indices(x, 3, "index").tolist() == [0, 0, 1, 2]


def test_a_label_to_ignore_is_no_index_and_need_not_be_one():
    index, keep = class_indices(torch.tensor([255.0, 1.0]), torch.zeros(2, 3, 1), 255)
    assert (index.flatten().tolist(), keep.flatten().tolist()) == ([0, 1], [False, True])


def test_a_pair_with_a_label_that_is_none_is_similar_on_every_processor():
    net = build_net(single("ContrastiveLoss", [X, X, LABELS]), phase="TRAIN")
    x, y = torch.randn(2, *X)
    assert net(x, y, torch.tensor([float("nan"), 0.5])) == net(x, y, torch.tensor([1.0, 0]))


@pytest.mark.parametrize("value", [*NO_INDEX[:5], 2.0**31])
def test_numbers_of_images_and_classes_are_those_that_an_int_holds(value):
    assert whole_numbers(np.array([-1.9, 0.5, 2**30]), "image").tolist() == [-1, 0, 2**30]
    with refused("out-of-range", field="image"):
        whole_numbers(np.array([0.0, value]), "image")
