"""What an operator sees of a rebuild says how far it is, how fast and for how long, and never more than is known."""

from datetime import UTC, datetime

from projections.rebuilding import Phase, Progress, Start
from service.cli.rebuild_progress import RebuildProgress, duration

AT = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
ANEW = Start(began_at=AT, events_before=0, resumes=None, outdated=False)


class Watched:
    """What was written, at the instants of a clock that the test sets."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.now_s = 0.0
        self.written: list[str] = []
        self.show = RebuildProgress(
            "tokens", write=self.written.append, is_terminal=is_terminal, clock=lambda: self.now_s
        )

    def at(self, now_s: float, events: int, phase: Phase = Phase.FILL, *, start: Start = ANEW) -> str:
        """Tell of a step, and answer what was written of it."""
        self.now_s = now_s
        self.written.clear()
        indexes = (1, 4) if phase is Phase.INDEX else (0, 0)
        self.show(Progress(start=start, phase=phase, events=events, expected=1000, indexes=indexes))
        return "".join(self.written)


def test_without_a_terminal_a_line_every_few_seconds() -> None:
    """A quick rebuild says nothing; a slow one a line at a time, with the rate of the last seconds."""
    watched = Watched(is_terminal=False)
    assert watched.at(1, 90) == watched.at(4.9, 490) == ""
    assert watched.at(5, 500) == "tokens: 50%, 500 of about 1,000 events, 100 a second, about 5 s left\n"
    assert watched.at(9, 900) == ""
    assert watched.at(12, 1000) == "tokens: 1,000 events, more than were expected, 83 a second\n"
    assert watched.at(20, 1000, Phase.INDEX) == "tokens: 1 of 4 indexes, 1,000 events folded\n"
    assert watched.at(40, 900, Phase.FOLLOW).startswith("tokens: 90%, 900 of 1,000 events")


def test_on_a_terminal_one_bar_that_is_drawn_anew() -> None:
    """Each drawing takes the place of the one before, not more often than an eye sees, and the last is wiped off."""
    watched = Watched(is_terminal=True)
    assert watched.at(0.05, 10) == ""
    assert watched.at(1, 500).startswith(f"\r\x1b[K[{'#' * 15}{'.' * 15}] 50%, 500 of about")
    watched.show.end()
    assert watched.written[-1] == "\r\x1b[K"


def test_it_says_what_it_goes_on_with() -> None:
    """What earlier runs folded is named and is not part of this one's rate; a dropped rebuild is named, too."""
    resumed = Start(began_at=AT, events_before=400, resumes=Phase.FILL, outdated=False)
    watched = Watched(is_terminal=False)
    told = watched.at(6, 460, start=resumed)
    assert "going on with the rebuild begun at 2026-01-01 12:30:00 UTC, which has folded 400 events" in told
    assert "10 a second, about 54 s left" in told
    outdated = Start(began_at=AT, events_before=0, resumes=None, outdated=True)
    assert "starting anew" in Watched(is_terminal=False).at(0, 0, start=outdated)


def test_a_duration_has_the_units_that_matter() -> None:
    """Seconds below a minute, minutes and seconds below an hour, then hours and minutes."""
    assert [duration(s) for s in (0.4, 59.4, 60, 3599, 3600, 7384)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "2 h 3 min",
    ]
