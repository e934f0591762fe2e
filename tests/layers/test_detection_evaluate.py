"""DetectionEvaluate against what weiliu89/caffe (ssd) computed, and against tests/reference/caffe_multibox.py."""

from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.pycaffe.net import Net
from tests.layers.agreement import single
from tests.nets import build_net
from tests.reference.caffe_forks import ForkMessage
from tests.reference.caffe_multibox import DetectionEvaluate
from tests.refusals import refused

RECORD = Path(__file__).parents[1] / "golden" / "forks" / "evaluate.npz"


def cases():
    with np.load(RECORD) as record:
        return [key.partition("/")[0] for key in record.files if key.endswith("/body")]


@pytest.mark.parametrize("name", cases())
def test_the_rows_are_the_forks_and_the_transcriptions(name, folder):
    with np.load(RECORD) as record:
        Path("sizes.txt").write_text(str(record["sizes"]))
        body, *bottoms, rows = (record[f"{name}/{key}"] for key in ("body", "detections", "truth", "rows"))
    net = build_net(single("DetectionEvaluate", [x.shape for x in bottoms], str(body)))
    assert np.array_equal(net(*map(torch.from_numpy, bottoms)).numpy(), rows)
    spec = net.caffe.nodes[-1].spec
    if "resize_param" not in str(body):
        (expected,) = DetectionEvaluate(ForkMessage(spec.param, spec.added, ""), "TEST").forward(bottoms)
        np.testing.assert_array_equal(expected.astype("f4"), rows)


DETECTION = [0, 1, 0.9, 0.1, 0.1, 0.5, 0.5]
OBJECT = [0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0]


def evaluate(detections, objects, fields=""):
    bottoms = [torch.tensor(rows, dtype=torch.float32)[None, None] for rows in (detections, objects)]
    body = f"detection_evaluate_param {{ num_classes: 3 {fields} }}"
    return build_net(single("DetectionEvaluate", [tuple(x.shape) for x in bottoms], body))(*bottoms)[0, 0].tolist()


def test_the_second_detection_of_an_object_is_wrong():
    assert evaluate([DETECTION, DETECTION], [OBJECT])[2:] == [
        [0, 1, pytest.approx(0.9), 1, 0],
        [0, 1, pytest.approx(0.9), 0, 1],
    ]


def test_a_difficult_object_counts_neither_way_without_evaluate_difficult_gt():
    hard = [*OBJECT[:7], 1]
    assert evaluate([DETECTION], [hard], "evaluate_difficult_gt: false") == [
        [-1, 1, 0, -1, -1], [-1, 2, 0, -1, -1], [0, 1, pytest.approx(0.9), 0, 0],
    ]  # fmt: skip
    assert evaluate([DETECTION], [hard])[2][3:] == [1, 0]


def test_images_in_pixels_go_on_through_the_list_of_sizes(tmp_path):
    (tmp_path / "sizes.txt").write_text("a 10 10\nb 1000 1000\n")
    (tmp_path / "net.prototxt").write_text(
        single(
            "DetectionEvaluate", [(1, 1, 1, 7), (1, 1, 1, 8)],
            'detection_evaluate_param { num_classes: 3 overlap_threshold: 0.89 name_size_file: "sizes.txt" }',
        )
    )  # fmt: skip
    net = Net(str(tmp_path / "net.prototxt"), 1)
    net.blobs["x1"].data[...] = OBJECT
    hits = []
    for rows in (1, 2, 1, 2):  # other shapes than before: the layer remembers where it was
        net.blobs["x0"].reshape(1, 1, rows, 7)
        net.blobs["x0"].data[...] = np.array(DETECTION) + 0.05 * (np.arange(7) == 3)
        net.forward()
        hits.append(net.blobs["y"].data[0, 0, 2, 3])
    assert hits == [1, 0, 1, 0]  # in small images, the pixel at the end counts more


def test_a_list_of_sizes_without_numbers_is_refused(folder):
    Path("sizes.txt").write_text("image 10\n")
    with refused("syntax", field="detection_evaluate_param.name_size_file"):
        build_net(
            single(
                "DetectionEvaluate",
                [(1, 1, 1, 7), (1, 1, 1, 8)],
                "detection_evaluate_param { num_classes: 3 name_size_file: 'sizes.txt' }",
            )
        )


def test_labels_of_the_background_are_refused():
    with refused("invalid"):
        evaluate([[0, 0, *DETECTION[2:]]], [OBJECT])
