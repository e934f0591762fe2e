"""Other people's definitions, where a folder of them is given; and the survey itself on texts of our own."""

import os

import pytest

from tests.zoo.survey import BESIDE, VARIABLE, definitions, examine, folders


def zoo():
    files = [(folder, file) for folder in folders() for file in definitions(folder)]
    reason = f"no folder of definitions: {VARIABLE} is not set and {BESIDE} does not exist"
    none = pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")
    return [pytest.param(file, id=str(file.relative_to(folder))) for folder, file in files] or [none]


@pytest.mark.parametrize("file", zoo())
def test_a_definition_is_read_upgraded_and_built_or_refused_by_name(file):
    outcome = examine(file)
    assert not outcome.error
    assert outcome.parsed
    assert outcome.upgraded
    for value in outcome.states.values():
        if not value.startswith("built"):
            for line in value.splitlines():
                assert line.endswith("problems:") or os.fspath(file) in line, "a refusal names the file"
                assert line.endswith("problems:") or "layer '" in line, "a refusal names the layer"


NET = """layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 8 } data_param { source: "nowhere" batch_size: 2 backend: LMDB } }
layer { name: "e" type: "Input" top: "data" include { phase: TEST } input_param { shape { dim: [1, 3, 8, 8] } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "more" type: "ReLU" bottom: "ip" top: "r" include { phase: TEST stage: "deep" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" include { phase: TRAIN } }
"""


@pytest.mark.parametrize(
    ("text", "train"),
    [(NET, "data made up"), (NET.replace("crop_size: 8", "").replace("nowhere", "cifar10_lmdb"), "shape given")],
)
def test_every_phase_and_stage_that_a_net_has_rules_for_is_built(text, train, tmp_path):
    (tmp_path / "net.prototxt").write_text(text)
    outcome = examine(tmp_path / "net.prototxt")
    assert (outcome.kind, outcome.parsed, outcome.upgraded, outcome.old) == ("net", True, True, False)
    train = f"built, {train}"
    assert outcome.states == {"TRAIN": train, "TRAIN deep": train, "TEST": "built", "TEST deep": "built"}
    assert outcome.built


def test_what_cannot_be_built_is_reported_with_file_line_and_layer(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET.replace("InnerProduct", "OuterProduct"))
    outcome = examine(tmp_path / "net.prototxt")
    assert f"{tmp_path / 'net.prototxt'}:4: layer 'ip': type = 'OuterProduct'" in outcome.states["TEST"]
    assert not outcome.built


def test_an_old_solver_is_upgraded(tmp_path):
    (tmp_path / "s.prototxt").write_text('net: "n.prototxt" base_lr: 0.1 lr_policy: "fixed" solver_type: ADAM')
    outcome = examine(tmp_path / "s.prototxt")
    assert (outcome.kind, outcome.parsed, outcome.upgraded, outcome.old) == ("solver", True, True, True)


def test_text_that_is_neither_a_net_nor_a_solver_is_an_error(tmp_path):
    (tmp_path / "x.prototxt").write_text("layer { name: ")
    assert "x.prototxt:1" in examine(tmp_path / "x.prototxt").error
