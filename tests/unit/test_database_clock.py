"""The time of day is the database's, wherever the host's own has gone."""

from datetime import UTC, datetime, timedelta

from service.database_clock import DatabaseClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_time_goes_on_from_what_the_database_said() -> None:
    """A reading counts from the middle of its round trip, and then the steady clock does."""
    now_s = 100.0
    clock = DatabaseClock(lambda: now_s)
    clock.note(99.0, 101.0, NOON)
    assert clock() == NOON
    now_s = 107.5
    assert clock() == NOON + timedelta(seconds=7.5)
    clock.note(107.5, 107.5, NOON)
    assert clock() == NOON


def test_before_a_reading_it_is_the_hosts_time() -> None:
    """A process that has not asked yet goes by what it has."""
    before = datetime.now(UTC)
    assert before <= DatabaseClock(lambda: 5.0)() <= datetime.now(UTC)
