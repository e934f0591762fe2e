"""The contract of every registered layer type: its account, shapes, blobs and gradient, and that what it reads matters."""

import numpy as np
import pytest
import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.definition.forks import FORKS
from caffe_compat.layers import FORK_REGISTRY, Account, Layer, register
from caffe_compat.layers.base import account_fields, schema_of
from caffe_compat.layers.recurrent import RecurrentModule
from tests.layers.examples import EXAMPLES, LAYERS, example_inputs, example_net, first_message

pytestmark = pytest.mark.usefixtures("folder")

NO_GRADIENT = {"Accuracy", "ArgMax", "HDF5Output", "Silence", "Split", "Threshold"} | {
    "crnn ContinuationIndicator", "crnn LabelsequenceAccuracy", "pspnet SegAccuracy", "rfcn BoxAnnotatorOHEM", "rtpose ImResize",
    "rtpose Nms", "segnet Dropout", "ssd DetectionEvaluate", "ssd DetectionOutput", "ssd PriorBox",
}  # fmt: skip
"""Types that compute nothing, count, choose, draw or are flat."""
OTHER_GRADIENT = {"caffe-face CenterLoss", "sphereface MarginInnerProduct"}
"""Types whose fork has a gradient that is not the true one: tests/layers/test_more_forks.py."""


def results(net: CaffeNet, name: str, *, gradients: bool = False) -> list[torch.Tensor]:
    """Outputs of two passes, blobs before and after, and gradients: whatever a field may change."""
    before = [b.clone() for blobs in caffe_blobs(net).values() for b in blobs]
    inputs = {blob: value.requires_grad_(gradients) for blob, value in example_inputs(net, name).items()}
    torch.manual_seed(7)
    outputs = [value for _ in range(2) for value in net.every_blob(inputs).values()]
    if gradients:
        sum(value.square().sum() for value in outputs).backward()
    gradient = [value.grad for value in inputs.values() if value.grad is not None]
    return [*before, *outputs, *gradient, *(b for blobs in caffe_blobs(net).values() for b in blobs)]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_every_type_has_an_example() -> None:
    assert set(EXAMPLES) == set(LAYERS)


def test_every_fork_has_a_layer_type() -> None:
    assert {fork for layers in FORK_REGISTRY.values() for layer in layers for fork in layer.forks} == set(FORKS)


@pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if not layer.is_data])
def test_every_field_that_is_read_has_a_change(name: str) -> None:  # of data layers: tests/data/test_fields.py
    accounts = LAYERS[name].accounts.items()
    read = {f"{message}.{field}" for message, account in accounts for field in account.read}
    example = EXAMPLES[name]
    changed = {*example.texts(), *example.elsewhere.split()}
    assert read == {field if "." in field else f"{first_message(name)}.{field}" for field in changed}


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, e in sorted(EXAMPLES.items()) for f in e.texts()])
def test_changing_a_field_that_is_read_changes_a_result(name: str, field: str) -> None:
    gradients = field == "bp_norm"  # changes the gradient only
    first, again = (results(example_net(name), name, gradients=gradients) for _ in range(2))
    assert same(first, again), "the example itself is not repeatable"
    changed = example_net(name, EXAMPLES[name].texts()[field], field.rpartition(".")[0])
    assert not same(first, results(changed, name, gradients=gradients))


@pytest.mark.parametrize("name", LAYERS)
def test_the_declared_shapes_are_the_computed_shapes(name: str) -> None:
    for field, text in {"": EXAMPLES[name].text, **EXAMPLES[name].texts()}.items():
        net = example_net(name, text, field.rpartition(".")[0])
        inputs = example_inputs(net, name)
        if name == "Filter":
            inputs["x2"].fill_(1)  # the declared rows are all rows
        blobs = net.every_blob(inputs)
        assert set(blobs) == set(net.caffe.shapes)
        for blob, value in blobs.items():
            shape = tuple(value.shape)
            if name == "ssd DetectionOutput" and blob == "y":
                shape = (*shape[:2], 1, shape[3])  # as many rows as detections; Caffe too declares one
            assert shape == net.caffe.shapes[blob], f"{field}: {blob}"


@pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if type(layer).blobs is not Layer.blobs])
def test_blobs_make_the_round_trip_bit_for_bit(name: str) -> None:
    net = example_net(name, EXAMPLES[name].text + (" transpose: true" if name == "InnerProduct" else ""))
    rng = np.random.default_rng(0)
    blobs = [rng.standard_normal(slot.blob.shape).astype("f4") for slot in net.caffe.slots]
    copy_weights(net, {"l": blobs})
    assert all(a.tobytes() == b.numpy().tobytes() for a, b in zip(blobs, caffe_blobs(net)["l"], strict=True))


@pytest.mark.parametrize(
    "name", [n for n, layer in LAYERS.items() if n not in NO_GRADIENT | OTHER_GRADIENT and not layer.is_data]
)
def test_the_gradient_in_float64_is_that_of_differences_of_values(name: str) -> None:
    text = EXAMPLES[name].text + (" bp_norm: true" if name == "happynear Normalize" else "")
    net = example_net(name, text, phase="TEST" if name == "Dropout" else "").double()  # in TRAIN it draws
    inputs = {blob: value.double() for blob, value in example_inputs(net, name).items()}
    if name == "MultinomialLogisticLoss":
        inputs["x0"] = inputs["x0"].abs() + 0.5
    if name == "segnet Upsample":  # distinct places: where two values meet, the fork's gradient is not the true one
        inputs["x1"] = torch.arange(9.0).view(3, 3).expand_as(inputs["x1"]).double()
    free = [blob for blob in net.inputs if blob not in EXAMPLES[name].labels]
    parameters = [p for p in net.parameters() if p.requires_grad]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for module in net.modules():
            if isinstance(module, RecurrentModule):
                module.reset()
        outputs = net.forward_dict(inputs | dict(zip(free, tensors, strict=False)))
        return tuple(value for value in outputs.values() if value.requires_grad)

    leaves = (*(inputs[blob].clone().requires_grad_() for blob in free), *parameters)
    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("name", LAYERS)
def test_accounts_name_every_field_of_caffe_or_of_every_fork_that_has_the_type(name: str) -> None:
    layer = LAYERS[name]
    assert bool(layer.forks) == (" " in name)
    for fork in layer.forks or ("",):
        for message, account in layer.accounts.items():
            assert {f.name for f in account_fields(message, schema_of(layer, fork))} == set(account.fields())


@pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if layer.forks])
def test_a_forks_type_states_its_source_and_its_witness(name: str) -> None:
    assert LAYERS[name].origin.endswith((".cpp", ".cu"))
    assert LAYERS[name].evidence is not None


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"type": "New", "accounts": {"relu_param": Account(read=("negative_slope",))}}, "not accounted for: engine"),
        ({"type": "New", "forks": ("ssd",), "accounts": {"norm_param": Account(read=("eps",))}}, "not accounted for: across_spatial, channel_shared, scale_filler"),
        ({"type": "ReLU"}, "ReLU is registered already"),
        ({"type": "Normalize", "forks": ("ssd",)}, "Normalize is registered already"),
        ({"type": "New", "forks": ("nobody",)}, "no such fork: nobody"),
        ({"type": "New", "own": {"new_param": {"table": {"a": 1}}}}, "layer type New: table: a bool, int, float, str or a list of them"),
    ],
)  # fmt: skip
def test_a_type_that_states_something_impossible_is_not_registered(attributes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        register(type("New", (Layer,), attributes))
