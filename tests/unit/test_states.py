"""The transition table: what can happen to a job, and what cannot."""

from __future__ import annotations

import itertools

import pytest

from handlers.states import ACTIVE, DELETABLE, FINAL, RETRYABLE, TRANSITIONS, State, is_allowed

# Written out a second time on purpose: a change of the table must be meant.
ALLOWED = {
    "awaiting": {"enqueued", "scheduled", "deleted"},
    "scheduled": {"enqueued", "deleted"},
    "enqueued": {"processing", "failed", "deleted"},
    "processing": {"succeeded", "failed", "enqueued", "scheduled", "waiting", "deleted"},
    "waiting": {"enqueued", "deleted"},
    "failed": {"enqueued", "scheduled", "deleted"},
    "succeeded": {"enqueued"},
    "deleted": {"awaiting", "scheduled", "enqueued", "waiting", "failed"},
}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(State, State)))
def test_is_allowed_agrees_with_the_written_table(source: State, target: State) -> None:
    assert is_allowed(source, target) == (target.value in ALLOWED[source.value])


def test_transitions_each_say_what_causes_them() -> None:
    assert all(cause for targets in TRANSITIONS.values() for cause in targets.values())


def test_states_are_either_active_or_final() -> None:
    assert {"succeeded", "failed", "deleted"} == FINAL
    assert {"awaiting", "scheduled", "enqueued", "processing", "waiting"} == ACTIVE


def test_deletable_is_every_state_but_succeeded_and_deleted() -> None:
    assert set(State) - {State.SUCCEEDED, State.DELETED} == DELETABLE


def test_retryable_states_can_be_enqueued_at_once() -> None:
    assert {State.FAILED, State.SCHEDULED} == RETRYABLE
    assert all(is_allowed(state, State.ENQUEUED) for state in RETRYABLE)


def test_every_state_can_be_left_towards_a_run() -> None:
    """No dead end: by some moves, each state leads back to processing (an operator's retry, requeue or restore)."""
    reach = {state for state in State if is_allowed(state, State.PROCESSING)}
    for _ in State:
        reach |= {state for state in State if any(is_allowed(state, target) for target in reach)}
    assert reach == set(State)


@pytest.mark.parametrize("state", State)
def test_label_is_the_capitalised_value_that_fits_the_column(state: State) -> None:
    assert state.label == state.value.title()
    assert len(state.value) <= 10
