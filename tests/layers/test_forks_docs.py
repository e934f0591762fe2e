"""docs/forks.md agrees with the registry."""

from pathlib import Path

from caffe_compat.cli import main
from caffe_compat.definition.forks import FORKS

TEXT = (Path(__file__).parents[2] / "docs" / "forks.md").read_text(encoding="utf-8")


def test_the_list_of_fork_layers_is_the_registrys(capsys):
    assert main(["layers", "--forks"]) == 0
    assert TEXT.split("<!-- forks -->\n")[1].split("<!-- /forks -->")[0] == capsys.readouterr().out


def test_every_fork_is_listed_with_where_it_is():
    assert FORKS
    for name, schema in FORKS.items():
        assert f"- `{name}`: {schema.source}\n" in TEXT
