"""Scores beside Table 1: which cell a file is, which recordings there are."""

import pytest

from caffe_compat.errors import DataError, FileError
from lq_emotion.evaluation.evaluate import Evaluate
from lq_emotion.verify.scoring import ClaimedCell, find_crops, named_cell, read_cell


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("class/HQ.caffemodel", ClaimedCell("HR", None)),
        ("class/LQ_4.caffemodel", ClaimedCell("LR", 4)),
        ("class/lr12.caffemodel.h5", ClaimedCell("LR", 12)),
        ("vlqr_x3_iter_60000.caffemodel", ClaimedCell("Joint", 3)),
        ("1F_CNN+D_vlqr_non_joint_8.caffemodel", ClaimedCell("Non-Joint", 8)),
        ("NonJoint-16.caffemodel", ClaimedCell("Non-Joint", 16)),
        ("joint_OA.caffemodel", ClaimedCell("Joint-OA", None)),
        ("max_mix_3_4_6.caffemodel", ClaimedCell("Joint-OA", None)),
        ("joint.caffemodel", ClaimedCell("Joint", None)),
        ("lr_3_4.caffemodel", ClaimedCell("LR", None)),
        ("lr5.caffemodel", ClaimedCell("LR", None)),
        ("emotion_iter_3.caffemodel", ClaimedCell(None, None)),
        ("road.caffemodel", ClaimedCell(None, None)),
        ("runs/LR-3/snapshots/emotion_iter_4.caffemodel", ClaimedCell("LR", 3)),
        ("joint/HQ.caffemodel", ClaimedCell("HR", None)),
    ],
)  # fmt: skip
def test_a_files_name_or_its_folders_tells_its_cell(name, cell):
    assert named_cell(name) == cell


def test_a_cell_can_be_named():
    assert read_cell("class/a=b.caffemodel=Joint-3") == ("class/a=b.caffemodel", ClaimedCell("Joint", 3))
    assert read_cell("a=HR") == ("a", ClaimedCell("HR", None))
    assert read_cell("a=Joint-OA") == ("a", ClaimedCell("Joint-OA", None))
    assert read_cell("a=Joint-OA-6") == ("a", ClaimedCell("Joint-OA", 6))
    for wrong in ("a", "=HR", "a=Joint-5", "a=HR-3", "a=joint-3", "a=Joint-"):
        with pytest.raises(DataError, match="names no cell of Table 1"):
            read_cell(wrong)


def test_crops_are_found_where_prepare_leaves_them(tmp_path, crops):
    crops(tmp_path, "data/raw_data/HQ")
    crops(tmp_path, "data/raw_data/LR12")
    crops(tmp_path, "data/raw_data/LR3", names=("train_1",))
    base = tmp_path / "data/raw_data"
    for root in (tmp_path, tmp_path / "data", base):
        assert find_crops(root) == {1: base / "HQ", 12: base / "LR12"}
    for root, says in ((tmp_path / "none", "no such folder"), (base / "HQ", "has no data/raw_data/HQ or LR3")):
        with pytest.raises(FileError, match=says):
            find_crops(root)


@pytest.fixture
def root(tmp_path, crops):
    root = tmp_path / "root"
    crops(root, "data/raw_data/HQ", names=("dev_1", "dev_2"))
    crops(root, "data/raw_data/LR3")
    (root / "synthetic.json").write_text('{"synthetic": true}')
    return root


def test_a_net_is_scored_as_evaluate_does_and_set_beside_its_cell(root, folder, verify):
    code, result, output = verify(folder, "--recordings", root)
    assert code == 0, output
    assert result["recordings"] == {"synthetic": True, "crops": ["HQ", "LR3"], "delay": 0.0}
    (score,) = result["files"][0]["scores"]
    assert (score["method"], score["factor"], score["crops"]) == ("HR", 1, "HQ")
    assert score["published"] == {"rmse": 0.146, "cc": 0.430, "ccc": 0.325}
    assert score["difference"]["ccc"] == score["measured"]["ccc"] - 0.325
    assert score["agrees"] is False
    run = Evaluate(folder / "class/HQ.caffemodel", root / "data/raw_data/HQ", root / "unused", device="cpu")
    (results,) = run.score()
    expected = results.scores["concatenated"].to_json()
    assert score["measured"] == {name: expected[name] for name in ("rmse", "cc", "ccc", "frames")}
    assert "on HQ (12 frames): RMSE" in output
    assert "synthetic, so that scores say nothing about the published ones" in output
    assert "published for HR: 0.146, 0.430, 0.325" in output


def test_a_named_cell_decides_what_is_scored(root, folder, verify):
    code, result, _ = verify(folder, "--recordings", root, "--cell", "class/HQ.caffemodel=Joint-3")
    assert code == 0
    (score,) = result["files"][0]["scores"]
    assert (score["method"], score["factor"], score["crops"]) == ("Joint", 3, "LR3")
    assert score["published"]["ccc"] == 0.323
    code, _, output = verify(folder, "--cell", "class/HR.caffemodel=HR")
    assert code == 1
    assert "is not among the files (did you mean 'class/HQ.caffemodel'?)" in output


def test_a_net_of_no_known_cell_is_scored_on_all_crops_and_one_without_crops_on_none(root, folder, verify):
    path = folder / "class/HQ.caffemodel"
    path = path.rename(path.with_name("a.caffemodel"))
    _, result, output = verify(folder, "--recordings", root)
    assert [(score["crops"], score["published"]) for score in result["files"][0]["scores"]] == [
        ("HQ", None),
        ("LR3", None),
    ]
    assert "no cell of Table 1 known: --cell FILE=METHOD-S" in output
    path.rename(path.with_name("LR_8.caffemodel"))
    code, result, _ = verify(folder, "--recordings", root)
    assert code == 0
    assert result["files"][0]["scores"] == []
    assert "not scored" in result["files"][0]["remarks"][0]
