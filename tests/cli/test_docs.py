"""docs/commands.md and --help name every command."""

from pathlib import Path

from caffe_compat.cli import main
from caffe_compat.cli.parser import COMMANDS

DOCS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


def test_every_command_is_documented():
    assert [name for name in COMMANDS if name not in DOCS] == []


def test_help_lists_every_command_and_each_command_has_help(capsys):
    assert main(["--help"]) == 0
    listed = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ") and line[4] != " "
    ]
    assert listed[-len(COMMANDS) :] == list(COMMANDS)
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert f"usage: caffe-compat {name}" in capsys.readouterr().out


def test_commands_can_be_spelled_with_dashes(capsys):
    assert main(["finetune-report", "--help"]) == 0
    assert "finetune_report" in capsys.readouterr().out
