"""The choice for a bandwidth and a delay, against a search written another way."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lq_emotion.studies.cloud_robotics.link.choice import Demand, choose, delay, front
from lq_emotion.studies.cloud_robotics.link.loopback import last_bit
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint, RateTable, packets_of, wire_bits
from tests.refusals import refused


def point(kbps=64.0, score=0.5, fps=10, **others):
    settings = {"width": 320, "height": 180, "codec": "x264", "qp": 30, "measure": "accuracy", **others}
    return OperatingPoint(kbps=kbps, score=score, fps=fps, **settings)


points = st.builds(
    point, kbps=st.integers(1, 900).map(float), score=st.integers(0, 8).map(lambda eighths: eighths / 8),
    fps=st.sampled_from([5, 10, 15, 25, 30]), largest_bits=st.none() | st.integers(100, 200_000).map(float),
    kbps_high=st.none() | st.integers(1, 1200).map(float),
)  # fmt: skip
tables = st.lists(points, min_size=1, max_size=12).map(lambda items: RateTable(tuple(items)))
demands = st.builds(
    Demand, budget=st.sampled_from([80.0, 200.0, 500.0]), round_trip=st.sampled_from([0.0, 30.0]),
    computing=st.sampled_from([0.0, 25.0, 50.0]), reserve=st.sampled_from([0.0, 0.125, 0.25]),
)  # fmt: skip


def exact_best(table, kbps, demand):
    """Score and wire rate of the best point, by rational numbers, a frame at a time."""
    best = None
    usable = Fraction(kbps) * (1 - Fraction(demand.reserve))  # bits a millisecond
    for item in table.points:
        rate = Fraction(max(item.kbps, item.kbps_high or 0))
        mean = rate * 1000 / Fraction(item.fps)
        largest = mean * Fraction(demand.largest) if item.largest_bits is None else Fraction(item.largest_bits)
        sizes = []
        for bits in (mean, largest):
            packets = 1
            while packets * 1460 * 8 < bits:
                packets += 1
            sizes.append(bits + packets * 320)
        interval = 1000 / Fraction(item.fps)
        total = interval + Fraction(demand.round_trip) + Fraction(demand.computing) + sizes[1] / usable
        if sizes[0] <= usable * interval and total <= demand.budget and demand.computing <= interval:
            candidate = (item.score, -sizes[0] / interval)
            best = candidate if best is None else max(best, candidate)
    return best


@settings(deadline=None, max_examples=60)
@given(tables, st.integers(1, 1000), demands)
def test_the_choice_is_that_of_an_exhaustive_search(table, kbps, demand):
    kbps += 0.377  # no rate of a table lies exactly on the limit, where rounding decides
    choice, best = choose(table, kbps, demand), exact_best(table, kbps, demand)
    assert (choice.point is None) == (best is None)
    if best is not None:
        assert choice.point.score == best[0]
        assert choice.wire_kbps == pytest.approx(float(-best[1]), rel=1e-12)
        assert choice.delay <= demand.budget + 1e-9


@settings(deadline=None, max_examples=60)
@given(tables, st.floats(1, 1000), st.floats(1, 3), demands)
def test_more_bandwidth_never_lowers_the_score(table, kbps, factor, demand):
    low, high = choose(table, kbps, demand), choose(table, kbps * factor, demand)
    assert low.point is None or high.point.score >= low.point.score


@settings(deadline=None, max_examples=60)
@given(tables, demands)
def test_the_least_bandwidth_is_the_least(table, demand):
    least = choose(table, 1e-3, demand).least_kbps
    if least is None:
        assert choose(table, 1e12, demand).point is None
    else:
        assert choose(table, least, demand).point is not None
        assert choose(table, 0.999 * least, demand).point is None


def test_of_equal_scores_the_one_of_fewest_bits_is_chosen():
    table = RateTable((point(80, 0.7), point(60, 0.7), point(20, 0.6)))
    assert choose(table, 500, Demand()).point.kbps == 60


def test_the_delay_adds_up():
    # 100 ms to the next frame, 20 + 30 ms, and 100,000 bits in 9 packets (102,880 bits) at 90 % of 1000 kbit/s
    assert delay(point(largest_bits=100_000.0), 1000, Demand()) == pytest.approx(150 + 102_880 / 900)


def test_headers_count():
    assert (packets_of(0), packets_of(1460), packets_of(1460.5)) == (1, 1, 2)
    assert wire_bits(8 * 1461) == 8 * (1461 + 80)
    assert point(kbps=1.0, fps=25).wire_kbps == 1 + 25 * 0.32


def test_the_front_holds_what_nothing_beats():
    some = [point(10, 0.3), point(20, 0.2), point(30, 0.5), point(30, 0.4), point(90, 0.5)]
    assert [(item.kbps, item.score) for item in front(some)] == [(10, 0.3), (30, 0.5)]


def test_a_link_sends_one_frame_after_the_other():
    first = last_bit(4000, 8.0, 0.0, 0.0)
    second = last_bit(4000, 8.0, 0.1, first)
    assert (first, second, last_bit(800, 8.0, 5.0, second)) == (0.5, 1.0, 5.1)


def test_a_bandwidth_of_nothing_is_refused():
    with refused("out-of-range", field="kbps"):
        choose(RateTable((point(),)), 0.0, Demand())
