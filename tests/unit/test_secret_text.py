"""A `SecretText` gives its value to `reveal` alone, whatever else prints, encodes, copies or compares it."""

import copy
import json
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from structlog.processors import JSONRenderer, KeyValueRenderer

from service.secret_text import SecretText

VALUE = "entri_hunter2"
SECRET = SecretText(VALUE)


@dataclass(frozen=True, slots=True)
class Issued:
    """Something that carries a secret, as a command's answer does."""

    secret: SecretText


def test_reveal_returns_the_value() -> None:
    """What was put in comes out of `reveal`."""
    assert SECRET.reveal() == VALUE


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        pprint.pformat,
        lambda secret: f"{secret} {secret!r} {secret!s} {secret:>40} {secret:.3}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031  # the old way is what `logging` uses
        "{0} {0!r:>9}".format,
        lambda secret: repr([secret, {"secret": secret}, Issued(secret)]),
        lambda secret: json.dumps([secret], default=str),
        lambda secret: orjson.dumps([secret], default=str).decode(),
        lambda secret: KeyValueRenderer()(None, "info", {"secret": secret}),
        lambda secret: JSONRenderer()(None, "info", {"secret": secret}),
    ],
)
def test_no_representation_shows_the_value(show: Callable[[SecretText], str]) -> None:
    """Every way to make text of a secret yields the placeholder."""
    shown = show(SECRET)
    assert "hunter2" not in shown
    assert "Secret" in shown


def test_a_traceback_with_locals_does_not_show_the_value() -> None:
    """A report that prints the local variables of each frame prints the placeholder."""

    def fail(secret: SecretText) -> None:
        raise RuntimeError(f"broke on {secret}")

    with pytest.raises(RuntimeError) as caught:
        fail(SECRET)
    frames = traceback.StackSummary.extract(traceback.walk_tb(caught.value.__traceback__), capture_locals=True)
    report = "".join([*frames.format(), str(caught.value)])
    assert "SecretText(…)" in report
    assert VALUE not in report.replace(f"VALUE = {VALUE!r}", "")


def test_a_metric_label_does_not_show_the_value() -> None:
    """A secret that becomes a label by mistake is exported as the placeholder."""
    registry = CollectorRegistry()
    Counter("uses", "Uses.", ["secret"], registry=registry).labels(SECRET).inc()
    assert b"hunter2" not in generate_latest(registry)


@pytest.mark.parametrize(
    "leak",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        orjson.dumps,
        hash,
        vars,
        len,
        iter,
        lambda secret: asdict(Issued(secret)),
        lambda secret: secret.__getstate__(),
        lambda secret: secret.__reduce__(),
    ],
)
def test_what_would_duplicate_the_value_is_refused(leak: Callable[[SecretText], object]) -> None:
    """Pickling, copying, encoding, hashing and walking a secret are type errors that do not quote it."""
    with pytest.raises(TypeError) as caught:
        leak(SECRET)
    assert "hunter2" not in str(caught.value)


@given(st.text(st.characters()), st.text(st.characters()))
def test_equality_is_that_of_the_values(one: str, other: str) -> None:
    """Two secrets are equal exactly if their values are, lone surrogates included."""
    assert (SecretText(one) == SecretText(other)) is (one == other)
    assert SecretText(one) == SecretText(one)


def test_a_secret_equals_no_plain_text() -> None:
    """Comparing with a plain string is false, so that no test of one guesses the other."""
    assert SECRET != VALUE
