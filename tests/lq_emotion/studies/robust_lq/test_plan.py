"""The paper's experiment in stages: what each row needs, and the same table however often it is interrupted."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lq_emotion.nets.definitions import builder
from lq_emotion.nets.names import Method, Net
from lq_emotion.nets.switches import AS_CODE
from lq_emotion.studies.robust_lq import recipes
from lq_emotion.studies.robust_lq.cells import cells
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan
from lq_emotion.studies.robust_lq.published import METHODS
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.stages import coded_models, stages
from lq_emotion.training.settings import Changes
from tests.lq_emotion.commands import TABLE, assert_nothing_is_left_to_do, drawn_files, run
from tests.lq_emotion.processes import kill
from tests.refusals import refused


def plan(recordings, out, **changes):
    settings = {
        "rows": METHODS,
        "preset": "small",
        "parts": (Part.TABLE,),
        "boxes": recordings / "synthetic_face_boxes",
    }
    return StudyPlan(recordings=recordings, out=out, **settings | changes)


def test_recipes_and_presets_name_existing_nets_and_changes():
    for method in Method:
        row = recipes.recipe(method)
        assert builder(row.net).starts_from_sr == bool(row.start)
    for name in recipes.PRESETS:
        for net, changes in recipes.preset(name).items():
            assert net in {*Net, "sr"}
            if net != "sr":
                Changes(**changes)
    assert all(not recipes.preset("authors").get(net) for net in Net)


def test_the_cells_are_those_of_the_papers_table(recordings, tmp_path):
    planned = cells(plan(recordings, tmp_path))
    assert len(planned) == 1 + 4 * 6
    assert [cell.run for cell in planned if cell.factor == 12] == ["LR-12", "Non-Joint-12", "Joint-12", "Joint-OA"]
    assert {cell.test for cell in planned if cell.method == "Joint-OA"} == {f"LR{s}" for s in (3, 4, 6, 8, 12, 16)}


def test_ablations_share_the_trainings_that_are_the_same(recordings, tmp_path):
    parts = (Part.TABLE, Part.MISMATCH, Part.ABLATIONS)
    planned = cells(plan(recordings, tmp_path, parts=parts, scales=(3, 6, 12), mixture=(3, 6)))
    runs = {(cell.method, cell.factor): cell.run for cell in planned}
    assert runs[Variant.HR_ON_LR, 6] == "HR"
    assert runs[Variant.MAX_S, 12] == "Joint-12"
    assert runs[Variant.MAX_S, 3] == "Max-3"
    assert runs[Variant.MIX_FROM_S, 12] == "Joint-OA"
    assert [cell.tested for cell in planned if cell.run == "Max-3"] == [3, 6, 12]
    trainings = {cell.training for cell in planned}
    assert {t.name: (t.start, t.mixture) for t in trainings if t.name.startswith(("Max", "Mix"))} == {
        "Max-3": (12, ()), "Max-6": (12, ()), "Max-all": (12, (3, 6, 12)), "Mix-from-3": (3, (3, 6)),
        "Mix-from-6": (6, (3, 6)),
    }  # fmt: skip
    assert len(trainings) == 1 + 3 * 3 + 1 + 5


def test_seeds_train_every_net_anew_on_the_same_data(recordings, tmp_path):
    planned = stages(plan(recordings, tmp_path, scales=(3,), seed=4, seeds=2))
    names = [stage.name for stage in planned]
    assert [name for name in names if name.startswith("train HR")] == ["train HR", "train HR.seed5"]
    assert {"train pretrain-3", "train pretrain-3.seed5", "score Joint-OA.seed5 on LR3"} <= set(names)
    assert sum(name.startswith("h5") for name in names) == 3
    by_name = {stage.name: stage for stage in planned}
    assert by_name["train LR-3"].reads == by_name["train LR-3.seed5"].reads
    assert [by_name[f"train HR{end}"].settings["changes"]["random_seed"] for end in ("", ".seed5")] == [14, 15]


def test_figure_4_shows_every_method_at_the_factors_that_are_coded(recordings, tmp_path):
    models = coded_models(plan(recordings, tmp_path, scales=(3, 4, 8), seeds=2))
    assert [(model.weights.parents[1].name, model.scale) for model in models] == [
        *(("HR", None), ("LR-3", 3), ("LR-4", 4), ("Non-Joint-3", 3), ("Non-Joint-4", 4), ("Joint-3", 3)),
        *(("Joint-4", 4), ("Joint-OA", None)),
    ]
    planned = stages(plan(recordings, tmp_path, parts=(Part.FIGURE4,), scales=(3, 4)))
    assert [stage.name for stage in planned[-2:]] == ["code s4_x265_qp44", "figure 4"]
    assert tmp_path / "rd/cells/s4_x265_qp44/dev_1.json" in planned[-1].reads
    names = {name for name, _ in planned[-1].settings["nets"]}
    assert names == {"HR on LR", "Joint", "Joint-OA", "LR", "Non-Joint"}  # HR is shown LR faces


def test_test_recordings_without_labels_are_predicted_by_hr(recordings, tmp_path):
    parts = (Part.TABLE, Part.SUBMISSION)
    names = {stage.name for stage in stages(plan(recordings, tmp_path, parts=parts, scales=(3,)))}
    assert not names & {"prepare unlabelled", "submission"}
    tree = tmp_path / "tree"
    for folder in ("recordings_video", "recordings_video_frame_time", "ratings_gold_standard"):
        shutil.copytree(recordings / folder, tree / folder)
    for folder, suffix in (("recordings_video", "mp4"), ("recordings_video_frame_time", "csv")):
        shutil.copy(recordings / folder / f"dev_1.{suffix}", tree / folder / f"test_1.{suffix}")
    planned = plan(tree, tmp_path / "root", parts=parts, scales=(3,), boxes=None)
    prepare, submission = stages(planned)[-2:]
    assert (prepare.name, submission.name) == ("prepare unlabelled", "submission")
    assert tree / "recordings_video/test_1.mp4" in prepare.reads
    assert planned.out / "data/raw_data/HQ/test_1.mat" in {*prepare.writes} & {*submission.reads}
    assert any(path.is_relative_to(planned.out / "runs/HR") for path in submission.reads)


def test_each_net_is_trained_on_its_data_from_its_weights(recordings, tmp_path):
    reads = {
        stage.name: {path.relative_to(tmp_path).as_posix() for path in stage.reads if path.is_relative_to(tmp_path)}
        for stage in stages(plan(recordings, tmp_path, scales=(3, 8), max_factor=16))
    }
    assert reads["train HR"] == {f"h5_files/HQ/{phase}.{kind}" for phase in ("train", "test") for kind in ("h5", "txt")}
    assert "runs/pretrain-8/snapshots/Pretrain_iter_300.caffemodel" in reads["train Joint-8"]
    assert "runs/pretrain-8/snapshots/Pretrain_iter_300.caffemodel" in reads["train Non-Joint-8"]
    assert "runs/pretrain-16/snapshots/Pretrain_iter_300.caffemodel" in reads["train Joint-OA"]
    assert "h5_files/mix_3_4_6/train.h5" in reads["train Joint-OA"]
    assert "h5_files/LR8/train.h5" in reads["train LR-8"]
    assert reads["score Joint-OA on LR3"] == {
        "runs/Joint-OA/snapshots/emotion_iter_400.caffemodel",
        "data/raw_data/LR3/dev_1.mat",
    }
    # pretrain at 3, 8, 16; one OA for all
    assert sum(name.startswith("train") for name in reads) == 3 + 1 + 2 + 2 + 2 + 1
    shipped = {stage.name: stage for stage in stages(plan(recordings, tmp_path, preset="authors", rows=(Method.HR,)))}
    assert shipped["train HR"].writes[0].name == "emotion_iter_30000.caffemodel"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scales": (3, 3)}, {"field": "--scales", "value": (3, 3), "hint": "2 to 16, each once"}),
        ({"scales": (1,)}, {"field": "--scales", "value": 1}),
        ({"rows": (Method.HR, "best")}, {"field": "--rows", "hint": "HR, LR, Non-Joint"}),
        ({"preset": "huge"}, {"field": "--preset", "value": "huge", "hint": "authors, small, demo"}),
        ({"mixture": ()}, {"field": "--mixture"}),
        ({"max_factor": 1}, {"field": "--max-factor", "value": 1}),
        ({"threads": 0}, {"field": "--threads", "value": 0}),
        ({"seeds": 0}, {"field": "--seeds", "value": 0}),
        (
            {"parts": (Part.FIGURE4,), "switches": replace(AS_CODE, normalisation="file")},
            {
                "code": "conflict",
                "field": "normalisation",
                "value": "file",
                "hint": "--only table comparisons mismatch",
            },
        ),
        ({"images": Path("/nowhere")}, {"code": "file-missing", "file": "nowhere"}),
        ({"recordings": Path("/nowhere")}, {"code": "file-missing", "file": "nowhere"}),
    ],
)
def test_a_plan_that_cannot_run_is_refused_before_anything_is_written(recordings, tmp_path, changes, expected):
    with refused(**{"code": "out-of-range", **expected}):
        stages(replace(plan(recordings, tmp_path / "out"), **changes))
    assert not (tmp_path / "out").exists()


def arguments(recordings, out):
    rows = ["--rows", "HR", "Joint-OA", "--scales", "3", "--max-factor", "3", "--mixture", "3", "4"]
    return [*TABLE, *drawn_files(recordings, out), *rows, "--preset", "small", "--iterations", "3"]


def numbers(out):
    table = json.loads((out / "table" / "table.json").read_text())
    return [(cell["run"], cell["test"], cell["measured"]) for cell in table["cells"]]


@pytest.fixture(scope="module")
def undisturbed(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("a table") / "root"
    assert run(*arguments(recordings, out)) == 0
    return out


def test_one_command_ends_in_the_table_and_a_second_does_nothing(recordings, undisturbed, capsys):
    assert {"ledger.json", "logs", "report"} < {path.name for path in undisturbed.iterdir()}
    assert {path.name for path in (undisturbed / "table").iterdir()} == {
        "table.csv", "table.json", "table.md", "table.png", "table.tex"
    }  # fmt: skip
    results = json.loads((undisturbed / "table" / "table.json").read_text())
    assert results["synthetic"] is True
    assert [(cell["method"], cell["factor"]) for cell in results["cells"]] == [("HR", 1), ("Joint-OA", 3)]
    assert results["cells"][1]["published"] == {"rmse": 0.129, "cc": 0.399, "ccc": 0.328, "frames": None}
    hr = results["cells"][0]
    assert hr["weights"] == "runs/HR/snapshots/emotion_iter_3.caffemodel"
    assert hr["weights_sha256"] == hashlib.sha256((undisturbed / hr["weights"]).read_bytes()).hexdigest()
    assert "SYNTHETIC" in (undisturbed / "table" / "table.md").read_text()
    before = numbers(undisturbed)
    assert_nothing_is_left_to_do(capsys, *arguments(recordings, undisturbed))
    assert numbers(undisturbed) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "moments", "least"),
    [(1, {"begun": (4, 4)}, 1), (10, {"begun": (1, 2), "seconds": 2}, 2)],
    ids=["on the way", "at ten random moments"],
)
def test_a_killed_table_ends_with_the_same_numbers(recordings, undisturbed, tmp_path, times, moments, least):
    assert kill(arguments(recordings, tmp_path), times, **moments) >= least
    assert run(*arguments(recordings, tmp_path)) == 0
    assert numbers(tmp_path) == numbers(undisturbed)
