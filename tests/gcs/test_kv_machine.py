"""Keys, namespaces, and waiting for a key."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.kv_machine import storage_key
from himalia.cluster.protocol.gcs_messages import KvDelete, KvGet, KvKeys, KvPut
from tests.gcs.cluster_on_paper import OnPaper, an_id

PEER, OTHER = an_id("d", 1), an_id("d", 2)


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def test_what_was_put_is_got(paper: OnPaper) -> None:
    assert paper.ask(PEER, KvPut(b"k", b"v")) is True
    assert paper.ask(OTHER, KvGet(b"k")) == b"v"
    assert paper.ask(OTHER, KvGet(b"other")) is None


def test_put_overwrites_unless_told_not_to(paper: OnPaper) -> None:
    paper.ask(PEER, KvPut(b"k", b"1"))
    assert paper.ask(PEER, KvPut(b"k", b"2")) is False
    assert paper.ask(PEER, KvPut(b"k", b"3", overwrite=False)) is False
    assert paper.ask(PEER, KvGet(b"k")) == b"2"


def test_namespaces_are_apart(paper: OnPaper) -> None:
    paper.ask(PEER, KvPut(b"k", b"1", namespace="a"))
    assert paper.ask(PEER, KvGet(b"k", namespace="b")) is None
    assert paper.ask(PEER, KvGet(b"k")) is None


def test_keys_are_listed_and_deleted_by_prefix(paper: OnPaper) -> None:
    for key in (b"a1", b"a2", b"b1"):
        paper.ask(PEER, KvPut(key, b""))
    assert paper.ask(PEER, KvKeys(b"a")) == [b"a1", b"a2"]
    assert paper.ask(PEER, KvDelete(b"a", prefix=True)) == 2
    assert paper.ask(PEER, KvDelete(b"a1")) == 0
    assert paper.ask(PEER, KvDelete(b"b1")) == 1
    assert paper.ask(PEER, KvKeys(b"")) == []
    assert paper.stored["kv"] == {}


def test_waiting_ends_with_the_put(paper: OnPaper) -> None:
    paper.say(PEER, KvGet(b"k", wait=True, request=50))
    with pytest.raises(AssertionError):
        paper.answer(PEER, 50)
    paper.say(OTHER, KvPut(b"k", b"v"))
    assert paper.answer(PEER, 50) == b"v"


def test_who_is_gone_waits_no_more(paper: OnPaper) -> None:
    paper.say(PEER, KvGet(b"k", wait=True, request=50))
    paper.lose(PEER)
    paper.say(OTHER, KvPut(b"k", b"v"))
    assert not paper.inbox.get(PEER)


def test_keys_of_storage_do_not_collide_across_namespaces() -> None:
    assert storage_key("a", b"bc") != storage_key("ab", b"c")


def test_keys_outlive_a_restart(paper: OnPaper) -> None:
    paper.ask(PEER, KvPut(b"k", b"v", namespace="é"))
    paper.restart()
    assert paper.ask(PEER, KvGet(b"k", namespace="é")) == b"v"
