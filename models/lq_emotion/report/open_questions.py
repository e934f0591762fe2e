"""Disagreements of paper and code, and claims that could not be verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from caffe_compat.errors import FileError
from lq_emotion.common.document import Block, Text
from lq_emotion.nets.switches import AS_CODE, describe_settings, format_setting
from lq_emotion.report.provenance import finished_quickly, sr_images
from lq_emotion.studies.questions import Question, questions_table
from lq_emotion.studies.robust_lq.paper_vs_code import DISAGREEMENTS
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.verify.settings import read_signed
from lq_emotion.verify.tables import tables, verdict


def disagreements(store: Store) -> Iterator[Block]:
    """Yield the table of disagreements between paper and code."""
    with store.contents():
        otherwise, settings = _otherwise(store), _settings(store)
    yield Text(
        "Where they disagree, this package follows the code, because the published weights were trained with it"
        f"{otherwise}."
    )
    yield questions_table("Disagreements of the paper and the authors' code.", DISAGREEMENTS, partial(_here, settings))


def _settings(store: Store) -> dict[str, object]:
    """Return this experiment's settings that are not the code's; options may differ from switches."""
    table = store.table
    if table is None:
        return {}
    faces = {"sr_images": "faces"} if sr_images(table) == "faces" else {}
    return {**store.switches, **faces, "max_factor": table.settings.largest_factor}


def _here(settings: Mapping[str, object], question: Question) -> str:
    """Return the settings of a question's switches in this experiment."""
    values = (format_setting(settings.get(name, getattr(AS_CODE, name))) for name in question.switches)
    return ", ".join(values) or "as the code"


def _otherwise(store: Store) -> str:
    """Return how this experiment followed the paper after all."""
    table = store.table
    if table is None:
        return ""
    by_switch = store.switches
    switches = describe_settings(by_switch)
    parts = []
    if switches:
        parts.append(f"this experiment was run {switches}" if switches.startswith("as") else f"here {switches}")
    if table.settings.largest_factor != by_switch.get("max_factor", AS_CODE.max_factor):
        parts.append(f"Joint-OA's super-resolution was trained at {table.settings.largest_factor}")
    if sr_images(table) == "faces" and "sr_images" not in by_switch:
        parts.append("super-resolution learnt from faces, as in the paper, because no images were given")
    return f"; but {' and '.join(parts)}" if parts else ""


def not_verified(store: Store) -> Iterator[Block]:
    """Yield a sentence for each open question."""
    if store.synthetic is None:
        yield Text(
            "Whether these recordings are of people is unknown: table/table.json, which names their folder, is missing."
        )
    elif store.synthetic:
        yield Text(
            "**AVEC 2016.** The recordings are synthetic: that these programs give the paper's numbers on AVEC 2016 "
            "was not verified by this run. AVEC 2016 is lent to researchers by its makers; the same command runs on it."
        )
    else:
        yield Text(
            "**AVEC 2016.** Nothing here checks that these recordings are the package's own, nor which version of its "
            "gold standard the paper used."
        )
    yield from published_weights(store)
    yield Text(
        "**Codec of Figure 4.** The paper names no codec, no settings and no list of QPs; its curves are known as a "
        "plot, and only two rates as numbers."
    )
    yield Text(
        "**Seeds and snapshots.** The authors' solvers fix no seed, and the paper does not say which iteration its "
        "numbers are of. Here it is the last."
    )
    with store.contents():
        switches = store.switches
    if switches.get("lr_on_plateau") and "validation" not in switches:
        yield Text(
            "**A look at the test set.** The learning rates fell where the loss on the development recordings stopped "
            "falling, and the same recordings are scored. The paper names no other validation set; "
            "`--switch validation=train` takes a part of the training recordings."
        )
    if (most := finished_quickly(store)) is not None:
        yield Text(
            f"**Length of training.** No net of valence was trained for more than {most:,} iterations; the authors' "
            "solvers take 30,000 (HR, LR), 60,000 (Joint) and 120,000 (Non-Joint)."
        )


def published_weights(store: Store) -> Iterator[Block]:
    """Yield the verdict and the tables of ROOT/verify.json."""
    path = store.root / "verify.json"
    if not path.exists():
        yield Text(
            "**Published weights.** The authors' trained weights were not verified in this folder; "
            "`lq-emotion verify --weights DIR --out ROOT/verify.json` does."
        )
        return
    try:
        result = read_signed(path)
    except FileError as error:
        yield Text(f"**Published weights.** The result of `lq-emotion verify` cannot be shown: {error}.", "warning")
        return
    text = verdict(result)
    yield replace(text, text=f"**Published weights.** {text.text}")
    yield from tables(result)
