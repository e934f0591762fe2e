"""The second paper's study: its stages, each done once, and the results that are made of what they leave.

Images become nets, nets features of clips, features LSTMs, and LSTMs decisions.

Folders below ROOT: ``ferplus`` (images with their lists, features, trials, scores), ``ravdess`` (boxes, features,
decisions), ``nets`` (weights with what describes them), ``runs`` (the LSTMs' trainings), ``link``, ``logs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.fingerprints import versions
from lq_emotion.common.json_files import write_json
from lq_emotion.datasets.ferplus import FOLDER_LABELS, FOLDERS, LABELS, PIXELS, read_ferplus
from lq_emotion.evaluation.aggregation import AGGREGATIONS
from lq_emotion.nets.known.loading import find_description
from lq_emotion.nets.known.store import sidecar_path
from lq_emotion.studies.cloud_robotics import clips, images
from lq_emotion.studies.cloud_robotics.figures import draw_figures
from lq_emotion.studies.cloud_robotics.plan import ALL, BEST, CloudPlan, Part, check
from lq_emotion.studies.cloud_robotics.results import FILE, CloudResults
from lq_emotion.studies.cloud_robotics.tables import tables_markdown
from lq_emotion.workflow.search import search_stages
from lq_emotion.workflow.stages import Stage as AnyStage
from lq_emotion.workflow.study import Study

Stage = AnyStage[None]


def stages(plan: CloudPlan) -> list[Stage]:
    """Return all stages, each after those it depends on; refuse a plan that cannot be run."""
    check(plan)
    read_ferplus(plan.ferplus).image(0)  # refused before anything is written
    todo = [_images(plan)]
    for name in plan.weights:
        todo += _base(plan, name)
    scores = tuple(images.result_path(plan, name) for name in plan.weights)
    nets = tuple(images.net_path(plan, name) for name in plan.weights)
    best = (images.net_path(plan, BEST), images.net_path(plan, BEST).with_suffix(".json"))
    todo.append(Stage("best net", partial(images.do_choose, plan), {}, (*scores, *nets), best))
    if plan.has_clips:
        todo += _clips(plan)
    if Part.LINK in plan.parts:
        todo += _coded(plan)
    return todo


def _images(plan: CloudPlan) -> Stage:
    names = (LABELS, PIXELS, *(f"{folder}/{FOLDER_LABELS}" for folder in FOLDERS))
    tables = tuple(sorted(path for name in names for path in plan.ferplus.rglob(name)))
    lists = tuple(images.list_path(plan, partition) for partition in images.PARTITIONS)
    settings = {"labels": plan.labels, "seed": plan.seed}
    return Stage("images", partial(images.do_images, plan), settings, tables, lists)


def _base(plan: CloudPlan, name: str) -> list[Stage]:
    """Return the stages that fine-tune a base: its features, its trials, its test."""
    weights = find_description(plan.weights[name], any_outputs=True).weights
    sidecars = (sidecar_path(weights, suffix) for suffix in (".prototxt", ".preprocess.json"))
    described = (weights, *filter(Path.is_file, sidecars))
    lists = {partition: images.list_path(plan, partition) for partition in images.PARTITIONS}
    features = images.features_path(plan, name)
    settings = {
        "net": _net(plan),
        "recipe": _recipe(plan, "stage", "batch", "iter_size", "weight_decay"),
        "seed": plan.seed,
    }
    all_stages = [
        Stage(
            f"{name} features",
            partial(images.do_features, plan, name),
            {"net": _net(plan), "batch": plan.recipe.batch * plan.recipe.iter_size},
            (*described, lists["train"]),
            (features,),
        )
    ]
    reads = (*described, features, lists["train"], lists["dev"])
    folder = images.trials_folder(plan, name)
    if plan.trials:
        objective = partial(images.do_trial, plan, name)
        trials = search_stages(
            name, images.SPACE, folder, objective, settings, reads, trials=plan.trials, seed=plan.seed
        )
        all_stages += trials
        results = tuple(path for trial in trials for path in trial.writes)
    else:
        results = (folder / "trial_00.json",)
        all_stages.append(Stage(f"{name} training", partial(images.do_preset, plan, name), settings, reads, results))
    writes = (images.net_path(plan, name), images.result_path(plan, name))
    run = partial(images.do_test, plan, name, results)
    all_stages.append(Stage(f"{name} test", run, settings, (*reads, *results, lists["test"]), writes))
    return all_stages


def _net(plan: CloudPlan) -> dict[str, Any]:
    return {**_recipe(plan, "hidden", "dropout"), "classes": plan.choices.classes, "threads": plan.threads}


def _recipe(plan: CloudPlan, *beginnings: str) -> dict[str, Any]:
    """Return the fields of the preset whose names begin so."""
    return {name: value for name, value in plan.recipe.to_json().items() if name.startswith(beginnings)}


def _clips(plan: CloudPlan) -> list[Stage]:
    split = plan.split
    actors = (*split.train, *split.dev, *split.test)
    todo = []
    for actor in sorted(actors):
        chosen = clips.clips_of(plan, [actor])
        boxes = tuple(clips.boxes_path(plan, clip) for clip in chosen)
        run = partial(clips.do_boxes, plan, actor)
        todo.append(Stage(f"faces actor {actor:02}", run, {}, tuple(clip.path for clip in chosen), boxes))
    todo += [_features(plan, actor) for actor in sorted(actors)]
    features = {actor: clips.features_path(plan, actor) for actor in sorted(actors)}
    test = tuple(features[actor] for actor in split.test)
    decided = tuple(clips.decisions_path(plan, method) for method in AGGREGATIONS)
    todo.append(
        Stage("mean and mode", partial(clips.do_frames, plan), {"classes": plan.choices.classes}, test, decided)
    )
    settings = {
        **_recipe(plan, "memory", "sequence"), "window": plan.choices.window, "split": split.to_json(),
        "seed": plan.seed, "threads": plan.threads,
    }  # fmt: skip
    for name in plan.regimes:
        run, writes = (
            partial(clips.do_lstm, plan, name),
            (clips.lstm_path(plan, name), clips.decisions_path(plan, f"lstm-{name}")),
        )
        todo.append(Stage(f"LSTM {name}", run, settings, tuple(features.values()), writes))
    return todo


def _features(plan: CloudPlan, actor: int, *, coded: bool = False) -> Stage:
    """Return the stage that computes the features of an actor's clips."""
    chosen = clips.clips_of(plan, [actor])
    reads = tuple(path for clip in chosen for path in (clip.path, clips.boxes_path(plan, clip)))
    shown = [version.to_json() for version in (plan.coded if coded else plan.versions)]
    settings = {"versions": shown, "grow": plan.choices.grow, "net": _net(plan)}
    name, run = (
        f"{'coded' * coded or 'features'} actor {actor:02}",
        partial(clips.do_features, plan, actor, coded=coded),
    )
    writes = (clips.features_path(plan, actor, coded=coded),)
    return Stage(name, run, settings, (images.net_path(plan, BEST), *reads), writes)


def _coded(plan: CloudPlan) -> list[Stage]:
    """Return the stages of the part LINK."""
    todo = [_features(plan, actor, coded=True) for actor in plan.split.test]
    reads = tuple(path for stage in todo for path in stage.writes)
    settings = {"window": plan.choices.window, "threads": plan.threads}
    run, writes = partial(clips.do_coded, plan), (clips.table_path(plan),)
    return [*todo, Stage("coded", run, settings, (clips.lstm_path(plan, ALL), *reads), writes)]


def _results(plan: CloudPlan, seconds: Mapping[str, float | None]) -> CloudResults:
    """Read the results of the stages; write study.json, tables.md and the figures."""
    methods = (*AGGREGATIONS, *(f"lstm-{name}" for name in plan.regimes)) if plan.has_clips else ()
    results = CloudResults(
        synthetic=plan.synthetic,
        settings=plan,
        actors=plan.split if plan.has_clips else None,
        versions=plan.versions if plan.has_clips else (),
        images=tuple(images.read_result(plan, name) for name in plan.weights),
        clips=tuple(result for name in methods for result in clips.clip_results(plan, name)),
        seconds=seconds,
        software=versions(),
    )
    write_json(results.to_json(), plan.out / FILE)
    with atomic_path(plan.out / "tables.md") as partial:
        partial.write_text(tables_markdown(results), encoding="utf-8")
    draw_figures(results, plan.out / "figures")
    return results


def _result_files(plan: CloudPlan) -> list[Path]:
    """Return the files that `_results` writes."""
    of_clips = ("figure3", "transfer") if plan.has_clips else ()
    searches = (f"search_{name}" for name in plan.weights) if plan.trials else ()
    figures = (f"figures/{name}.png" for name in ("figure2", *of_clips, *searches))
    return [plan.out / name for name in (FILE, "tables.md", *figures)]


STUDY = Study("cloud-robotics", stages, _results, _result_files)
