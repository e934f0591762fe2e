"""Safetensors: the values for strangers, and the net made again from the file alone."""

import json

import numpy as np
import pytest
import torch

from caffe_compat import Preprocessing, load_net, load_safetensors
from caffe_compat.cli import main
from caffe_compat.export import export
from tests.export.consumers import outputs
from tests.export.nets import LARGEST_DIFFERENCE, author, published
from tests.refusals import refused

pytest.importorskip(
    "safetensors", reason="the package safetensors is not installed: pip install 'caffe-compat[export]'"
)

SHARED = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }
layer { name: "first" type: "InnerProduct" bottom: "data" top: "first" param { name: "w" }
  inner_product_param { num_output: 3 bias_term: false weight_filler { type: "gaussian" } } }
layer { name: "second.x" type: "InnerProduct" bottom: "first" top: "second" param { name: "w" }
  inner_product_param { num_output: 3 bias_term: false } }
layer { name: "sum" type: "Eltwise" bottom: "first" bottom: "second" bottom: "data" top: "sum" } """
FIRST_LAYER = """
from safetensors.numpy import load_file
values = {name: torch.from_numpy(value) for name, value in load_file(file).items()}
run = lambda data: torch.nn.functional.conv2d(data, values["conv1.weight"], values["conv1.bias"])
"""


def equal(first, second) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def shared_net(tmp_path):
    (tmp_path / "net.prototxt").write_text(SHARED)
    return load_net(tmp_path / "net.prototxt", seed=3)


def test_the_authors_net_made_again_from_the_file_alone_answers_as_caffe(nets, tmp_path):
    recorded = author("cnn_d", nets)
    net = recorded.load()
    export(net, tmp_path / "net.safetensors", "safetensors")
    again = load_safetensors(tmp_path / "net.safetensors")
    data = torch.from_numpy(recorded.inputs["data"])
    with torch.no_grad():
        assert torch.equal(again(data), net(data))
        assert recorded.difference({"": again(data).numpy()}) <= LARGEST_DIFFERENCE
    assert equal(again, net)


@pytest.mark.parametrize("name", ["mtcnn_det4", "mini_xception_deploy"])
def test_a_published_net_made_again_from_the_file_alone_answers_as_caffe(name, reference, tmp_path):
    recorded = published(name, reference / "published")
    export(recorded.load(), tmp_path / "net.safetensors", "safetensors")
    again = load_safetensors(tmp_path / "net.safetensors")
    with torch.no_grad():
        tops = again(*(torch.from_numpy(recorded.inputs[blob]) for blob in again.inputs))
    tops = tops if isinstance(tops, dict) else {"": tops}
    assert recorded.difference({name: top.numpy() for name, top in tops.items()}) <= LARGEST_DIFFERENCE


@pytest.mark.slow
def test_a_stranger_computes_caffes_first_layer_from_the_values(nets, tmp_path):
    recorded = author("cnn_d", nets)
    export(recorded.load(), tmp_path / "net.safetensors", "safetensors")
    with np.load(nets / "cnn_d_deploy.npz") as record:
        places, values = record["out_index/conv1"], record["out_sample/conv1"]
    conv1 = outputs(FIRST_LAYER, tmp_path / "net.safetensors", recorded.inputs, tmp_path)[""]
    conv1 = conv1.clip(0)  # the blob after the ReLU in place
    assert np.abs(conv1.ravel()[places] - values).max() <= LARGEST_DIFFERENCE * conv1.max()


def test_shared_parameters_preprocessing_and_names_survive(shared_net, tmp_path):
    shared_net.meta["preprocessing"] = Preprocessing("GRAY", None, None, 1.0, np.full((1, 2, 2), 0.1, np.float32), 3.0)
    export(shared_net, tmp_path / "net.safetensors", "safetensors")
    again = load_safetensors(tmp_path / "net.safetensors")
    assert equal(again, shared_net)
    assert again.get_submodule("first").weight is again.get_submodule("second_x").weight
    assert [node.name for node in again.caffe.nodes] == [node.name for node in shared_net.caffe.nodes]
    assert again.meta["preprocessing"].mean.tobytes() == shared_net.meta["preprocessing"].mean.tobytes()
    assert again.meta["preprocessing"].scale == 3.0


def test_two_exports_are_equal_files(shared_net, tmp_path):
    for name in ("a", "b"):
        export(shared_net, tmp_path / name, "safetensors")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_is_damaged_or_lacks_a_tensor_or_the_definition_is_refused(shared_net, tmp_path):
    from safetensors.numpy import load_file, save_file

    file = tmp_path / "net.safetensors"
    export(shared_net, file, "safetensors")
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    values, texts = load_file(file), header["__metadata__"]
    assert set(texts) == {"definition.prototxt", "forks"}
    file.write_bytes(content[:-4])
    with refused("damaged-file", file=file):
        load_safetensors(file)
    save_file(values, file)
    with refused("wrong-format", file=file):
        load_safetensors(file)
    save_file(values, file, texts | {"forks": "spoon"})
    with refused("name-unknown"):
        load_safetensors(file)
    save_file({"first.weight": values["first.weight"][:2]}, file, texts)
    with refused("several") as caught:
        load_safetensors(file)
    assert [(e.code, e.field) for e in caught.value.problems] == [
        ("mismatch", "first.weight"),
        ("mismatch", "second_x.weight"),
    ]


def test_the_command_writes_a_net_and_refuses_weights_of_another(golden, tmp_path, capsys):
    case = golden / "layers" / "conv_group"
    arguments = [str(tmp_path / "net.safetensors"), f"--model={case / 'net.prototxt'}"]
    assert main(["convert", str(case / "weights.caffemodel"), *arguments]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'net.safetensors'}: safetensors, ")
    again = load_safetensors(tmp_path / "net.safetensors")
    assert equal(again, load_net(case / "net.prototxt", case / "weights.caffemodel"))
    (tmp_path / "net.safetensors").unlink()
    other = golden / "layers" / "ip" / "weights.caffemodel"
    assert main(["convert", str(other), *arguments]) == 1
    assert not (tmp_path / "net.safetensors").exists()


def test_the_command_takes_weights_of_every_form(golden, tmp_path):
    case = golden / "layers" / "conv_group"
    model, source = f"--model={case / 'net.prototxt'}", case / "weights.caffemodel"
    for number, suffix in enumerate((".h5", ".pt")):
        assert main(["convert", str(source), str(tmp_path / f"w{suffix}"), model]) == 0
        assert main(["convert", str(tmp_path / f"w{suffix}"), str(tmp_path / f"{number}.safetensors"), model]) == 0
    assert main(["convert", str(source), str(tmp_path / "2.safetensors"), model]) == 0
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(3)}) == 1
    assert main(["convert", str(source), str(tmp_path / "net.safetensors")]) == 1


def test_a_net_of_a_fork_is_made_again(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 2, 3, 3] } } }
        layer { name: "norm" type: "Normalize" bottom: "data" top: "norm"
          norm_param { across_spatial: false scale_filler { type: "constant" value: 20 } channel_shared: false } }"""
    )
    net = load_net(tmp_path / "net.prototxt", fork="ssd")
    export(net, tmp_path / "net.safetensors", "safetensors")
    again, data = load_safetensors(tmp_path / "net.safetensors"), torch.randn(1, 2, 3, 3)
    assert again.caffe.nodes[1].spec.fork == "ssd"
    assert torch.equal(again(data), net(data))
