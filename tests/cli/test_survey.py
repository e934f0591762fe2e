"""caffe-compat survey: which definitions below a folder are built, and what the others lack."""

import json

import pytest

from caffe_compat.cli import main

INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 5 dim: 5 } } }\n'
CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 3 kernel_size: 3 } }\n'
DATA = 'layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "gone" batch_size: 4 } }\n'
LOSS = """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""
PYTHON = (
    'layer { name: "p" type: "Python" bottom: "data" top: "rois" python_param { module: "rpn" layer: "Proposal" } }\n'
)
FILES = {
    "a/deploy.prototxt": INPUT + CONV,
    "a/deep/er/old.pt": 'input: "data" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5 '
    'layers { name: "r" type: RELU bottom: "data" top: "data" }',
    "a/train.prototxt": DATA + LOSS,
    "a/solver.prototxt": 'net: "train.prototxt" base_lr: 0.1 lr_policy: "fixed"',
    "a/net.txt": INPUT + CONV,
    "a/README.txt": "Trained for 3 days.",
    "b/python.prototxt": INPUT + PYTHON,
    "b/typo.prototxt": INPUT + CONV.replace("num_output", "num_outputs"),
    "b/type.prototxt": INPUT + CONV.replace("Convolution", "Convulsion"),
    "b/both.prototxt": INPUT + PYTHON + CONV.replace("Convolution", "Convulsion"),
    "b/train_only.prototxt": DATA.replace("top:", "include { phase: TRAIN } top:", 1).replace('"Data"', '"Datum"')
    + CONV,
    "b/template.prototxt": INPUT + CONV.replace("3 }", "$N }"),
    "b/bn.prototxt": INPUT + 'layer { name: "bn" type: "BN" bottom: "data" top: "bn" }',
    "b/labelmap.prototxt": 'item { name: "none" label: 0 display_name: "background" }',
    "b/weights.pt": b"PK\x03\x04\x00\x00",
    "b/empty.prototxt": "",
    ".git/config.prototxt": INPUT + CONV,
}
TABLE = """# table of shapes
a/*   data=4,2,5,5 label=4
b/py* rois=7,5   # of a Python layer
b/bn* fork=segnet
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in FILES.items():
        path = tmp_path / "nets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "shapes.txt").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def survey(capsys, *flags):
    assert main(["survey", "nets", "--json", *flags]) == 0
    result = json.loads(capsys.readouterr().out)
    return {row["path"]: (row["lack"], row["name"]) for row in result.pop("definitions")}, result


def test_every_definition_is_built_or_lacks_one_thing(folder, capsys):
    definitions, result = survey(capsys)
    assert definitions == {
        "a/deep/er/old.pt": (None, ""),
        "a/deploy.prototxt": (None, ""),
        "a/net.txt": (None, ""),
        "a/train.prototxt": ("shape of", "data"),
        "b/bn.prototxt": ("name of the fork", "BN"),
        "b/both.prototxt": ("layer type", "Convulsion"),
        "b/python.prototxt": ("Python layer", "rpn.Proposal"),
        "b/template.prototxt": ("a fault in the definition", "(syntax)"),
        "b/train_only.prototxt": ("layer type", "Datum"),
        "b/type.prototxt": ("layer type", "Convulsion"),
        "b/typo.prototxt": ("field", "num_outputs"),
    }
    assert result["folders"] == {"a": {"definitions": 4, "built": 3}, "b": {"definitions": 7, "built": 0}}
    assert result["left_out"] == {"solver": 1, "label map": 1, "other file": 3}


def test_shapes_and_forks_in_the_table_build_what_lacked_them(folder, capsys):
    definitions, _ = survey(capsys, "--shapes=shapes.txt")
    built = ("a/train.prototxt", "b/bn.prototxt", "b/python.prototxt")
    assert [definitions[path] for path in built] == [(None, "")] * 3
    assert survey(capsys, "--fork=segnet")[0]["b/bn.prototxt"] == (None, "")


def test_python_layers_with_given_shapes_are_named(folder, capsys):
    assert main(["survey", "nets", "--shapes=shapes.txt", "--out=table.md", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["definitions"]
    assert [row["python"] for row in rows if row["path"] == "b/python.prototxt"] == [["rpn.Proposal"]]
    text = (folder / "table.md").read_text()
    assert "| b/python.prototxt | built | rpn.Proposal |" in text
    assert "| all | 11 | 6 | 5 |" in text
    assert "| layer type Convulsion | 2 |" in text


def test_lines_and_a_table_for_people(folder, capsys):
    assert main(["survey", "nets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "built    a/deep/er/old.pt"
    assert lines[3].startswith("refused  a/train.prototxt: shape of data: ")
    assert lines[-2].split() == ["all", "11", "3", "8"]
    assert lines[-1] == "left out: 1 solver, 1 label map, 3 other files"
