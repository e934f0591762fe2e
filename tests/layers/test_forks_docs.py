"""docs/forks.md says what the registry says."""

from pathlib import Path

from caffe_compat.cli import main
from caffe_compat.definition.forks import FORKS

TEXT = (Path(__file__).parents[2] / "docs" / "forks.md").read_text(encoding="utf-8")


def test_the_tables_of_fork_layers_are_the_registrys(capsys):
    assert main(["layers", "--forks"]) == 0
    written = [TEXT.split(f"<!-- {part} -->\n")[1].split(f"<!-- /{part} -->")[0] for part in ("forks", "sources")]
    assert "\n".join(written) == capsys.readouterr().out


def test_every_fork_is_listed_with_where_it_is():
    assert FORKS
    for name, schema in FORKS.items():
        assert f"| `{name}` | {schema.source} |\n" in TEXT
