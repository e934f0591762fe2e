"""The section of the report about verified weights."""

import json

from lq_emotion.common.document import Table
from lq_emotion.report.open_questions import not_verified
from lq_emotion.studies.robust_lq.store import Store
from tests.signing import signed


def published(root):
    blocks = list(not_verified(Store(root)))
    tables = [block for block in blocks if isinstance(block, Table)]
    texts = [block for block in blocks if not isinstance(block, Table) and "Published weights" in block.text]
    assert len(texts) == 1
    return texts[0], tables


def test_the_report_tells_that_weights_passed_and_what_remains_open(tmp_path, folder, verify, crops):
    crops(tmp_path, "root/data/raw_data/HQ")
    assert verify(folder, "--recordings", tmp_path / "root")[0] == 0
    text, (files, scores) = published(tmp_path)
    assert text.kind == "plain"
    assert "1 file passed" in text.text
    assert "hashes of the authors' own files are not known" in text.text
    (values,) = ([cell.text for cell in row.cells] for row in files.rows)
    assert values[:2] == ["`class/HQ.caffemodel`", "CNN+D (HR or LR)"]
    assert values[5] == "passed"
    (values,) = ([cell.text for cell in row.cells] for row in scores.rows)
    assert (values[1], values[9]) == ("HQ", "0.325")


def test_the_report_warns_of_weights_that_failed(tmp_path, folder, verify):
    path = folder / "class/HQ.caffemodel"
    path.write_bytes(path.read_bytes()[:5000])
    assert verify(folder)[0] == 1
    text, (files, findings) = published(tmp_path)
    assert text.kind == "warning"
    assert "1 of 1 file did not pass" in text.text
    assert [cell.text for cell in files.rows[0].cells][1] == "not recognised"
    assert files.rows[0].cells[-1].strong
    assert "truncated" in findings.rows[0].cells[-1].text


def test_the_report_shows_no_result_that_was_changed(tmp_path, folder, verify):
    path = folder / "class/HQ.caffemodel"
    path.write_bytes(path.read_bytes()[:5000])
    verify(folder)
    result = json.loads((tmp_path / "verify.json").read_text())
    (tmp_path / "verify.json").write_text(json.dumps({**result, "verdict": "passed"}))
    text, tables = published(tmp_path)
    assert text.kind == "warning"
    assert "was changed since it was signed off" in text.text
    assert not tables
    (tmp_path / "verify.json").write_text(json.dumps(signed(result)))
    assert "did not pass" in published(tmp_path)[0].text


def test_without_a_result_the_report_says_what_to_do(tmp_path):
    text, tables = published(tmp_path)
    assert "`lq-emotion verify --weights DIR --out ROOT/verify.json` does" in text.text
    assert not tables
