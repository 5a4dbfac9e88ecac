"""The figures about latency: their arithmetic, and one short listening to a real daemon's loop."""

from benchmarks.latency.marks import WANTED, Mark
from benchmarks.latency.sides import Run
from benchmarks.loop_stall import LIMIT_MS, listen
from benchmarks.order_latency import latencies
from benchmarks.second_order import gaps


def test_a_latency_is_from_a_closing_frame_to_the_first_order_before_the_next_frame() -> None:
    marks = [
        Mark("order", 0),
        Mark("closing", 1_000_000),
        Mark("closing", 2_000_000),
        Mark("order", 5_000_000),
        Mark("order", 6_000_000),
    ]
    assert latencies(marks) == [3.0]


def test_what_the_pipeline_adds_counts_from_the_intent_and_no_other_mark() -> None:
    marks = [Mark("closing", 0), Mark(WANTED, 1_000_000), Mark("order", 5_000_000), Mark("closing", 6_000_000)]
    assert latencies(marks, WANTED) == [4.0]
    assert latencies(marks) == [5.0]


def test_a_gap_is_between_two_orders_of_one_decision() -> None:
    second = 1_000_000_000
    marks = [
        Mark("order", 0),
        Mark("order", 2_000_000),
        Mark("closing", second // 2),
        Mark("order", second),
        Mark("order", 3 * second),
        Mark("order", 3 * second + 200_000_000),
    ]
    assert gaps(marks) == [2.0, 200.0]


def test_no_call_of_the_loop_computes_for_longer_than_claimed() -> None:
    stalls, frames, orders = listen(8, Run(speed=60, seed=1, instruments=2))
    assert frames > 4
    assert orders > 1
    assert [stall for stall in stalls if stall.cpu_ms > LIMIT_MS] == []
