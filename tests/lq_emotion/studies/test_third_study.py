"""Another paper's study takes settings, stages and results; the engine gives options, resuming and a report."""

import argparse
from pathlib import Path

import pytest

from lq_emotion.common.folders import LOCK, locked
from lq_emotion.common.settings import add_options, settings_of
from tests.lq_emotion.commands import quiet
from tests.lq_emotion.studies import third_study
from tests.lq_emotion.studies.third_study import STUDY, ThirdResults, ThirdSettings
from tests.refusals import refused


def settings(out, **changes):
    return ThirdSettings(out=out, device="cpu", threads=1, **changes)


def begun(study_settings):
    lines = []
    STUDY.run(study_settings, lines.append)
    return [line.removesuffix(": begins") for line in lines if line.endswith(": begins")]


def test_it_is_short():
    assert len(Path(third_study.__file__).read_text().splitlines()) <= 600


def test_its_settings_are_options():
    parser = argparse.ArgumentParser()
    add_options(parser, ThirdSettings)
    args = parser.parse_args(["--out", "root", "--images", "50", "--seed", "3"])
    assert settings_of(args, ThirdSettings) == ThirdSettings(out=Path("root"), images=50, seed=3)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "root", "--images", "9"])
    with refused("out-of-range", field="--images", value=9, hint="10 or more"):
        ThirdSettings(out=Path("root"), images=9)


def test_it_runs_once_and_again_only_what_a_change_touches(tmp_path):
    measured = STUDY.run(settings(tmp_path), quiet)
    assert [one.net for one in measured.nets] == ["shallow", "deep"]
    assert measured.nets[1].accuracy > 0.7
    assert begun(settings(tmp_path)) == []
    assert begun(settings(tmp_path, width=8)) == ["train deep", "test deep"]
    assert (tmp_path / "logs" / "draw.log").read_text() == "test: 40 images\ntrain: 160 images\n"


def test_its_results_and_its_report_are_written(tmp_path):
    measured = STUDY.run(settings(tmp_path), quiet)
    assert ThirdResults.from_json(measured.to_json()) == measured
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| shallow | " in text
    assert "| width | “a few units” | – | `width` | 16 |" in text
    assert (tmp_path / "report" / "report_figures" / "losses.png").is_file()


def test_files_of_its_names_that_it_did_not_write_stay(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.h5").write_text("mine")
    with refused("foreign-files", file=tmp_path / "data" / "train.h5", hint="--out"):
        STUDY.run(settings(tmp_path), quiet)
    assert (tmp_path / "data" / "train.h5").read_text() == "mine"
    with refused("wrong-type", field="--out"):
        STUDY.run(settings(tmp_path / "data" / "train.h5"), quiet)


def test_results_of_its_names_that_it_did_not_write_stay(tmp_path):
    (tmp_path / "study.json").write_text("mine")
    with refused("foreign-files", file=tmp_path / "study.json"):
        STUDY.run(settings(tmp_path), quiet)
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, "study.json"}
    (tmp_path / "study.json").unlink()
    STUDY.run(settings(tmp_path), quiet)
    STUDY.run(settings(tmp_path, width=8), quiet)  # its own files are replaced


def test_results_put_in_place_before_a_study_has_ended_stay(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(third_study, "train_net", lambda *_: None)
        with refused("file-missing"):
            STUDY.run(settings(tmp_path), quiet)
    (tmp_path / "study.json").write_text("mine")
    with refused("foreign-files", file=tmp_path / "study.json"):
        STUDY.run(settings(tmp_path), quiet)
    assert (tmp_path / "study.json").read_text() == "mine"


def test_a_folder_that_another_process_works_in_is_left_alone(tmp_path):
    with locked(tmp_path, "study"), refused("conflict", file=tmp_path):
        STUDY.run(settings(tmp_path), quiet)
    STUDY.run(settings(tmp_path / "other"), quiet)
    assert '"work": "study third"' in (tmp_path / "other" / LOCK).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "other"]
