"""The builders' definitions are the published ones."""

import pytest

from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.formats.files import read_net, same
from lq_emotion.nets.known.registry import KNOWN, find_model

PUBLISHED = {
    ("mini-xception", "mini-xception"): "mini_xception/deploy",
    ("mtcnn", "det1"): "mtcnn/det1",
    ("mtcnn", "det2"): "mtcnn/det2",
    ("mtcnn", "det3"): "mtcnn/det3",
}


@pytest.mark.parametrize(("model", "part"), PUBLISHED)
def test_the_definition_is_the_published_message(model, part, published):
    net = next(net for net in find_model(model).parts if net.name == part).definition()
    assert same(net, upgrade_net(read_net(published / f"{PUBLISHED[model, part]}.prototxt")))


def test_a_model_is_called_verified_where_every_definition_is_compared():
    compared = {model for model, _ in PUBLISHED}
    for model in KNOWN:
        parts = {(model.name, part.name) for part in model.parts}
        assert model.verified == (parts <= PUBLISHED.keys()), model.name
    assert compared <= {model.name for model in KNOWN}


def test_names_differ_also_in_small_letters():
    names = [model.name.lower() for model in KNOWN]
    assert len(set(names)) == len(names)
