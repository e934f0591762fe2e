"""Log lines are glog's and Caffe's: what people's scripts match on."""

import io
from datetime import datetime

import pytest

from caffe_compat.solver.log import CaffeLog, named, number, score


def entry(text):
    stream = io.StringIO()
    CaffeLog(stream, now=lambda: datetime(2026, 2, 3, 4, 5, 6, 7)).line("solver.cpp:239", text)  # noqa: DTZ001
    return stream.getvalue()


def test_a_line_begins_as_glogs_do():
    line = entry("Iteration 0, loss = 1")
    head, _, rest = line.partition("] ")
    day, clock, thread, place = head.split()
    assert (day, clock, place) == ("I0203", "04:05:06.000007", "solver.cpp:239")
    assert thread.isdecimal()
    assert rest == "Iteration 0, loss = 1\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00992565, "0.00992565"),
        (1e-05, "1e-05"),
        (0.0001, "0.0001"),
        (123456789.0, "1.23457e+08"),
        (100.0, "100"),
        (0.6931471805599453, "0.693147"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (-0.0, "-0"),
    ],
)
def test_numbers_look_as_cpp_streams_write_them(value, text):
    assert number(value) == text


def test_outputs_tell_their_part_of_the_loss():
    assert score("Train", 0, "loss", 0.25, 1.0) == "    Train net output #0: loss = 0.25 (* 1 = 0.25 loss)"
    assert score("Test", 3, "accuracy", 0.5, 0.0) == "    Test net output #3: accuracy = 0.5"
    assert named("aux", 2.0, 0.3) == "aux = 2 (* 0.3 = 0.6 loss)"


def test_no_progress_bar_where_there_is_no_terminal():
    stream = io.StringIO()
    log = CaffeLog(stream)
    with log.progress(10, 0, "net") as show:
        show(5)
    assert stream.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_stand_on_lines_of_their_own_above_the_bar():
    terminal, plain = Terminal(), io.StringIO()
    log = CaffeLog(terminal, plain)
    with log.progress(10, 2, "net") as show:
        log.line("solver.cpp:239", "Iteration 2, loss = 1")
        show(7)
    shown = terminal.getvalue()
    before = shown[: shown.index("I")]
    assert before.endswith("\r")
    assert shown.count("Iteration 2, loss = 1\n") == 1
    assert "net" in shown
    assert "\r" not in plain.getvalue()
    assert plain.getvalue().count("\n") == 1


def test_every_stream_gets_every_line_and_no_stream_is_silence():
    streams = [io.StringIO(), io.StringIO()]
    CaffeLog(*streams).line("a.cpp:1", "x")
    assert streams[0].getvalue() == streams[1].getvalue() != ""
    CaffeLog().line("a.cpp:1", "x")
