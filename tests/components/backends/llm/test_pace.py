import asyncio
import time
from email.utils import formatdate

import pytest

from pada_agent.components.backends.llm.pace import GaveUp, Pace, retry_after


def test_retry_after_as_seconds_milliseconds_and_date():
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    in_ten = retry_after({"retry-after": formatdate(time.time() + 10, usegmt=True)})
    assert in_ten is not None
    assert 8 < in_ten <= 10
    assert retry_after({"retry-after": formatdate(time.time() - 10, usegmt=True)}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


def test_a_burst_of_refusals_halves_once_and_successes_raise_it_again_to_where_it_was():
    pace = Pace(16, 60)
    began = time.monotonic()
    for _ in range(16):
        pace.overloaded(began)
    assert pace.limit == 8
    pace.overloaded(time.monotonic())
    assert pace.limit == 4
    for _ in range(4):
        pace.succeeded()
    assert 4.8 < pace.limit < 5.1
    for _ in range(500):
        pace.succeeded()
    assert pace.limit == 16
    for _ in range(20):
        pace.overloaded(time.monotonic())
    assert pace.limit == 1


def test_no_more_are_let_in_than_the_limit_and_all_get_their_turn():
    async def work() -> tuple[int, list[int]]:
        pace, busy, most, order = Pace(3, 60), 0, 0, []

        async def one(number: int) -> None:
            nonlocal busy, most
            async with pace.slot():
                busy += 1
                most = max(most, busy)
                order.append(number)
                await asyncio.sleep(0.001)
                busy -= 1

        await asyncio.gather(*(one(n) for n in range(20)))
        return most, order

    most, order = asyncio.run(work())
    assert most == 3
    assert order == list(range(20)), "in the order in which they came"


def test_the_limit_in_force_is_the_lowered_one():
    async def work() -> int:
        pace, busy, most = Pace(8, 60), 0, 0
        pace.overloaded(time.monotonic())
        pace.overloaded(time.monotonic())

        async def one() -> None:
            nonlocal busy, most
            async with pace.slot():
                busy += 1
                most = max(most, busy)
                await asyncio.sleep(0.001)
                busy -= 1

        await asyncio.gather(*(one() for _ in range(20)))
        return most

    assert asyncio.run(work()) == 2


def test_a_pause_holds_everybody():
    async def work() -> float:
        pace, began = Pace(4, 60), time.monotonic()
        pace.pause(0.2)

        async def one() -> None:
            async with pace.slot():
                pass

        await asyncio.gather(*(one() for _ in range(8)))
        return time.monotonic() - began

    assert 0.2 <= asyncio.run(work()) < 1


def test_a_pause_longer_than_the_breaker_allows_is_the_end_at_once():
    with pytest.raises(GaveUp, match=r"asks to wait 3600 s, longer than give_up_seconds \(60\)"):
        Pace(4, 60).pause(3600)


def test_silence_opens_the_breaker_and_a_success_closes_it():
    pace = Pace(4, 0.1)
    time.sleep(0.06)
    pace.succeeded()
    time.sleep(0.06)
    pace.check()
    time.sleep(0.06)
    with pytest.raises(GaveUp, match=r"gave no reply for 0.1 s"):
        pace.check()
    pace.begin()
    pace.check()


def test_backing_off_never_outlasts_the_breaker():
    async def work() -> float:
        pace, began = Pace(4, 0.1), time.monotonic()
        await pace.back_off(tries=9)
        return time.monotonic() - began

    assert asyncio.run(work()) < 0.5
