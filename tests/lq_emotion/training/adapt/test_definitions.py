"""New heads of known nets, and what is trained in each stage."""

from pathlib import Path

import pytest

from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.files import parse_text
from caffe_compat.graph.graph import build_graph
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.known.model import KNOWN, Task
from lq_emotion.training.adapt.definitions import stage_net, with_last_layer
from tests.refusals import refused

LISTS, BATCHES = {"train": Path("train.txt"), "dev": Path("dev.txt")}, {"train": 4, "dev": 2}
MODELS = [model for model in KNOWN if model.task not in (Task.FACE_DETECTION, Task.SUPER_RESOLUTION)]


def trained(net, **options):
    message = stage_net(net, LISTS, BATCHES, **options)
    return {layer.name for layer in message.layer if any(param.lr_mult for param in layer.param)}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_known_net_takes_a_new_head_that_is_trained_alone_first(model):
    definition = model.parts[0].definition()
    net = with_last_layer(definition, 5, classes=True, new=True)
    assert net.head[0] not in {layer.name for layer in definition.layer}
    shapes = build_graph(prepare(net.deploy)).shapes
    assert shapes["prob"] in ((1, 5), (1, 5, 1, 1))
    assert trained(net, classes=True, frozen=True) == set(net.head)
    assert len(trained(net, classes=True, frozen=False)) > 4


def test_statistics_of_batches_are_used_in_neither_stage():
    model = next(model for model in KNOWN if model.name == "mini-xception")
    net = with_last_layer(model.parts[0].definition(), 2, classes=False, new=True)
    message = stage_net(net, LISTS, BATCHES, classes=False, frozen=False)
    norms = [layer for layer in message.layer if layer.type == "BatchNorm"]
    assert norms
    assert all(norm.batch_norm_param.use_global_stats for norm in norms)
    assert not any(param.lr_mult for norm in norms for param in norm.param)
    assert message.layer[-1].type == "EuclideanLoss"


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }',
        (
            'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } } '
            'layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "data" top: "sum" }'
        ),
        (
            'layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" '
            "convolution_param { num_output: 2 kernel_size: 3 } }"
        ),
    ],
    ids=["no weights", "branches", "no head"],
)
def test_a_net_whose_head_cannot_be_replaced_is_refused(text):
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 1 } } } '
    with refused("unsupported"):
        with_last_layer(parse_text(data + text, pb.NetParameter), 3, classes=True, new=True)
