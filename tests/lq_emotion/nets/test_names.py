"""Every spelling of a net, a method or a factor leads to one name."""

import pytest

from lq_emotion.nets.definitions import builder
from lq_emotion.nets.names import FACTORS, Method, Net, crops_folder, factor_in, factor_of_crops, method_in, parse_label
from lq_emotion.studies.robust_lq.published import METHODS
from lq_emotion.studies.robust_lq.recipes import recipe


def test_users_and_files_keep_their_spellings():
    assert [str(net) for net in Net][:4] == ["HQ", "vlqr", "vlqr_non_joint", "pretrain"]
    assert [str(method) for method in METHODS] == ["HR", "LR", "Non-Joint", "Joint", "Joint-OA"]
    assert [method.recipe for method in METHODS] == ["hr", "lr", "non_joint", "joint", "joint_oa"]


def test_every_net_has_a_builder_and_every_method_a_recipe():
    assert all(builder(net) for net in Net)
    assert {recipe(method).net for method in Method} <= set(Net)


def test_an_unknown_net_is_refused():
    with pytest.raises(ValueError, match="'joint' is not a valid Net"):
        Net("joint")


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("factor", FACTORS)
def test_a_label_reads_back(method, factor):
    assert parse_label(method.at(factor)) == (method, None if method.serves_all_factors else factor)


@pytest.mark.parametrize("text", ["", "HR-3", "LR-5", "joint", "Joint-3x", "OA"])
def test_other_text_is_no_label(text):
    assert parse_label(text) is None


@pytest.mark.parametrize(
    ("name", "method", "factor"),
    [
        ("HQ", Method.HR, None),
        ("vlqr_12", Method.JOINT, 12),
        ("non_joint-x4", Method.NON_JOINT, 4),
        ("joint_oa", Method.JOINT_OA, None),
        ("LR-3 and 4", Method.LR, None),
        ("snapshots", None, None),
    ],
)
def test_file_names_contain_method_and_factor(name, method, factor):
    assert (method_in(name), factor_in(name)) == (method, factor)


def test_crops_are_named_after_their_factor():
    assert [crops_folder(factor) for factor in (1, 3, 16)] == ["HQ", "LR3", "LR16"]
    assert [factor_of_crops(name) for name in ("HQ", "LR3", "LR16", "LR3_own", "other")] == [1, 3, 16, None, None]
