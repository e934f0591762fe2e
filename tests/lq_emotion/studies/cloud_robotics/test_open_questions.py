"""What the text leaves open."""

from lq_emotion.studies.cloud_robotics.open_questions import OPEN_QUESTIONS


def test_no_subject_is_listed_twice():
    subjects = [question.subject for question in OPEN_QUESTIONS]
    assert len(subjects) == len(set(subjects))
    assert {"VGG Face", "short clips", "classes of the clips", "CNN of the CNN-LSTM", "best and lowest accuracy"} <= {
        *subjects
    }


def test_every_switch_of_an_open_question_is_named_once():
    switches = [switch for question in OPEN_QUESTIONS for switch in question.switches]
    assert len(switches) == len(set(switches))
    assert all(question.switches or question.answer for question in OPEN_QUESTIONS)
