"""Error messages, word for word, in one file that can be read for its English."""

import re

import pytest

from tests.messages.cases import COMMANDS, FUNCTIONS, GOLDEN, message

GOLDEN_MESSAGES = dict(
    re.findall(r"^# (.+)\n((?:(?!# ).*\n)*?)(?:\n|\Z)", GOLDEN.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("case", [*COMMANDS, *FUNCTIONS])
def test_the_message_is_the_one_in_the_golden_file(case, tmp_path):
    assert message(case, tmp_path) == GOLDEN_MESSAGES[case], "python -m tests.messages --write"


def test_the_golden_file_holds_these_messages_only():
    assert list(GOLDEN_MESSAGES) == [*COMMANDS, *FUNCTIONS]
