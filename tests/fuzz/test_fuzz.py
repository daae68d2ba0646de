"""A share of `make fuzz` that CI can afford: the corpus, and the same mutations in every run."""

from __future__ import annotations

import gc
import random

import pytest

from tests.fuzz.corpus import read_corpus
from tests.fuzz.mutate import damaged
from tests.fuzz.pairs import MAKERS, Make
from tests.fuzz.targets import Madmen, Strangers, codec, recorded_messages, recorded_session, stream


def test_the_corpus_is_replayed() -> None:
    """Each message of it once had an outcome of its own: none may raise, or change what is authentic."""
    strangers, corpus = Strangers(1), read_corpus()
    for raw in corpus:
        codec(raw)
        for _ in range(4):  # both ends, both ports, as it happens
            strangers.feed(raw)
    strangers.check()
    assert len(corpus) > 200


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_messages_of_strangers_change_nothing(seed: int) -> None:
    strangers = Strangers(seed, read_corpus())
    for _ in range(10_000):
        strangers.round()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(10_000):
        strangers.round()
    strangers.check()
    gc.collect()
    assert len(gc.get_objects()) - before < 5_000, "memory grows"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", MAKERS)
def test_a_peer_that_holds_the_keys_and_talks_nonsense_raises_nothing(seed: int, make: Make) -> None:
    madmen = Madmen(seed, make)
    outcomes = {madmen.round() for _ in range(100)}
    assert len(outcomes) > 5


def test_mutated_messages_are_read_or_refused() -> None:
    """Reading gives a value or WireError; what was read is written and read again as the same."""
    draw, (_, session) = random.Random("codec"), recorded_session()
    messages = [*session, *recorded_messages()]
    words = {codec(damaged(draw.choice(messages), session, draw)) for _ in range(10_000)}
    assert len(words) > 30


def test_a_damaged_tcp_stream_is_read_or_refused_whatever_the_pieces() -> None:
    draw, (_, session) = random.Random("stream"), recorded_session()
    words = {stream(draw.sample(session, 3), draw) for _ in range(1000)}
    assert len(words) > 5
