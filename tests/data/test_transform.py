"""transform_param against a pixel-by-pixel transcription, and its refusals."""

import numpy as np
import pytest

from caffe_compat.data import CRand, open_source, open_sources
from caffe_compat.data.c_random import Mersenne, shuffled
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, pictures, write_lmdb, write_mean
from tests.reference import caffe_data as reference
from tests.refusals import refused


def test_the_twister_is_the_standards():
    # The number that the C++ standard asks of mt19937's 10000th draw.
    assert Mersenne(5489).draws(10000)[-1] == 4123659995


@pytest.mark.parametrize("seed", [0, 1, 20261121, 2**32 - 1])
def test_the_twister_goes_on_from_its_state(seed):
    rng, slow = Mersenne(seed), reference.Twister(seed)
    assert [rng.draw() for _ in range(700)] == [slow() for _ in range(700)]
    other = Mersenne(5)
    other.state = rng.state
    assert other.draws(1300).tolist() == [slow() for _ in range(1300)]


# What a program with Boost 1.74 printed.
@pytest.mark.parametrize(
    ("seed", "order", "after"),
    [
        (1, [3, 9, 2, 1, 7, 0, 6, 5, 8, 4], 1013994432),
        (0, [1, 15, 4, 13, 0, 16, 2, 8, 3, 19, 6, 5, 18, 7, 17, 9, 14, 12, 11, 10], 2051556033),
        (2**32 - 1, [2, 10, 8, 0, 7, 4, 3, 6, 5, 9, 11, 1], 2166321787),
    ],
)
def test_the_shuffle_is_boosts(seed, order, after):
    rng = Mersenne(seed)
    assert shuffled(np.arange(len(order)), rng).tolist() == order
    assert rng.draw() == after


def test_a_long_shuffle_is_boosts_where_numbers_are_drawn_again():
    rng, slow = Mersenne(7), reference.Twister(7)
    actual = shuffled(np.arange(100_000), rng).tolist()
    assert actual == reference.shuffled(range(100_000), slow)
    assert rng.draw() == slow()


def test_shuffling_does_not_change_its_argument():
    items = np.arange(50)
    assert sorted(shuffled(items, Mersenne(3)).tolist()) == items.tolist()
    assert items.tolist() == list(range(50))


def layer(phase="TRAIN", batch=5, **transform):
    out = pb.LayerParameter(name="feed", type="Data", top=["data", "label"], phase=phase)
    out.data_param.source, out.data_param.batch_size, out.data_param.backend = "db", batch, pb.DataParameter.LMDB
    out.transform_param.MergeFrom(pb.TransformationParameter(**transform))
    return out


def opened(folder, **fields):
    return open_source(layer(**fields), base_dir=folder, rng=CRand(random_seed=9))


def seeds(count):
    """The draws of a process' generator seeded with 9: a transformer takes the first and, to start, the second."""
    rng = reference.Twister(9)
    return [rng() for _ in range(count)]


@pytest.mark.parametrize("mean", [None, "file", "one", "three"])
@pytest.mark.parametrize("scale", [1.0, 0.00390625, 0.017])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("crop", [0, 4, 6])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_every_combination_is_the_transcriptions_bit_for_bit(tmp_path, phase, crop, mirror, scale, mean):
    rng = np.random.default_rng(1)
    floats = scale == 0.017
    taken = [p.astype("f4") / 7 if floats else p for p in pictures(7)]
    write_lmdb(tmp_path / "db", [datum(p, i) for i, p in enumerate(taken)])
    fields = {"crop_size": crop, "mirror": mirror, "scale": scale}
    slow = {"crop": crop, "mirror": mirror, "scale": scale}
    if mean == "file":
        slow["mean"] = rng.uniform(0, 255, (3, 6, 7)).astype("f4")
        write_mean(tmp_path / "mean.binaryproto", slow["mean"])
        fields["mean_file"] = "mean.binaryproto"
    elif mean:
        slow["values"] = [104.25] if mean == "one" else [104.25, 117.5, 3.3]
        fields["mean_value"] = slow["values"]
    source = opened(tmp_path, phase=phase, **fields)
    draws = reference.Twister(seeds(2)[1])
    for batch in range(3):
        actual = source.next()
        for row in range(5):
            number = (5 * batch + row) % 7
            expected = reference.transformed(taken[number], draws, train=phase == "TRAIN", **slow)
            assert actual["data"][row].numpy().tobytes() == expected.tobytes(), (batch, row)
            assert actual["label"][row] == number


def test_raw_records_do_not_heed_force_color(tmp_path):
    write_lmdb(tmp_path / "db", [datum(p) for p in pictures(5, (1, 3, 3))])
    assert opened(tmp_path, force_color=True).next()["data"].shape == (5, 1, 3, 3)


def batch_of(tmp_path, images=None, **fields):
    write_lmdb(tmp_path / "db", [datum(p) for p in images or pictures(3)])
    return opened(tmp_path, **fields).next()


def test_a_crop_larger_than_an_image_is_refused_with_its_record(tmp_path):
    field = "transform_param.crop_size"
    with refused("shape-mismatch", file=tmp_path / "db", layer="feed", field=field, value=9) as failure:
        batch_of(tmp_path, crop_size=9)
    assert "record '00000000': image is 3 x 6 x 7" in failure.value.problem
    later = [*pictures(2), *pictures(1, (3, 3, 3))]
    (tmp_path / "later").mkdir()
    with refused("shape-mismatch", field=field, value=4) as failure:
        batch_of(tmp_path / "later", later, crop_size=4)
    assert "record '00000002'" in failure.value.problem


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"mean_file": "gone"}, "file-missing", "mean_file"),
        ({"mean_file": "turned.binaryproto"}, "shape-mismatch", "mean_file"),
        ({"mean_file": "mean.binaryproto", "mean_value": [1]}, "conflict", "mean_file"),
        ({"mean_value": [1, 2]}, "wrong-count", "mean_value"),
        ({"force_color": True, "force_gray": True}, "conflict", "force_color"),
    ],
)
def test_transformations_that_do_not_fit_are_refused(tmp_path, fields, code, field):
    write_mean(tmp_path / "mean.binaryproto", np.zeros((3, 6, 7)))
    write_mean(tmp_path / "turned.binaryproto", np.zeros((3, 7, 6)))
    with refused(code, field=f"transform_param.{field}"):
        batch_of(tmp_path, **fields)


def test_a_file_without_a_mean_is_refused(tmp_path):
    (tmp_path / "mean.binaryproto").write_text("no mean")
    with refused("damaged-file", file=tmp_path / "mean.binaryproto"):
        batch_of(tmp_path, mean_file="mean.binaryproto")


def test_records_of_a_batch_must_have_the_same_shape(tmp_path):
    write_lmdb(tmp_path / "db", [datum(p) for p in (*pictures(2), *pictures(1, (3, 5, 5)))])
    with refused("shape-mismatch") as failure:
        opened(tmp_path, batch=3).next()
    assert "record '00000002'" in failure.value.problem
    assert opened(tmp_path, batch=3, crop_size=5).next()["data"].shape == (3, 3, 5, 5)


def test_single_records_may_vary_in_size(tmp_path):
    write_lmdb(tmp_path / "db", [datum(p) for p in (*pictures(1), *pictures(1, (3, 5, 5)))])
    source = opened(tmp_path, batch=1)
    assert [tuple(source.next()["data"].shape) for _ in range(3)] == [(1, 3, 6, 7), (1, 3, 5, 5), (1, 3, 6, 7)]


@pytest.mark.parametrize(
    ("net", "own", "middle"), [("TRAIN", None, False), ("TEST", None, True), ("TRAIN", "TEST", True)]
)
def test_crops_are_random_in_train_and_central_in_test(tmp_path, net, own, middle):
    (picture,) = pictures(1, (3, 40, 40))
    write_lmdb(tmp_path / "db", [datum(picture)])
    message = layer(batch=6, crop_size=5)
    message.ClearField("phase")
    if own:
        message.phase = own
    definition = pb.NetParameter(layer=[message], state=pb.NetState(phase=net))
    (source,) = open_sources(definition, base_dir=tmp_path, rng=CRand(random_seed=2))
    assert definition.layer[0].HasField("phase") is bool(own), "the definition stays as it is"
    actual = source.next()["data"].numpy()
    assert all(np.array_equal(image, picture[:, 17:22, 17:22]) for image in actual) is middle
