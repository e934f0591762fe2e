"""The builders write the authors' definitions, and each switch changes what it names."""

from dataclasses import replace

import pytest
import torch

from caffe_compat import load_net
from caffe_compat.errors import ProblemsError
from caffe_compat.formats.files import format_text, parse_text, read_net, read_solver
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.nets.cnn_d import CONVOLUTION_RATES, cnn_d, cnn_d_deploy
from lq_emotion.nets.definitions import builder
from lq_emotion.nets.names import FACTORS, Net
from lq_emotion.nets.sr_fcn import non_joint, non_joint_deploy, sr_fcn, sr_fcn_deploy
from lq_emotion.nets.switches import AS_CODE, AS_PAPER, PaperSwitches, choices
from tests.refusals import refused

NETS = {
    "experiments/network/model_1F_CNN+D.prototxt": cnn_d,
    "experiments/network/model_1F_CNN+D_vlqr.prototxt": lambda: cnn_d(Net.JOINT),
    "experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt": non_joint,
    "pretrain/Pretrain_net.prototxt": sr_fcn,
    "matlabscripts/recon/deploy/model_1F_CNN+D.prototxt": cnn_d_deploy,
    "matlabscripts/recon/deploy/SRCNN_net.prototxt": sr_fcn_deploy,
}
SOLVERS = {
    "experiments/solver/solver_1F_CNN+D.prototxt": Net.SCRATCH,
    "experiments/solver/solver_1F_CNN+D_vlqr.prototxt": Net.JOINT,
    "experiments/solver/solver_1F_CNN+D_vlqr_non_joint.prototxt": Net.NON_JOINT,
    "pretrain/Pretrain_solver.prototxt": Net.SR_FCN,
}
IN_A_DEFINITION = (
    "input_size", "quadrant_pooling", "convolutions", "normalisation", "sr_schedule", "lr_on_plateau", "bias_rate",
    "separate_regressor", "loss",
)  # fmt: skip
KHORRAMI = replace(AS_CODE, quadrant_pooling=True, convolutions="padded")


def test_every_shipped_definition_has_its_builder():
    assert {name for name in prototxt.available() if not name.startswith("known/")} == {*NETS, *SOLVERS}


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_the_shipped_one(name):
    shipped = read_net(prototxt.path(name))
    assert format_text(NETS[name]()) == format_text(shipped)
    shipped.DiscardUnknownFields()  # where each layer was written
    assert NETS[name]() == shipped


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_is_the_shipped_one(name):
    shipped = read_solver(prototxt.path(name))
    assert format_text(builder(SOLVERS[name]).solver(AS_CODE)) == format_text(shipped)
    shipped.DiscardUnknownFields()
    assert builder(SOLVERS[name]).solver(AS_CODE) == shipped


@pytest.mark.parametrize(
    ("net", "parameters"),
    [
        (cnn_d_deploy(), 2_946_649),
        (sr_fcn_deploy(), 1_032_449),
        (cnn_d_deploy(switches=replace(AS_CODE, quadrant_pooling=True)), 1_333_849),
        (cnn_d_deploy(switches=KHORRAMI), 1_333_849),
        (cnn_d_deploy(switches=replace(KHORRAMI, convolutions="padded_no_bias")), 1_333_401),
        (non_joint_deploy(switches=replace(AS_CODE, separate_regressor=True)), 2_946_648),
        (non_joint_deploy(switches=AS_PAPER), 1_336_196),
        (sr_fcn_deploy(switches=AS_PAPER), 1_032_449 - 64 - 128 - 256),
    ],
    ids=["code", "sr", "quadrants", "khorrami", "zero bias", "regressor", "regressor as paper", "sr as paper"],
)
def test_parameters_are_as_many_as_counted_by_hand(net, parameters):
    built = load_net(net)
    assert built.caffe.parameter_count() == parameters == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize("quadrants", [False, True])
@pytest.mark.parametrize("convolutions", choices()["convolutions"])
def test_no_other_number_of_hidden_units_brings_non_joint_nearer_to_cnn_d(convolutions, quadrants):
    switches = replace(AS_CODE, convolutions=convolutions, quadrant_pooling=quadrants, separate_regressor=True)
    regressor, others = (load_net(x(switches=switches)) for x in (non_joint_deploy, cnn_d_deploy))
    one_unit = regressor.fc4.weight.shape[1] + 2
    difference = regressor.caffe.parameter_count() - others.caffe.parameter_count()
    assert abs(difference) <= one_unit / 2


@pytest.mark.parametrize("factor", [1, *FACTORS])
def test_at_its_own_size_every_factor_has_the_same_parameters(factor):
    net = load_net(cnn_d_deploy(switches=AS_PAPER, factor=factor), seed=0)
    assert net.caffe.shapes["data"] == (1, 1, 96 // factor, 96 // factor)
    assert net.caffe.shapes["pool3"] == (1, 256, 2, 2)
    assert net.caffe.parameter_count() == 1_333_401
    assert net(torch.rand(2, 1, 96 // factor, 96 // factor)).shape == (2, 1)


def test_quadrants_of_17_pixels_are_9_and_8():
    (pool,) = [x for x in cnn_d(switches=replace(AS_CODE, quadrant_pooling=True)).layer if x.name == "pool3"]
    assert (pool.pooling_param.kernel_size, pool.pooling_param.stride) == (9, 9)


@pytest.mark.parametrize("name", IN_A_DEFINITION)
def test_each_switch_of_a_definition_changes_one(name):
    base = replace(KHORRAMI, input_size="enlarged") if name == "input_size" else AS_CODE
    values = set(choices()[name]) - {getattr(base, name), "file"}  # `file` is of the data
    assert values
    for value in values:
        assert texts(replace(base, **{name: value})) != texts(base), value


@pytest.mark.parametrize("name", sorted(set(choices()) - set(IN_A_DEFINITION)))
def test_the_other_switches_are_about_data(name):
    assert len(choices()[name]) > 1
    base = replace(AS_CODE, lr_on_plateau=True) if name == "validation" else AS_CODE
    for value in choices()[name]:
        assert texts(replace(base, **{name: value})) == texts(base), value


def texts(switches):
    nets = [cnn_d(t, switches=switches, factors=(3,)) for t in CONVOLUTION_RATES]
    nets += [non_joint(switches=switches), sr_fcn(switches=switches), cnn_d_deploy(switches=switches, factor=3)]
    nets += [non_joint_deploy(switches=switches), sr_fcn_deploy(switches=switches)]
    return [format_text(x) for x in (*nets, *(builder(net).solver(switches) for net in Net))]


@pytest.mark.parametrize("switches", [AS_CODE, AS_PAPER], ids=["code", "paper"])
def test_a_printed_definition_reads_back(switches):
    for net in (cnn_d(switches=switches), non_joint(switches=switches), sr_fcn(switches=switches)):
        back = parse_text(format_text(net), pb.NetParameter)
        back.DiscardUnknownFields()
        assert back == net


def test_mse_is_the_mean_of_squares():
    switches = replace(AS_CODE, loss="mse")
    for definition, output, data, label in (
        (cnn_d(switches=switches), "fc5", torch.rand(3, 1, 96, 96), torch.rand(3, 1)),
        (sr_fcn(switches=switches), "conv4", torch.rand(3, 1, 32, 32), torch.rand(3, 1, 16, 16)),
    ):
        inputs = {"data": data, "label": label}
        shapes = {name: tuple(values.shape) for name, values in inputs.items()}
        net = load_net(definition, losses=True, input_shapes=shapes, seed=0)
        expected = torch.nn.functional.mse_loss(net.every_blob(inputs)[output], label)
        torch.testing.assert_close(net.total_loss(net.forward_dict(inputs)), expected)


def test_the_separate_regressor_learns_above_a_frozen_sr_fcn():
    net = non_joint(switches=replace(AS_CODE, separate_regressor=True))
    learns = {x.name: [p.lr_mult for p in x.param] for x in net.layer if x.param}
    assert learns == {**{f"conv{i}": [0, 0] for i in (1, 2, 3, 4)}, "fc4": [1, 2], "fc5": [1, 2]}
    sr = load_net(sr_fcn_deploy(), seed=3)
    weights = {f"conv{i}": [sr.state_dict()[f"conv{i}.{x}"].numpy() for x in ("weight", "bias")] for i in (1, 2, 3, 4)}
    whole = load_net(non_joint_deploy(switches=replace(AS_CODE, separate_regressor=True)), weights, seed=1)
    data = torch.rand(1, 1, 96, 96)
    torch.testing.assert_close(whole.every_blob({"data": data})["conv4"], sr(data))


def test_the_papers_schedule_of_sr_fcn():
    solver = builder(Net.SR_FCN).solver(AS_PAPER)
    assert (solver.max_iter, round(solver.base_lr, 6), round(solver.weight_decay, 6)) == (30000, 0.01, 0.0005)
    assert solver.lr_policy == "fixed"


def test_each_face_is_normalised_by_its_own_mean_and_deviation_before_the_regressor():
    switches = replace(AS_CODE, normalisation="face")
    net = load_net(cnn_d_deploy(switches=switches), seed=0).eval()
    faces = torch.rand(2, 1, 96, 96)
    blob = net.every_blob({"data": faces})["normalised"]
    torch.testing.assert_close(blob.mean((1, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(blob.var((1, 2, 3), correction=0), torch.ones(2))
    torch.testing.assert_close(net(0.25 * faces + 3), net(faces), atol=1e-4, rtol=1e-4)
    regressor = non_joint(switches=replace(switches, separate_regressor=True))
    bottoms = [layer.bottom[0] for layer in regressor.layer if layer.name in ("conv1", "normalised", "fc4")]
    assert bottoms == ["data", "conv4", "normalised"]


def test_the_rate_on_a_plateau_begins_without_steps():
    solver = builder(Net.JOINT).solver(AS_PAPER)
    assert (solver.lr_policy, round(solver.gamma, 6), list(solver.stepvalue)) == ("multistep", 0.1, [])


def test_a_wrong_switch_names_its_settings():
    with refused("name-unknown", field="convolutions", value="same", hint="'valid', 'padded', 'padded_no_bias'"):
        PaperSwitches(convolutions="same")
    with pytest.raises(ProblemsError) as caught:
        PaperSwitches(loss="mae", quadrant_pooling=2)
    assert [problem.field for problem in caught.value.problems] == ["quadrant_pooling", "loss"]


def test_small_faces_need_padding_and_quadrants():
    with refused("conflict", field="input_size", value="own", hint="quadrant_pooling=True"):
        PaperSwitches(input_size="own")


def test_a_factor_divides_96():
    with refused("out-of-range", field="factor", value=5):
        cnn_d(factors=(5,))
