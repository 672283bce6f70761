"""What the history of a run calls an offence."""

from tests.chaos.history import NO_ANSWER, History
from tests.chaos.proxy import Messages


def history_of(*verifications: tuple[int, int, int]) -> History:
    """Make a history of one claim that was asked to end at 100 and was told to have ended at 200."""
    history = History()
    claim = history.claim("a key")
    history.restricting(claim, 100)
    history.restricted(claim, 200)
    for status, begin_ns, end_ns in verifications:
        history.verified(claim, 2, status, begin_ns=begin_ns, end_ns=end_ns)
    return history


def test_what_begins_after_the_answer_must_not_be_accepted() -> None:
    """Only an acceptance that began after the answer is an offence, whenever it ended."""
    history = history_of((200, 50, 300), (200, 200, 300), (401, 201, 300), (503, 201, 300), (0, 201, 300))
    assert list(history.offences()) == []
    (offence,) = history_of((200, 199, 300), (200, 201, 300)).offences()
    assert (offence.what, offence.node, offence.begin_ns) == ("accepted after it ended", 2, 201)
    assert str(offence).startswith("accepted after it ended: a key at process 2, begun +0.000")


def test_what_ends_before_the_request_must_not_be_refused() -> None:
    """Only a refusal that was told before anybody asked for a restriction is an offence."""
    assert list(history_of((401, 50, 100), (403, 50, 150), (503, 10, 20), (0, 10, 20), (200, 10, 20)).offences()) == []
    (offence,) = history_of((401, 50, 99)).offences()
    assert offence.what == "refused before it ended"


def test_the_first_answer_counts() -> None:
    """A restriction that is repeated has ended its claim when it was first answered."""
    history = history_of((200, 201, 300))
    history.restricted(0, 400)
    history.verified(0, 2, NO_ANSWER, begin_ns=300, end_ns=300)
    assert len(list(history.offences())) == history.after_restriction() == len(history) == 1


def test_messages_are_cut_wherever_the_stream_is() -> None:
    """The proxy finds the same messages whatever the pieces they come in, a start-up message first."""
    stream = b"\x00\x00\x00\x09\x00\x03\x00\x00a" + b"Q\x00\x00\x00\x06x\x00" + b"S\x00\x00\x00\x04"
    for size in range(1, len(stream) + 1):
        messages = Messages(has_startup=True)
        pieces = (stream[at : at + size] for at in range(0, len(stream), size))
        found = [message for piece in pieces for message in messages.feed(piece)]
        assert found == [stream[:9], stream[9:16], stream[16:]]
