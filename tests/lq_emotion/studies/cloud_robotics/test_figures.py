"""The figures: what there is to draw is drawn."""

from dataclasses import replace

from lq_emotion.common.document import is_png
from lq_emotion.studies.cloud_robotics import figures
from lq_emotion.studies.cloud_robotics.figures import draw_figures, draw_images
from tests.lq_emotion.studies.cloud_robotics.example import EXAMPLE


def test_all_figures_of_a_study_are_drawn(tmp_path):
    paths = draw_figures(EXAMPLE, tmp_path)
    assert [path.name for path in paths] == ["figure2.png", "figure3.png", "transfer.png", "search_vggface2.png"]
    assert all(is_png(path.read_bytes()) for path in paths)


def test_figure_2_shows_the_base_that_is_best_on_dev(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(figures, "draw_matrices", lambda matrices, *_, **__: titles.append(matrices[0].title))
    worse_on_test = replace(EXAMPLE.images[1], dev_accuracy=0.875)
    assert draw_images(replace(EXAMPLE, images=(EXAMPLE.images[0], worse_on_test)), tmp_path / "figure2.png")
    assert titles == ["ImageNet, accuracy 60.0 %"]


def test_a_study_without_clips_has_figure_2_alone(tmp_path):
    paths = draw_figures(replace(EXAMPLE, clips=(), images=EXAMPLE.images[1:]), tmp_path)
    assert [path.name for path in paths] == ["figure2.png"]
