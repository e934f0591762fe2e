"""Items fetched ahead: in order, with the errors of the thread, and no thread left."""

import threading
import time

import pytest

from lq_emotion.common.ahead import Ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_items_come_in_order():
    with Ahead(range(50), 3) as ahead:
        assert list(ahead) == list(range(50))
    assert threads() == []


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("lost")

    items_before = []
    with pytest.raises(ValueError, match="lost"), Ahead(items(), 3) as ahead:
        items_before.extend(iter(ahead))
    assert items_before == [1]
    assert threads() == []


def test_the_thread_ends_with_the_block_though_items_are_left():
    with Ahead(iter(int, 1), 2) as ahead:
        assert next(iter(ahead)) == 0
    assert threads() == []


def test_a_live_source_does_not_wait_for_its_reader_and_a_late_reader_gets_the_latest():
    done = threading.Event()

    def items():
        yield from range(1000)
        done.set()

    with Ahead(items(), 2, latest=True) as ahead:
        assert done.wait(10)  # 0.1 s an item would be 100 s
        time.sleep(0.05)
        assert list(ahead) == [998, 999]


@pytest.mark.parametrize(("size", "waiting"), [(4, 2), (20, 1)])
def test_large_items_wait_in_small_numbers(size, waiting):
    fetched = []

    def items():
        for number in range(6):
            fetched.append(number)
            yield number

    with Ahead(items(), 16, size=lambda _: size, most=10) as ahead:
        iterator = iter(ahead)
        assert next(iterator) == 0
        time.sleep(0.3)
        assert len(fetched) <= 1 + waiting + 1  # taken, waiting, and one for which there is no room
        assert list(iterator) == [1, 2, 3, 4, 5]
    assert threads() == []
