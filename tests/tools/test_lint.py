"""lint: every rule finds its fault, at its line, and is silent about a net that has none."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.cli import main
from caffe_compat.tools.lint import RULES, lint_net, lint_solver
from tests.solver.case import SOLVER

DATA = 'layer { name: "in" type: "Input" top: "data" top: "label" input_param {\n'
DATA += "  shape { dim: 4 dim: 3 dim: 9 dim: 9 } shape { dim: 4 } } }\n"
CONV = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"\n'
CONV += '  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }\n'
IP = 'layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip"\n'
IP += '  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
CLEAN = DATA + CONV + IP % "conv" + LOSS


def layer(kind, bottom, top, more="", name="x"):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}"\n  {more} }}\n'


def between(*layers, last="x"):
    return DATA + CONV + "".join(layers) + IP % last + LOSS


@pytest.fixture
def lint(tmp_path):
    def run(text, **options):
        (tmp_path / "net.prototxt").write_text(text)
        return lint_net(tmp_path / "net.prototxt", **options)

    return run


def places(findings, rule):
    return [(finding.layer, finding.line, finding.phase) for finding in findings if finding.rule == rule]


def calls_of(lint, text):
    """Count the calls of lint's own functions, which does not depend on the machine's speed."""
    count = 0

    def see(frame, event, _):
        nonlocal count
        count += event == "call" and str(Path("tools") / "lint") in frame.f_code.co_filename

    sys.setprofile(see)
    try:
        lint(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("ceil", [True, False])
def test_pooling_of_a_fork_rounds_up_as_its_ceil_mode_says(lint, ceil):
    pool = POOL.replace("}", f"ceil_mode: {str(ceil).lower()} }}")
    found = places(lint(between(layer("Pooling", "conv", "x", pool)), fork="pr3057"), "pool-rounds-up")
    assert found == ([("x", 7, "")] if ceil else [])


@pytest.mark.parametrize("kind", ["in place", "unused"])
def test_lint_takes_linear_time(lint, kind):
    def net(count):
        tops = [(f"r{i}", "x" if kind == "in place" else f"r{i}") for i in range(count)]
        return between(layer("ReLU", "conv", "x"), *(layer("ReLU", "x", top, name=name) for name, top in tops))

    work = [calls_of(lint, net(count)) for count in (50, 100, 200)]
    assert 0 < work[2] - work[1] < 2.5 * (work[1] - work[0])


def test_a_clean_net_has_no_findings(lint):
    assert lint(CLEAN) == []


MEMORY = 'layer { name: "feed" type: "MemoryData" top: "data" top: "label"\n'
MEMORY += "  memory_data_param { batch_size: 4 channels: 3 height: 9 width: 9 } }\n"
GONE = 'layer { name: "feed" type: "HDF5Data" top: "data" top: "label"\n'
GONE += '  hdf5_data_param { source: "gone.txt" batch_size: 4 } }\n'
POOL = "pooling_param { pool: AVE\n  kernel_size: 2 stride: 2 }"
CASES = [
    ("pool-rounds-up", between(layer("Pooling", "conv", "x", POOL)), ("x", 7, "")),
    ("in-place", between(layer("Sigmoid", "conv", "x"), layer("Dropout", "x", "x", name="drop")), ("drop", 7, "TRAIN")),
    ("in-place", between(layer("Power", "conv", "conv"), last="conv"), ("x", 5, "TRAIN")),
    (
        "in-place",
        between(
            'layer { name: "x" type: "Eltwise" bottom: "conv" bottom: "data" top: "conv" }\n'.replace("data", "conv2"),
            last="conv",
        )
        .replace(IP % "conv", IP % "conv")
        .replace(CONV, CONV + CONV.replace('"conv"', '"conv2"')),
        ("x", 7, ""),
    ),
    (
        "in-place",
        between(
            layer("Flatten", "conv", "flat", name="flat"),
            layer("ReLU", "flat", "flat"),
            layer(
                "InnerProduct",
                "conv",
                "other",
                'inner_product_param { num_output: 5 weight_filler { type: "xavier" } }',
                "o",
            ),
            last="flat",
        ),
        ("x", 7, ""),
    ),
    (
        "in-place",
        between(
            layer("Pooling", "conv", "p", "pooling_param { kernel_size: 1 }", "p"),
            layer("ReLU", "conv", "conv"),
            last="p",
        ),
        ("x", 7, ""),
    ),
    ("in-place", between(layer("AbsVal", "conv", "conv"), last="conv"), ("x", 5, "")),
    ("in-place-input", DATA + layer("ReLU", "data", "data") + CONV + IP % "conv" + LOSS, ("x", 3, "")),
    ("unused-top", between(layer("ReLU", "conv", "x", name="lost"), last="conv"), ("lost", 5, "TRAIN")),
    ("never-built", CLEAN + layer("ReLU", "conv", "x", 'include { stage: "deploy" }'), ("x", 9, "")),
    ("never-built", CLEAN + layer("ReLU", "conv", "x", "include { min_level: 3 max_level: 1 }"), ("x", 9, "")),
    ("no-gradient", CLEAN + (IP % "conv").replace('"ip"', '"lost"'), ("lost", 8, "TRAIN")),
    ("loss-weight", CLEAN.replace('top: "loss"', 'top: "loss" loss_weight: 0'), ("loss", 7, "")),
    (
        "double-activation",
        CLEAN.replace(LOSS, layer("Softmax", "ip", "p") + LOSS.replace('"ip"', '"p"')),
        ("loss", 9, ""),
    ),
    ("batch-norm-alone", between(layer("BatchNorm", "conv", "x")), ("x", 5, "")),
    (
        "batch-norm-statistics",
        between(layer("BatchNorm", "conv", "x", "batch_norm_param { use_global_stats: false }")),
        ("x", 6, "TEST"),
    ),
    ("batch-norm-rate", between(layer("BatchNorm", "conv", "x", "param { lr_mult: 1 }\n" * 3)), ("x", 6, "")),
    ("batch-norm-bias", between(layer("BatchNorm", "conv", "x")), ("x", 5, "")),
    ("dropout", between(layer("Dropout", "conv", "x", "dropout_param { dropout_ratio: 0 }")), ("x", 6, "")),
    (
        "zero-weights",
        CLEAN.replace('weight_filler { type: "xavier" } } }\nlayer { name: "ip"', '} }\nlayer { name: "ip"'),
        ("conv", 3, "TRAIN"),
    ),
    ("duplicate-name", between(layer("ReLU", "conv", "x", name="conv")), ("conv", 5, "")),
    ("ignored-field", between(layer("ReLU", "conv", "x", "pooling_param { stride: 2 }")), ("x", 6, "")),
    ("ignored-field", between(layer("ReLU", "conv", "x", "image_data_param { mirror: true }")), ("x", 6, "")),
    ("fork", between(layer("ReLU", "conv", "x", "relu_param { slope: 2 }")), ("x", 6, "")),
    ("build", between(layer("ReLUU", "conv", "x")), ("x", 5, "")),
    ("deprecated", between(layer("Concat", "conv", "x", "concat_param { concat_dim: 1 }")), ("x", 6, "")),
    ("parse", CLEAN + "layer {", ("", 8, "")),
    ("no-loss", MEMORY + CONV + IP % "conv", ("", 0, "TRAIN")),
    ("shapes", GONE + CONV + IP % "conv" + LOSS, ("feed", 1, "")),
]


@pytest.mark.parametrize(("rule", "text", "expected"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_rule_reports_layer_line_and_phase_with_a_reason_and_a_hint(lint, rule, text, expected):
    findings = lint(text)
    assert expected in places(findings, rule)
    for finding in findings:
        assert finding.hint or finding.rule in ("parse", "build")
        assert finding.why or finding.rule == "parse"
        assert f"[{finding.rule}]" in str(finding)


@pytest.mark.parametrize(
    "layers",
    [
        [layer("ReLU", "conv", "conv"), layer("Dropout", "conv", "conv", name="drop")],
        [
            layer("BatchNorm", "conv", "conv", name="bn"),
            layer("Scale", "conv", "conv", "scale_param { bias_term: true }", "scale"),
            layer("ReLU", "conv", "conv"),
        ],
        [layer("Sigmoid", "conv", "conv")],
        [layer("TanH", "conv", "conv"), layer("Dropout", "conv", "d", name="drop"), layer("ReLU", "d", "conv2")],
        [
            layer("ReLU", "conv", "conv"),
            layer("Pooling", "conv", "p", "pooling_param { kernel_size: 3 stride: 3 }", "p"),
        ],
    ],
)
def test_safe_in_place_layers_have_no_findings(lint, layers):
    last = layers[-1].split('top: "')[1].split('"')[0]
    assert places(lint(between(*layers, last=last)), "in-place") == []


IN_PLACE = [
    layer("Sigmoid", "conv", "conv", name="a") + layer("Dropout", "conv", "conv", name="b"),
    layer("TanH", "conv", "t", name="a") + layer("Power", "t", "t", "power_param { power: 2 scale: 3 shift: 1 }", "b"),
    layer("BNLL", "conv", "conv", name="a"),
    layer("Clip", "conv", "conv", "clip_param { min: -0.1 max: 0.1 }", name="a"),
    layer("MVN", "conv", "conv", name="a"),
]


@pytest.mark.parametrize("text", IN_PLACE)
def test_gradients_are_those_of_layers_with_separate_tops(lint, text):
    import torch

    from caffe_compat import load_net

    last = text.rsplit('top: "', 1)[1].split('"')[0]
    apart = text.replace(f'bottom: "{last}" top: "{last}"', f'bottom: "{last}" top: "last"')
    if apart.count('top: "last"') > 1:
        apart = apart.replace('top: "last"', 'top: "first"', 1).replace(
            f'bottom: "{last}" top: "last"', 'bottom: "first" top: "last"'
        )
    (file,) = {finding.file for finding in lint(between(text, last=last)) if finding.rule == "in-place"}
    findings = []
    for net_text, end in ((between(text, last=last), last), (between(apart, last="last"), "last")):
        Path(file).write_text(net_text)
        assert bool(places(lint(net_text), "in-place")) == (end == last)
        net = load_net(file, phase="TRAIN", seed=1)
        torch.manual_seed(2)
        outputs = net.forward_dict({"data": torch.randn(4, 3, 9, 9), "label": torch.tensor([0.0, 1, 2, 3])})
        net.total_loss(outputs).backward()
        findings.append([parameter.grad.clone() for parameter in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*findings, strict=True))


def test_old_formats_are_reported_with_their_line(lint):
    v1 = 'input: "x"\ninput_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\nlayers { name: "r" type: RELU bottom: "x" top: "y" }\n'
    assert places(lint(v1), "deprecated") == [("", 1, ""), ("", 3, "")]


def test_random_augmentation_in_testing_is_reported(lint):
    def data(phase, more):
        return (
            f'layer {{ name: "d" type: "ImageData" top: "data" top: "label" include {{ phase: {phase} }}\n'
            f'  image_data_param {{ source: "gone.txt" batch_size: 2 }}\n  transform_param {{ crop_size: 8 {more} }} }}\n'
        )

    text = data("TRAIN", "mirror: true mean_value: 7") + data("TEST", "mirror: true") + CONV + IP % "conv" + LOSS
    findings = lint(text)
    assert places(findings, "test-augmented") == [("d", 6, "TEST")]
    assert places(findings, "train-test") == [("d", 4, "TEST")]


def test_missing_surplus_and_mismatched_weights_are_reported(lint, tmp_path):
    from caffe_compat.formats.files import write_weights_h5

    write_weights_h5(tmp_path / "w.h5", {"convv": [np.zeros(3)], "ip": [np.zeros((5, 2)), np.zeros(5)]})
    findings = lint(CLEAN, weights=[tmp_path / "w.h5"])
    assert [(f.rule, f.layer) for f in findings] == [
        ("weights-left-over", ""),
        ("weights-missing", "conv"),
        ("weights-mismatch", "ip"),
    ]
    assert "'convv'" in findings[0].problem


SOLVERS = [
    ("solver-tests", SOLVER.replace("test_interval: 6", ""), 4),
    ("solver-tests", SOLVER.replace("test_iter: 3 ", ""), 4),
    ("solver-steps", SOLVER.replace('"fixed"', '"multistep" gamma: 0.1'), 3),
    ("solver-steps", SOLVER.replace('"fixed"', '"multistep" gamma: 0.1\nstepvalue: 8 stepvalue: 4'), 4),
    ("solver-steps", SOLVER.replace('"fixed"', '"multistep" gamma: 0.1\nstepvalue: 80'), 4),
    ("ignored-field", SOLVER + "stepsize: 5", 6),
    ("ignored-field", SOLVER + "rms_decay: 0.9", 6),
    ("deprecated", SOLVER + "solver_type: ADAM", 6),
    ("solver", SOLVER.replace("fixed", "fixd"), 3),
    ("solver", SOLVER + 'type: "AdaGrad"', 3),
    ("solver-snapshots", SOLVER.replace("snapshot: 5", "snapshot_after_train: false"), 5),
    ("solver-snapshots", SOLVER.replace('snapshot_prefix: "snap"', ""), 5),
    ("no-data", SOLVER.replace("net.prototxt", "gone.prototxt"), 2),
]


@pytest.mark.parametrize(("rule", "text", "line"), SOLVERS)
def test_a_rule_for_solvers_reports_the_line(tmp_path, rule, text, line):
    (tmp_path / "solver.prototxt").write_text(text)
    assert (rule, line) in [(f.rule, f.line) for f in lint_solver(tmp_path / "solver.prototxt")]


def test_a_net_that_needs_a_stage_is_a_note(lint):
    staged = CLEAN.replace('name: "conv"', 'include { stage: "a" } name: "conv"')
    (findings,) = [finding for finding in lint(staged) if finding.rule == "build"]
    assert (findings.level, findings.hint.split(":")[0]) == ("note", "pass --stage=a")
    assert lint(staged, stages=["a"]) == [finding for finding in lint(staged) if finding.rule == "never-built"]


def test_fields_and_types_of_a_known_fork_are_reported_once(lint):
    text = between(
        layer("Permute", "conv", "a", "permute_param { order: 0 order: 2 order: 3 order: 1 }", "a"),
        layer("Permute", "a", "x", "permute_param { order: 0 order: 3 order: 1 order: 2 }"),
    )
    findings = [finding for finding in lint(text) if finding.rule == "fork"]
    assert [(f.level, f.line, f.problem) for f in findings] == [
        ("note", 5, "layer type of a fork of Caffe: Permute, also in 1 other layer"),
        ("note", 6, "field of a fork of Caffe: permute_param, also in 1 other layer"),
    ]
    assert all("ssd" in finding.why for finding in findings)


def test_every_rule_has_a_test():
    tested = {case[0] for case in [*CASES, *SOLVERS]}
    elsewhere = {
        "test-augmented",
        "train-test",
        "weights-missing",
        "weights-left-over",
        "weights-mismatch",
        "weights-not-finite",
    }
    assert set(RULES) == tested | elsewhere


def test_the_command_checks_a_solver_and_its_nets(case, capsys):
    assert main(["lint", "solver.prototxt"]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings, 0 notes\n"
    (case / "train.txt").unlink()
    assert main(["lint", "net.prototxt"]) == 0
    assert "net.prototxt:3: note: layer 'feed'" in capsys.readouterr().out
    (case / "net.prototxt").unlink()
    assert main(["lint", "solver.prototxt"]) == 0
    assert "net 'net.prototxt' does not exist" in capsys.readouterr().out


def test_the_exit_code_is_1_for_errors_and_with_strict_for_warnings(folder, capsys):
    (folder / "a.prototxt").write_text(between(layer("BatchNorm", "conv", "x")))
    assert main(["lint", "a.prototxt"]) == 0
    assert main(["lint", "a.prototxt", "--strict"]) == 1
    assert main(["lint", "a.prototxt", "--strict", "--ignore=batch-norm-alone"]) == 0
    capsys.readouterr()
    assert main(["lint", "a.prototxt", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["warning"] == 1
    assert [f["rule"] for f in findings["findings"]] == ["batch-norm-alone", "batch-norm-bias"]
    assert main(["lint", "a.prototxt", "--quiet"]) == 0
    assert "batch-norm-bias" not in capsys.readouterr().out
    assert main(["lint", "--rules"]) == 0
    no_loss = CLEAN.replace(LOSS, "").replace('type: "Input"', 'type: "MemoryData"')
    no_loss = no_loss.replace(
        "input_param {\n  shape { dim: 4 dim: 3 dim: 9 dim: 9 } shape { dim: 4 } }",
        "memory_data_param {\n batch_size: 4 channels: 3 height: 9 width: 9 }",
    )
    (folder / "c.prototxt").write_text(no_loss)
    assert main(["lint", "c.prototxt"]) == 0
    assert "[no-loss]" in capsys.readouterr().out


def test_a_field_of_a_known_forks_layer_is_a_note_that_names_the_fork(lint):
    more = layer("Wrong", "x", "y")  # the net cannot be built: what is known stays known
    text = between(layer("Normalize", "conv", "x", "norm_param { eps: 1 }"))
    for net in (text, text + more):
        findings = [f for f in lint(net) if f.rule == "fork"]
        assert [(f.level, f.line) for f in findings] == [("note", 5), ("note", 6)]
        assert findings[1].problem == "field of a fork of Caffe: norm_param"
        assert findings[1].why.endswith(" ssd")


def test_broken_text_never_raises(lint):
    import random

    rng = random.Random(0)
    words = [
        *["{", "}", ":", "layer", "top", "bottom", "-1", "0", "1e30", "nan", "true"],
        '"conv"',
        '"Eltwise"',
        "pooling_param",
        "axis",
        "phase",
    ]
    texts = [text for _, text, _ in CASES]
    for _ in range(150):
        tokens = rng.choice(texts).split(" ")
        for _ in range(rng.randint(1, 5)):
            place = rng.randrange(len(tokens))
            tokens[place : place + rng.randint(0, 1)] = rng.choices(words, k=rng.randint(0, 2))
            tokens = tokens or [""]
        assert all(str(finding) for finding in lint(" ".join(tokens)))
