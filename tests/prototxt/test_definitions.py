"""The ten definitions of the authors are the messages of their own files."""

import hashlib
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf import text_format

from caffe_compat.formats.files import read_net, read_solver
from caffe_compat.schema import caffe_pb2
from lq_emotion import prototxt

# The first 128 bits of the sha256 of the deterministic serialisation of the authors' own file at dde3c1c, parsed.
AUTHORS = {
    "experiments/network/model_1F_CNN+D.prototxt": "77c49d7c6c9013047e31cfe216ae6c0c",
    "experiments/network/model_1F_CNN+D_vlqr.prototxt": "8d3e878f1a4993b41081c08177aca7e0",
    "experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt": "bf86155928265b8d65c00334f6346c2b",
    "experiments/solver/solver_1F_CNN+D.prototxt": "1cc7a80f9792f7386906fed3f617d18d",
    "experiments/solver/solver_1F_CNN+D_vlqr.prototxt": "af9bcbff11a46e9b4925d3fcce024aa3",
    "experiments/solver/solver_1F_CNN+D_vlqr_non_joint.prototxt": "62dbf82f4b875ae08b9548c3088ca3f5",
    "matlabscripts/recon/deploy/SRCNN_net.prototxt": "2f70b8f5c4c19b1c0d0930fb8ebcab4d",
    "matlabscripts/recon/deploy/model_1F_CNN+D.prototxt": "c5e3ba5b7dfabdf45b4bfc9515886f96",
    "pretrain/Pretrain_net.prototxt": "8e2137da46be12e209bdaf1bbd92e9ed",
    "pretrain/Pretrain_solver.prototxt": "ec0dd2fe70fe27c24e7d051b08608221",
}
NETS = [name for name in AUTHORS if "solver" not in name.lower()]
SOLVERS = [name for name in AUTHORS if "solver" in name.lower()]


def parsed(name):
    cls = caffe_pb2.NetParameter if name in NETS else caffe_pb2.SolverParameter
    return text_format.Parse(prototxt.path(name).read_text(encoding="utf-8"), cls())


def test_the_ten_files_of_the_authors_are_available():
    assert [name for name in prototxt.available() if not name.startswith("known/")] == sorted(AUTHORS)


@pytest.mark.parametrize("name", AUTHORS)
def test_each_definition_equals_the_authors_message(name):
    assert hashlib.sha256(parsed(name).SerializeToString(deterministic=True)).hexdigest()[:32] == AUTHORS[name]


@pytest.mark.parametrize("name", AUTHORS)
def test_our_own_reader_gives_the_same_message(name):
    read = read_net if name in NETS else read_solver
    message = read(prototxt.path(name))
    message.DiscardUnknownFields()  # where each layer was written
    assert message == parsed(name)


def test_the_files_are_package_resources():
    files = resources.files("lq_emotion.prototxt")
    assert (files / "pretrain" / "Pretrain_net.prototxt").read_text(encoding="utf-8").startswith("# SR-FCN")


def test_path_returns_an_absolute_file():
    path = prototxt.path("pretrain/Pretrain_solver.prototxt")
    assert isinstance(path, Path)
    assert path.is_absolute()
    assert path.is_file()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("Pretrain_net.prototxt", "did you mean 'pretrain/Pretrain_net.prototxt'?"),
        ("pretrain/Pretrain_nett.prototxt", "did you mean 'pretrain/Pretrain_net.prototxt'?"),
        (
            "model_1F_CNN+D.prototxt",
            "'experiments/network/model_1F_CNN+D.prototxt' or 'matlabscripts/recon/deploy/model_1F_CNN+D.prototxt'?",
        ),
        ("x", "available: experiments/network/"),
        ("../setup.py", "available: "),
    ],
)
def test_an_unknown_name_is_answered_with_a_known_one(wrong, hint):
    with pytest.raises(FileNotFoundError) as error:
        prototxt.path(wrong)
    assert hint in str(error.value)
