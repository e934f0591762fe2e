"""Each switch changes the stages it concerns and no others; the list of disagreements has them all."""

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from caffe_compat import load_net
from lq_emotion.crops.recording import shrink
from lq_emotion.nets.definitions import builder, parts
from lq_emotion.nets.switches import (
    AS_CODE,
    AS_PAPER,
    PaperSwitches,
    changed_settings,
    choices,
    describe_settings,
    parse_setting,
)
from lq_emotion.studies.robust_lq.cells import cells
from lq_emotion.studies.robust_lq.paper_vs_code import DISAGREEMENTS, markdown
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan, validation_part
from lq_emotion.studies.robust_lq.published import METHODS
from lq_emotion.studies.robust_lq.recipes import recipe
from lq_emotion.studies.robust_lq.stages import stages
from lq_emotion.studies.robust_lq.work import DRAWS, do_h5, do_prepare, do_sr_data
from matlab_ports.imresize import imresize
from matlab_ports.matfile import loadmat
from matlab_ports.prepare_dataset import stretch_luma
from tests.lq_emotion.commands import TABLE, draw_recordings, failed, save_crops
from tests.refusals import refused

ROOT = Path(__file__).parents[4]
TRAINED = {"train HR", "train LR-3", "train Non-Joint-3", "train Joint-3", "train Joint-OA"}
PATCHES = {"patches for super-resolution at 3", "patches for super-resolution at 12"}
PRETRAINED = {"train pretrain-3", "train pretrain-12"}
H5 = {"h5 HQ", "h5 LR3", "h5 mix_3_4_6"}
SCORED = {
    *("score HR on HQ", "score LR-3 on LR3", "score Non-Joint-3 on LR3"),
    *("score Joint-3 on LR3", "score Joint-OA on LR3"),
}
NEEDED = {
    "input_size=own": replace(AS_CODE, quadrant_pooling=True, convolutions="padded"),
    "validation=train": replace(AS_CODE, lr_on_plateau=True),
}
TOUCHED = {
    "input_size=own": {
        *("own size 3", "own size 4", "own size 6", "h5 LR3_own", "h5 mix_3_4_6_own"),
        *("train LR-3", "train Joint-3", "train Joint-OA"),
        *("score LR-3 on LR3_own", "score Joint-3 on LR3_own", "score Joint-OA on LR3_own"),
    },
    "luminance=gray": {"prepare", *PATCHES},
    "quadrant_pooling=on": TRAINED,
    "convolutions=padded": {*PATCHES, *PRETRAINED, *TRAINED},
    "convolutions=padded_no_bias": {*PATCHES, *PRETRAINED, *TRAINED},
    "normalisation=file": {*H5, *SCORED},
    "normalisation=face": TRAINED,
    "sr_images=faces": {"faces for super-resolution", *PATCHES},
    "max_factor=16": {"patches for super-resolution at 16", "train pretrain-16", "train Joint-OA"},
    "sr_schedule=paper": PRETRAINED,
    "lr_on_plateau=on": TRAINED,
    "validation=train": H5,
    "bias_rate=1": TRAINED,
    "separate_regressor=on": {"train Non-Joint-3"},
    "mixture=each_epoch": {"h5 mix_3_4_6"},
    "smallest_face=0": {"prepare"},
    "loss=mse": {*PRETRAINED, *TRAINED},
    "loss=ccc": {*PRETRAINED, *TRAINED},
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return draw_recordings(tmp_path_factory.mktemp("switches") / "recordings", frames=50, train=2)


@pytest.fixture
def plan(recordings, tmp_path):
    images = tmp_path / "images"
    for name in ("Train", "Set5"):
        (images / name).mkdir(parents=True)
        Image.new("L", (48, 48)).save(images / name / "image.bmp")
    chosen = {"parts": (Part.TABLE,), "rows": METHODS, "scales": (3,), "preset": "small"}
    return StudyPlan(recordings=recordings, out=tmp_path / "out", images=images, **chosen)


def stages_by_name(plan):
    return {stage.name: (stage.settings, stage.reads, stage.writes) for stage in stages(plan)}


def test_every_setting_is_tried_here():
    settings = {f"{name}={value}" for name, values in choices().items() for value in values if parts(name, value)}
    assert {parse_setting(text) for text in TOUCHED} == {
        (name, value) for name, values in choices().items() for value in values if value != getattr(AS_CODE, name)
    }
    assert len(settings) == len(TOUCHED)


@pytest.mark.parametrize("text", TOUCHED)
def test_a_switch_changes_its_stages_and_no_others(plan, text):
    before = replace(plan, switches=NEEDED.get(text, AS_CODE))
    after = replace(before, switches=replace(before.switches, **dict([parse_setting(text)])))
    old, new = stages_by_name(before), stages_by_name(after)
    assert {name for name, stage in new.items() if old.get(name) != stage} == TOUCHED[text]


def test_the_codes_stages_are_hashed_without_switches(plan):
    settings = {stage.name: set(stage.settings) for stage in stages(plan)}
    assert all("switches" not in names for names in settings.values())
    assert settings["train HR"] == {"net", "changes", "threads", "device"}


def test_the_papers_settings_are_part_of_every_hash_they_change(plan):
    planned = {stage.name: stage for stage in stages(replace(plan, switches=AS_PAPER, preset="authors"))}
    switches = {name: stage.settings.get("switches", {}) for name, stage in planned.items()}
    assert switches["prepare"] == {"luminance": "gray", "smallest_face": 0}
    assert switches["train pretrain-16"] == {"convolutions": "padded_no_bias", "sr_schedule": "paper", "loss": "mse"}
    assert planned["train pretrain-16"].writes[0].name == "Pretrain_iter_30000.caffemodel"
    assert switches["train LR-3"]["input_size"] == "own"
    assert "input_size" not in switches["train HR"]
    assert "separate_regressor" in switches["train Non-Joint-3"]


def test_an_explicit_factor_takes_precedence_over_the_switch(plan):
    names = {stage.name for stage in stages(replace(plan, switches=AS_PAPER, max_factor=8))}
    assert "train pretrain-8" in names
    assert "train pretrain-16" not in names


def test_each_switch_has_a_row_and_each_row_a_place_in_the_code():
    assert sorted(switch for row in DISAGREEMENTS for switch in row.switches) == sorted(choices())
    for row in DISAGREEMENTS:
        assert bool(row.switches) != bool(row.answer), row.subject
        assert bool(row.text) == bool(row.where), row.subject
        assert all(re.fullmatch(r"\S+\.(m|prototxt):\d+(-\d+)?", line) for line in row.line.split(", ")), row.line


def test_the_document_is_current():
    assert (ROOT / "docs" / "paper_vs_code.md").read_text(encoding="utf-8") == markdown()


def test_the_document_marks_the_codes_and_the_papers_settings():
    assert "| [`max_factor`](#largest-factor-of-joint-oa) | **12**, *16* |" in markdown()
    assert "| [`mixture`](#mixture-of-joint-oa) | ***one_draw***, each_epoch |" in markdown()
    assert "| [`quadrant_pooling`](#third-pooling) | **off**, *on* |" in markdown()


@pytest.mark.parametrize(
    ("switches", "text"),
    [
        (AS_CODE, ""),
        (AS_PAPER, "as the paper"),
        (replace(AS_CODE, loss="ccc", lr_on_plateau=True), "lr_on_plateau=on loss=ccc"),
        (replace(AS_PAPER, loss="ccc"), "as the paper but loss=ccc"),
        (replace(AS_PAPER, luminance="studio", mixture="each_epoch"), "as the paper but luminance=studio mixture=each_epoch"),
    ],
)  # fmt: skip
def test_switches_in_one_line(switches, text):
    assert describe_settings(changed_settings(switches)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("los=ccc", "switch = 'los'.*'loss'"),
        ("loss=mae", "loss = 'mae'.*euclidean, mse, ccc"),
        ("quadrant_pooling=yes", "off, on"),
        ("loss", "euclidean, mse, ccc"),
    ],
)
def test_a_wrong_switch_is_wrong_usage(text, message, tmp_path, capsys):
    stderr = failed(capsys, *TABLE, "--recordings", tmp_path, "--out", tmp_path, "--switch", text, code=2)
    assert re.search(message, stderr)


@pytest.mark.parametrize(
    ("text", "needed"), [("validation=train", "lr_on_plateau=on"), ("input_size=own", "quadrant_pooling")]
)
def test_a_setting_without_one_that_it_needs_is_one_line(text, needed, tmp_path, capsys):
    files = ("--recordings", tmp_path, "--out", tmp_path / "out")
    assert needed in failed(capsys, *TABLE, *files, "--switch", text)
    assert not (tmp_path / "out").exists()


def test_gray_is_y_from_black_to_white():
    np.testing.assert_allclose(stretch_luma(np.float32([16 / 255, 235 / 255])), [0, 1], atol=1e-7)


def faces(folder, names=("train_1", "dev_1"), count=70):
    rng = np.random.default_rng(0)
    for name in names:
        save_crops(folder / f"{name}.mat", rng.random((96, 96, count)), valence=rng.random((1, count)))


def prepared(plan, boxes, out, **switches):
    do_prepare(replace(plan, out=out, boxes=boxes, switches=replace(AS_CODE, **switches)), ("train_1",), print)
    return loadmat(out / "data/raw_data/HQ/train_1.mat")


def test_switches_make_crops_gray_and_keep_every_face(plan, tmp_path):
    head, *rows = (plan.recordings / "synthetic_face_boxes/train_1.csv").read_text(encoding="utf-8").splitlines()
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    for number in range(5, 15):  # ten faces that are too narrow for the code
        rows[number] = ",".join([*rows[number].split(",")[:4], "90", *rows[number].split(",")[5:]])
    rows[20] = ",".join([*rows[20].split(",")[:2], "0,0,0,0,0"])  # and one that was not found
    (boxes / "train_1.csv").write_text("\n".join([head, *rows]) + "\n")
    code = prepared(plan, boxes, tmp_path / "code")
    paper = prepared(plan, boxes, tmp_path / "paper", luminance="gray", smallest_face=0)
    assert [crops["valence"].size for crops in (code, paper)] == [len(rows) - 11, len(rows) - 1]
    same = np.isin(paper["video_time"], code["video_time"]).ravel()
    np.testing.assert_allclose(paper["video"][:, :, same], (255 * code["video"] - 16) / 219, atol=1e-6)
    assert abs(paper["video"][:, :, same] - code["video"]).max() > 0.01


def test_faces_at_their_own_size_need_divisors_of_96(plan):
    with refused("out-of-range", field="scales", value=(5,), hint="divisors of 96"):
        stages(replace(plan, switches=AS_PAPER, scales=(5,)))
    with refused("out-of-range", field="mixture", value=(3, 7)):
        stages(replace(plan, switches=AS_PAPER, mixture=(3, 7)))


def test_faces_at_their_own_size_are_shrunk_once(tmp_path):
    faces(tmp_path / "HQ")
    shrink(tmp_path / "HQ" / "dev_1.mat", tmp_path / "LR4_own" / "dev_1.mat", 4)
    before, after = (loadmat(tmp_path / kind / "dev_1.mat") for kind in ("HQ", "LR4_own"))
    assert after["video"].shape == (24, 24, 70)
    expected = imresize(before["video"][:, :, 66].astype(np.float32), 1 / 4)
    np.testing.assert_allclose(after["video"][:, :, 66], expected, atol=1e-6)
    assert (after["valence"] == before["valence"]).all()
    with refused("shape-mismatch", file="dev_1.mat"):
        shrink(tmp_path / "HQ" / "dev_1.mat", tmp_path / "LR7_own" / "dev_1.mat", 7)
    assert not list((tmp_path / "LR7_own").glob("*"))


@pytest.fixture
def prepared_plan(recordings, tmp_path):
    """A plan whose crops are prepared: of noise."""
    faces(tmp_path / "data/raw_data/HQ", count=130)
    return StudyPlan(recordings=recordings, out=tmp_path, scales=(3,), preset="small", mixture=(3, 16))


def learning_from(plan, folder):
    """Return a training whose data are in a folder of h5_files."""
    return next(cell.training for cell in cells(plan) if cell.training.data == folder)


def h5(plan, folder, **switches):
    changed = replace(plan, switches=replace(AS_CODE, **switches))
    do_h5(changed, learning_from(changed, folder), (), print)
    with h5py.File(plan.out / "h5_files" / folder / "train.h5") as file:
        return file["data"][...], file["label"][...]


@pytest.mark.parametrize(
    ("count", "expected"), [(2, ("train_2",)), (9, ("train_3", "train_7")), (16, ("train_3", "train_7", "train_11", "train_15"))]
)  # fmt: skip
def test_a_fifth_of_the_training_recordings_validates_the_same_in_every_run(plan, count, expected):
    plan = replace(plan, switches=replace(AS_PAPER, validation="train"))
    names = [f"{side}_{number}" for side in ("dev", "train") for number in range(count, 0, -1)]
    assert validation_part(plan, names) == validation_part(replace(plan, seed=1), names) == expected
    assert validation_part(replace(plan, switches=AS_PAPER), names) == ()
    with refused("wrong-count", field="validation", hint="validation=dev"):
        validation_part(plan, ["train_1", "dev_1"])


def test_recordings_that_validate_are_not_learnt_from_and_the_scored_ones_are_not_looked_at(prepared_plan):
    count, folder = 130, prepared_plan.out / "data/raw_data/HQ"
    faces(folder, ("train_2", "train_3", "dev_2"), count)
    switches = replace(AS_CODE, lr_on_plateau=True, validation="train")
    plan = replace(prepared_plan, switches=switches)
    do_h5(plan, learning_from(plan, "HQ"), ("train_2",), print)
    phases = json.loads((prepared_plan.out / "h5_files/HQ/h5.json").read_text())
    assert [phases[phase]["recordings"] for phase in ("train", "test")] == [["train_1", "train_3"], ["train_2"]]


def test_super_resolution_does_not_learn_from_faces_that_validate(plan):
    planned = {
        switches.validation: {stage.name: stage for stage in stages(replace(plan, switches=switches))}
        for switches in (AS_PAPER, replace(AS_PAPER, validation="train"))
    }
    faces_of = {side: planned[side]["faces for super-resolution"].reads for side in planned}
    assert [path.stem for path in faces_of["dev"]] == ["train_1", "train_2"]
    assert [path.stem for path in faces_of["train"]] == ["train_1"]
    assert planned["train"]["h5 HQ"].settings["validation"] == ["train_2"]
    scored = {path.stem for path in planned["train"]["score HR on HQ"].reads if path.suffix == ".mat"}
    assert scored == {"dev_1"}


def test_a_draw_for_each_epoch_gives_a_frame_several_factors(prepared_plan):
    counts = []
    for mixture, passes in (("one_draw", 1), ("each_epoch", DRAWS)):
        data, labels = h5(prepared_plan, "mix_3_16", mixture=mixture)
        assert len(labels) == passes * 130 // 128 * 128
        versions = {}
        for image, label in zip(data, labels, strict=True):
            versions.setdefault(float(label[0]), set()).add(image.tobytes())
        counts.append({len(images) for images in versions.values()})
    assert counts[0] == {1}
    assert counts[1] in ({2}, {1, 2})  # of two factors


def test_files_are_normalised_by_one_mean_and_deviation(prepared_plan):
    data, _ = h5(prepared_plan, "HQ", normalisation="file")
    assert abs(data.mean()) < 0.01
    assert abs(data.std() - 1) < 0.01
    assert abs(data.mean(axis=(1, 2, 3))).max() > 1e-3  # not of each face


@pytest.mark.parametrize(("switches", "label"), [(AS_CODE, 16), (AS_PAPER, 32)])
def test_patches_are_as_large_as_what_the_net_makes_and_as_gray_as_the_faces(recordings, tmp_path, switches, label):
    for phase in ("train", "test"):
        folder = tmp_path / "sr/images" / phase
        folder.mkdir(parents=True)
        steps = np.tile(np.repeat(np.uint8([0, 255]), 48), (96, 1))
        Image.fromarray(steps).save(folder / "face.png")
    settings = {"preset": "small", "changes": {"sr": {"scale_stride": 4}}, "switches": switches}
    (tmp_path / "sr/3").mkdir(parents=True, exist_ok=True)
    do_sr_data(StudyPlan(recordings=recordings, out=tmp_path, **settings), 3, print)
    with h5py.File(tmp_path / "sr/3/test.h5") as file:
        assert file["label"].shape[1:] == (1, label, label)
        black, white = float(file["label"][...].min()), float(file["label"][...].max())
    assert (black, white) == pytest.approx((16 / 255, 235 / 255) if switches is AS_CODE else (0, 1), abs=1e-6)


def test_the_nets_of_all_rows_have_as_many_parameters_as_the_paper_claims():
    """Section 4.1: "we carefully ensure all models to have the same amount of parameters"."""
    nets = {recipe(method).net for method in METHODS}
    assert {load_net(builder(net).deploy(AS_CODE, 1)).caffe.parameter_count() for net in nets} == {2_946_649}
    counts = {
        net: {
            load_net(builder(net).deploy(AS_PAPER, factor)).caffe.parameter_count()
            for factor in ((1,) if net == "vlqr_non_joint" else (1, 3, 4, 6, 8, 12, 16))
        }
        for net in nets
    }
    assert counts == {"HQ": {1_333_401}, "vlqr": {1_333_401}, "vlqr_non_joint": {1_336_196}}


def test_switches_can_be_set_in_python():
    assert PaperSwitches() == AS_CODE
    assert changed_settings(AS_CODE) == {}
    assert set(changed_settings(AS_PAPER)) == set(choices()) - {"mixture", "validation"}
