"""The report's part about the authors' weights: the result of `lq-emotion verify`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from caffe_compat.errors import FileError
from lq_emotion.common.document import Block, Text
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.verify.results import read_signed
from lq_emotion.verify.tables import tables, verdict


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
