"""caffe-compat time and device_query."""

import json
import re

import pytest
import torch

from caffe_compat.cli import main

DEPLOY = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "left" type: "Pooling" bottom: "conv" top: "left" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "right" type: "Pooling" bottom: "conv" top: "right" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 5 } }
"""


def lines(err):
    return [line.partition("] ")[2] for line in err.splitlines()]


def test_time_prints_caffes_lines_for_every_layer(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(DEPLOY)
    assert main(["time", f"-model={tmp_path}/net.prototxt", "-iterations", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    logged = lines(err)
    assert logged[0] == "Use CPU."
    assert "Testing for 2 iterations." in logged
    assert [line for line in logged if line.startswith("Iteration: ")] == [
        line
        for n in (1, 2)
        for line in logged
        if re.fullmatch(rf"Iteration: {n} forward-backward time: \S+ ms\.", line)
    ]
    first = logged.index("Average time per layer: ") + 1
    names = ["in", "conv", "relu", "conv_relu_0_split", "left", "right", "sum", "ip"]
    shown = [re.fullmatch(r" *(\S+)\t(forward|backward): \S+ ms\.", line) for line in logged[first : first + 16]]
    assert [match.groups() for match in shown] == [(n, way) for n in names for way in ("forward", "backward")]
    for kind in ("Average Forward pass", "Average Backward pass", "Average Forward-Backward", "Total Time"):
        assert sum(bool(re.fullmatch(rf"{kind}: \S+ ms\.", line)) for line in logged) == 1
    assert logged[-1] == "*** Benchmark ends ***"
    result = json.loads(out)
    assert [row["name"] for row in result["layers"]] == names
    times = {row["name"]: row for row in result["layers"]}
    assert all(times[name]["forward_ms"] > 0 and times[name]["backward_ms"] > 0 for name in ("conv", "sum", "ip"))
    assert result["total_ms"] == pytest.approx(2 * result["forward_backward_ms"])
    assert result["net_forward_ms"] > 0  # which of two times is longer depends on what else the machine does
    assert result["net_forward_backward_ms"] > 0


def test_time_reads_data_layers_and_makes_up_missing_data(case, capsys):
    argv = ["time", "--model=net.prototxt", "--iterations=1"]
    assert main(argv) == 0
    loss = next(line for line in lines(capsys.readouterr().err) if line.startswith("Initial loss"))
    assert float(loss.split()[-1]) > 0
    (case / "train.txt").unlink()
    assert main([*argv, "--input=data=6,3", "--input=label=6,1"]) == 0


def test_a_layer_receives_the_gradients_of_its_readers(tmp_path):
    from caffe_compat.build.net import build_net
    from caffe_compat.definition.filtering import net_state
    from caffe_compat.definition.prepare import prepare
    from caffe_compat.tools.feeds import feed
    from caffe_compat.tools.timing import LayerwisePass

    text = DEPLOY.replace('top: "data" input_param {', 'top: "data" top: "label" input_param { shape { dim: 2 }')
    text = text.replace(
        "shape { dim: 2 } shape { dim: 2 dim: 3 dim: 8 dim: 8 }",
        "shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 }",
    )
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 3 }\n'
    (tmp_path / "net.prototxt").write_text(text)
    fed = feed(prepare(tmp_path / "net.prototxt", net_state("TRAIN")))
    net = build_net(fed.graph, seed=1)
    passes = LayerwisePass(net, fed, torch.device("cpu"))
    seen = {}
    loss = passes.forward()
    for node in reversed(fed.graph.nodes):
        passes.backward(node)
        seen.update(passes.grads)
    blobs = net.every_blob(fed.next())
    for name in ("left", "ip", "sum"):
        blobs[name].retain_grad()
    net.total_loss({"loss": blobs["loss"]}).backward()
    for name in ("left", "ip", "sum"):
        torch.testing.assert_close(seen[name], blobs[name].grad, rtol=1e-6, atol=1e-7)
    assert loss == pytest.approx(3 * blobs["loss"].item())


def test_device_query_describes_every_device(capsys):
    count = torch.cuda.device_count()
    assert main(["device_query", "-gpu=all", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["devices"]) == count
    assert "Querying GPUs all" in err
    assert ("No cuda device present." in err) == (count == 0)
