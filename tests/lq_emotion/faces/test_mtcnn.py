"""MTCNN as published: against a transcription of the authors' program, on photographs and at their edges."""

import copy
import math

import numpy as np
import pytest
import torch

from caffe_compat import load_net
from lq_emotion.faces import mtcnn
from lq_emotion.faces.mtcnn import Mtcnn
from tests.reference import mtcnn as transcription
from tests.refusals import refused

NETS = ("det1", "det2", "det3")


@pytest.fixture(scope="module")
def folder(reference):
    return reference / "published" / "mtcnn"


@pytest.fixture(scope="module")
def nets(folder):
    return {name: load_net(folder / f"{name}.prototxt", folder / f"{name}.caffemodel") for name in NETS}


@pytest.fixture(scope="module")
def plain(folder):
    """The nets as functions of arrays, on torch's own kernels."""

    def answer(net):
        def run(x):
            with torch.inference_mode():
                return {blob: value.double().numpy() for blob, value in net(torch.from_numpy(x)).items()}

        return run

    return {
        name: answer(load_net(folder / f"{name}.prototxt", folder / f"{name}.caffemodel", fast=False))
        for name in NETS
    }  # fmt: skip


def sides(face):
    return [face.x, face.y, face.x + face.width, face.y + face.height]


@pytest.mark.parametrize("strip", [1000, 30001])
def test_large_levels_are_seen_strip_by_strip_with_the_same_answers(nets, astronaut, strip, monkeypatch):
    images = [astronaut[:-1, 3:], astronaut[1:, ::-1][:, 3:]]
    whole = Mtcnn(nets)(images)
    for name in ("_LEVEL", "_STRIP"):
        monkeypatch.setattr(mtcnn, name, strip)
    assert Mtcnn(nets)(images) == whole


def test_the_pyramid_of_a_large_image_is_one_of_bytes(nets, astronaut, monkeypatch):
    (face,) = Mtcnn(nets)([astronaut])[0]
    monkeypatch.setattr(mtcnn, "_LARGE", 1000)
    (coarse,) = Mtcnn(nets)([astronaut])[0]
    assert sides(coarse) == pytest.approx(sides(face), abs=3)


def test_the_astronauts_face_and_landmarks(nets, astronaut):
    (face,) = Mtcnn(nets)([astronaut])[0]
    assert sides(face) == pytest.approx([178, 60, 268, 173], abs=4)
    assert face.score > 0.9999
    expected = [(204, 101), (246, 103), (224, 129), (202, 140), (245, 142)]
    assert np.array(face.landmarks) == pytest.approx(np.array(expected), abs=3)


@pytest.mark.parametrize("smallest", [20, 37.5])
@pytest.mark.parametrize("cut", [np.s_[:, :], np.s_[:241, 90:411], np.s_[80:200, 200:380]])
def test_boxes_and_landmarks_are_those_of_the_transcription(nets, plain, astronaut, cut, smallest):
    image = np.ascontiguousarray(astronaut[cut])
    faces = Mtcnn(nets, smallest=smallest)([image])[0]
    expected = transcription.detect(image, plain, smallest)
    assert len(faces) == len(expected) >= 1
    for face, (box, score, points) in zip(faces, expected, strict=True):
        assert sides(face) == pytest.approx([box[0] - 1, box[1] - 1, box[2], box[3]], abs=0.1)
        assert face.score == pytest.approx(score, abs=1e-3)
        assert np.array(face.landmarks).T.ravel() == pytest.approx(np.array(points), abs=0.1)


def test_a_batch_of_images_of_several_sizes_answers_as_each_alone(nets, astronaut):
    images = [astronaut, astronaut[:301, 60:400], np.zeros((50, 60, 3), np.uint8), astronaut[:, ::-1]]
    detector = Mtcnn(nets, smallest=40)
    batch = detector([np.ascontiguousarray(image) for image in images])
    assert [len(faces) for faces in batch] == [1, 1, 0, 1]
    for image, faces in zip(images, batch, strict=True):
        alone = detector([np.ascontiguousarray(image)])[0]
        assert np.array([sides(face) for face in faces]) == pytest.approx(np.array([sides(f) for f in alone]), abs=1e-3)


def test_several_faces_are_found_the_best_first(nets, astronaut):
    face = astronaut[20:220, 130:330]
    faces = Mtcnn(nets, smallest=40)([np.concatenate([face, face[:, ::-1], face], axis=1)])[0]
    assert len(faces) == 3
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
    assert sorted(face.x // 200 for face in faces) == [0, 1, 2]


def test_the_eye_further_left_comes_first_in_a_mirrored_image(nets, astronaut):
    (face,) = Mtcnn(nets, smallest=40)([np.ascontiguousarray(astronaut[:, ::-1])])[0]
    assert face.landmarks[0][0] < face.landmarks[1][0]
    assert face.landmarks[3][0] < face.landmarks[4][0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (11, 500, 3), (12, 12, 3), (20, 21, 3)])
def test_an_image_too_small_for_a_face_has_none(nets, shape):
    assert Mtcnn(nets)([np.full(shape, 128, np.uint8)]) == [[]]


def test_a_face_smaller_than_the_smallest_is_not_looked_for_and_no_images_have_none(nets, astronaut):
    assert Mtcnn(nets, smallest=250)([astronaut]) == [[]]
    assert Mtcnn(nets)([]) == []


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_an_image_of_another_shape_or_type_is_refused(nets, image):
    with refused("shape-mismatch", value=image.shape):
        Mtcnn(nets)([np.zeros((9, 9, 3), np.uint8), image])


def test_a_missing_net_is_named():
    with refused("field-missing") as error:
        Mtcnn({"det1": None, "det3": None})
    assert "missing: det2" in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("smallest", 0), ("smallest", math.nan), ("factor", 1), ("factor", 0), ("thresholds", (0.5, 0.5, 1.5))],
)
def test_a_value_out_of_range_is_refused(field, value):
    with refused("out-of-range", field=field):
        Mtcnn(dict.fromkeys(NETS), **{field: value})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nets_on_a_gpu_find_the_same_face(nets, astronaut):
    (expected,) = Mtcnn(nets)([astronaut])[0]
    (face,) = Mtcnn({name: copy.deepcopy(net).cuda() for name, net in nets.items()})([astronaut])[0]
    assert sides(face) == pytest.approx(sides(expected), abs=2)
