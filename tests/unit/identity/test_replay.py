"""What was received once is not received again, and what might have been is not received either."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.errors import IssuedBeforeStart, Replayed, TooBusy
from node.identity.replay import Memory

START = 1_000


def once(memory: Memory, name: str, *, sender: str = "brno", now: int = START, life: int = 100) -> None:
    memory.once(sender, name, issued=now, until=now + life, now=now)


def test_a_message_passes_once():
    memory = Memory(started=START)
    once(memory, "a")
    once(memory, "b")
    for name in ("a", "b"):
        with pytest.raises(Replayed, match=f"{name} of brno"):
            once(memory, name)


def test_two_senders_may_choose_the_same_name():
    memory = Memory(started=START)
    once(memory, "a")
    once(memory, "a", sender="plzen")


def test_it_is_remembered_until_nobody_would_take_it_any_more_and_then_forgotten():
    memory = Memory(started=START, most=1)
    once(memory, "a", life=100)
    with pytest.raises(Replayed):
        once(memory, "a", now=START + 100)
    once(memory, "b", now=START + 101)


def test_nothing_is_left_of_a_sender_whose_messages_are_forgotten():
    memory = Memory(started=START)
    for number in range(100):
        once(memory, "a", sender=f"stranger {number}", now=START + number, life=1)
    assert set(memory._of) == {key[0] for key in memory._known} == {"stranger 98", "stranger 99"}


def test_what_was_issued_before_the_start_may_have_come_before_it_and_is_refused():
    memory = Memory(started=START)
    with pytest.raises(IssuedBeforeStart, match="send a new one"):
        once(memory, "a", now=START - 1)
    once(memory, "a", now=START)


def test_a_full_memory_takes_nothing_rather_than_forget():
    memory = Memory(started=START, most=2)
    once(memory, "a")
    once(memory, "b", sender="plzen")
    with pytest.raises(TooBusy):
        once(memory, "c", sender="prague")
    with pytest.raises(Replayed):
        once(memory, "a")


def test_one_sender_cannot_fill_it_for_the_others():
    memory = Memory(started=START, most=10, most_of_one=2)
    once(memory, "a")
    once(memory, "b", life=200)
    with pytest.raises(TooBusy):
        once(memory, "c")
    once(memory, "c", sender="plzen")
    once(memory, "d", now=START + 101)


def test_of_many_threads_with_the_same_message_one_passes():
    memory = Memory(started=START)

    def passes(number: int) -> bool:
        try:
            once(memory, f"message {number % 50}")
        except Replayed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(passes, range(2000))) == 50


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 40), st.integers(1, 50))
    )
)
def test_nothing_passes_twice_in_its_time_and_everything_passes_outside(steps):
    memory, now, until = Memory(started=START), START, dict[tuple[str, str], int]()
    for sender, name, later, life in steps:
        now += later
        expected = until.get((sender, name), -1) < now
        try:
            once(memory, name, sender=sender, now=now, life=life)
            passed = True
        except Replayed:
            passed = False
        assert passed == expected
        if passed:
            until[sender, name] = now + life
