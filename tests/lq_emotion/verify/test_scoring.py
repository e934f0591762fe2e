"""Scores next to those of Table 1: the cell of a file, the recordings that are scored."""

import pytest

from caffe_compat.errors import DataError
from lq_emotion.evaluation.evaluate import score_net
from lq_emotion.evaluation.settings import EvaluationSettings
from lq_emotion.verify.crops import CropsFolders, factor_in, find_crops, read_crops
from lq_emotion.verify.scoring import named_cell
from lq_emotion.verify.settings import read_cell
from matlab_ports.imresize import imresize
from matlab_ports.matfile import loadmat, savemat
from tests.refusals import refused


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("class/HQ.caffemodel", ("HR", None)),
        ("class/LQ_4.caffemodel", ("LR", 4)),
        ("class/lr12.caffemodel.h5", ("LR", 12)),
        ("vlqr_x3_iter_60000.caffemodel", ("Joint", 3)),
        ("1F_CNN+D_vlqr_non_joint_8.caffemodel", ("Non-Joint", 8)),
        ("NonJoint-16.caffemodel", ("Non-Joint", 16)),
        ("joint_OA.caffemodel", ("Joint-OA", None)),
        ("max_mix_3_4_6.caffemodel", ("Joint-OA", None)),
        ("joint.caffemodel", ("Joint", None)),
        ("lr_3_4.caffemodel", ("LR", None)),
        ("lr5.caffemodel", ("LR", None)),
        ("emotion_iter_3.caffemodel", (None, None)),
        ("road.caffemodel", (None, None)),
        ("runs/LR-3/snapshots/emotion_iter_4.caffemodel", ("LR", 3)),
        ("joint/HQ.caffemodel", ("HR", None)),
    ],
)  # fmt: skip
def test_a_files_name_or_its_folders_tells_its_cell(name, cell):
    assert named_cell(name) == cell


def test_a_cell_can_be_named():
    assert read_cell("class/a=b.caffemodel=Joint-3") == ("class/a=b.caffemodel", ("Joint", 3))
    assert read_cell("a=HR") == ("a", ("HR", None))
    assert read_cell("a=Joint-OA") == ("a", ("Joint-OA", None))
    assert read_cell("a=Joint-OA-6") == ("a", ("Joint-OA", 6))
    for wrong in ("a", "=HR", "a=Joint-5", "a=HR-3", "a=joint-3", "a=Joint-"):
        with pytest.raises(DataError, match="names no cell of Table 1"):
            read_cell(wrong)


def test_crops_are_found_where_prepare_leaves_them(tmp_path, crops):
    crops(tmp_path, "data/raw_data/HQ")
    crops(tmp_path, "data/raw_data/LR12")
    crops(tmp_path, "data/raw_data/LR3", names=("train_1",))
    base = tmp_path / "data/raw_data"
    for root in (tmp_path, tmp_path / "data", base):
        assert find_crops(root) == CropsFolders(base, {1: base / "HQ", 12: base / "LR12"})
    for root, code in ((tmp_path / "none", "file-missing"), (base / "HQ", "not-prepared")):
        with refused(code, file=str(root), field="--recordings"):
            find_crops(root)


@pytest.fixture
def reduced(tmp_path, crops):
    """Make a folder of noise at a factor, as prepare_dataset does, with another frame of one value."""

    def make(folder, factor, side=96):
        crops(tmp_path, f"data/raw_data/{folder}")
        path = tmp_path / "data/raw_data" / folder / "dev_1.mat"
        variables = loadmat(path)
        frames = variables["video"].astype("float32")
        small = imresize(frames, 1 / factor, axes=(0, 1))
        variables["video"] = imresize(small, output_size=(side, side), axes=(0, 1)).astype("float64")
        variables["video"][:, :, 0] = 0.5
        savemat(path, variables, "-v6")
        return path

    return make


@pytest.mark.parametrize("factor", [3, 4, 6, 8, 12, 16])
def test_crops_show_their_factor(factor, reduced):
    assert factor_in(reduced("any", factor)) == factor


def test_crops_of_other_factors_or_none_show_none(reduced, crops, tmp_path):
    assert [factor_in(reduced(f"x{factor}", factor)) for factor in (2, 5, 7)] == [None] * 3
    assert factor_in(reduced("small", 3, side=32)) is None
    crops(tmp_path, "sharp")
    assert factor_in(tmp_path / "sharp/dev_1.mat") is None


def test_a_folder_of_any_name_is_found_by_its_crops(reduced, crops, tmp_path):
    base = tmp_path / "data/raw_data"
    reduced("faces_small", 4)
    reduced("LR3_own", 3, side=32)
    crops(tmp_path, "data/raw_data/HQ")
    crops(tmp_path, "data/raw_data/sharp")
    crops(tmp_path, "data/raw_data/training", names=("train_1",))
    labels = base / "labels"
    labels.mkdir()
    savemat(labels / "dev_1.mat", {"gsd": [[0.0]], "time": [[0.0]]})
    lines = []
    found = find_crops(tmp_path, say=lines.append)
    assert found == CropsFolders(base, {1: base / "HQ", 4: base / "faces_small"}, (base / "sharp",))
    assert lines == ["faces_small: crops at the factor 4, by their contents"]
    named = find_crops(tmp_path, named={"sharp": 1, str(base / "faces_small"): 4})
    assert named == CropsFolders(base, {1: base / "sharp", 4: base / "faces_small"})
    reduced("LR4", 4)
    assert find_crops(tmp_path).folders == {1: base / "HQ", 4: base / "LR4"}


def test_a_folder_whose_factor_is_in_doubt_is_refused(reduced, crops, tmp_path):
    base = tmp_path / "data/raw_data"
    crops(tmp_path, "data/raw_data/sharp")
    with refused("not-prepared", file=str(base), field="--recordings", hint="--crops sharp=HQ"):
        find_crops(tmp_path)
    reduced("LR3", 6)
    with refused("mismatch", file=str(base / "LR3"), value=3, hint="--crops LR3=6"):
        find_crops(tmp_path)
    assert find_crops(tmp_path, named={"LR3": 6}).folders == {6: base / "LR3"}
    reduced("a", 8)
    reduced("b", 8)
    with refused("ambiguous", file=str(base / "b"), field="--crops", value=8, hint="--crops b=8"):
        find_crops(tmp_path, named={"LR3": 6})
    with refused("file-missing", file="c", field="--crops"):
        find_crops(tmp_path, named={"c": 8})


def test_a_folder_of_crops_can_be_named():
    assert [read_crops(text) for text in ("a=b=HQ", "a=LR3", "a=16")] == [("a=b", 1), ("a", 3), ("a", 16)]
    for wrong in ("a", "=3", "a=", "a=0", "a=sharp"):
        with refused("invalid", field="--crops", value=wrong):
            read_crops(wrong)


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
    assert (result["synthetic"], result["crops"], result["delay"]) == (True, ["HQ", "LR3"], 0.0)
    (score,) = result["files"][0]["scores"]
    assert (score["method"], score["factor"], score["crops"]) == ("HR", 1, "HQ")
    assert score["published"] == {"rmse": 0.146, "cc": 0.430, "ccc": 0.325, "frames": None}
    assert score["difference"]["ccc"] == score["measured"]["ccc"] - 0.325
    assert score["agrees"] is False
    files = {"weights": folder / "class/HQ.caffemodel", "data": root / "data/raw_data/HQ", "out": root / "unused"}
    (results,) = score_net(EvaluationSettings(**files, device="cpu"))
    expected = results.scores["concatenated"].to_json()
    assert score["measured"] == {name: expected[name] for name in ("rmse", "cc", "ccc", "frames")}
    assert "The recordings are synthetic" in output
    (line,) = [line for line in output.splitlines() if line.startswith("class/HQ.caffemodel  HQ ")]
    cells = line.split()
    assert cells[1:4] == ["HQ", "12", "HR"]
    assert cells[5::2] == ["0.146", "0.430", "0.325"]


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
    assert "Where no cell is known, pass --cell FILE=METHOD-S" in output
    path.rename(path.with_name("LR_8.caffemodel"))
    code, result, _ = verify(folder, "--recordings", root)
    assert code == 0
    assert result["files"][0]["scores"] == []
    remark = "not scored: LR-8 needs crops in raw_data/LR8; there are HQ, LR3"
    assert result["files"][0]["remarks"][0] == (f"{remark} (for a folder of another name: --crops FOLDER=8)")


def test_a_net_is_scored_on_a_folder_that_the_user_names(root, folder, verify, crops, capsys):
    crops(root, "data/raw_data/lena", names=("dev_1",))
    path = folder / "class/HQ.caffemodel"
    path.rename(path.with_name("LR_8.caffemodel"))
    _, result, _ = verify(folder, "--recordings", root)
    assert result["files"][0]["remarks"][0].endswith(
        "and lena of unknown factor (for a folder of another name: --crops lena=8)"
    )
    code, result, output = verify(folder, "--recordings", root, "--crops", "lena=8", out="second.json")
    assert code == 0, output
    (score,) = result["files"][0]["scores"]
    assert (score["method"], score["factor"], score["crops"]) == ("LR", 8, "lena")
    code, result, output = verify(folder, "--crops", "lena=8", out="third.json")
    assert (code, result) == (1, None)
    assert "--crops: needs the recordings to score on (pass --recordings ROOT, too)" in output
