"""The phase of a net decides how its data layers crop, unless a layer has its own phase."""

import numpy as np
import pytest

from caffe_compat.data import CRand, open_sources
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, pictures, write_lmdb
from tests.data.test_transform import layer


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
