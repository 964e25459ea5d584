"""The rules of who may, clause by clause, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.dashboard.server.access import (
    COOKIE_SECONDS,
    TICKET_SECONDS,
    Access,
    is_same_token,
    make_ticket,
    token_of_header,
)

TOKEN = "0123456789abcdef" * 3
NOW = 1_800_000_000.0


def access(bound: str = "127.0.0.1", *hosts: str, token: str = TOKEN) -> Access:
    return Access(token, "c1", bound, hosts)


def test_the_token_is_accepted_and_nothing_else() -> None:
    assert access().accepts_token(TOKEN)
    assert not access().accepts_token("")
    assert not access().accepts_token(TOKEN[:-1])
    assert not access().accepts_token("Ä" * 10)


def test_a_cluster_without_a_token_accepts_nobody() -> None:
    assert not is_same_token("", "")


@given(st.text())
def test_no_other_text_is_a_token_a_cookie_or_a_ticket(text: str) -> None:
    rules = access()
    assert rules.accepts_token(text) is (text == TOKEN)
    assert not rules.accepts_cookie(text, NOW)
    assert not rules.accepts_ticket(text, NOW)
    assert not rules.accepts_change(text, "cookie")
    rules.knows_host(text)
    rules.is_from_elsewhere(text, text, text)


@pytest.mark.parametrize(
    ("header", "token"),
    [("token abc", "abc"), ("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("abc", ""), ("", "")],
)
def test_the_token_comes_in_a_header_of_two_kinds(header: str, token: str) -> None:
    assert token_of_header(header) == token


def test_a_cookie_is_accepted_until_it_ends_and_does_not_hold_the_token() -> None:
    rules = access()
    cookie = rules.make_cookie(NOW, "nonce")
    assert TOKEN not in cookie
    assert rules.accepts_cookie(cookie, NOW)
    assert rules.accepts_cookie(cookie, NOW + COOKIE_SECONDS - 1)
    assert not rules.accepts_cookie(cookie, NOW + COOKIE_SECONDS + 1)


def test_a_cookie_survives_a_restart_of_the_process() -> None:
    assert access().accepts_cookie(access().make_cookie(NOW, "nonce"), NOW)


def test_a_cookie_that_was_changed_or_is_of_another_cluster_is_refused() -> None:
    rules = access()
    end, nonce, mac = rules.make_cookie(NOW, "nonce").split(".")
    assert not rules.accepts_cookie(f"{int(end) + 1}.{nonce}.{mac}", NOW)
    assert not rules.accepts_cookie(f"{end}.{nonce}x.{mac}", NOW)
    assert not rules.accepts_cookie(access(token="f" * 48).make_cookie(NOW, "nonce"), NOW)


def test_cookies_of_clusters_on_one_host_have_names_of_their_own() -> None:
    assert Access(TOKEN, "a", "127.0.0.1").cookie_name != Access(TOKEN, "b", "127.0.0.1").cookie_name


def test_a_ticket_logs_in_for_some_minutes() -> None:
    ticket = make_ticket(TOKEN, NOW)
    assert TOKEN not in ticket
    assert access().accepts_ticket(ticket, NOW + TICKET_SECONDS - 1)
    assert not access().accepts_ticket(ticket, NOW + TICKET_SECONDS + 1)
    end, _, mac = ticket.partition(".")
    assert not access().accepts_ticket(f"{int(end) + 60}.{mac}", NOW)


def test_what_was_signed_for_one_purpose_is_of_no_use_for_another() -> None:
    rules = access()
    cookie = rules.make_cookie(NOW, "nonce")
    assert not rules.accepts_ticket(cookie, NOW)
    assert not rules.accepts_cookie(make_ticket(TOKEN, NOW), NOW)
    assert rules.forgery_value(cookie) not in cookie


def test_what_changes_something_needs_the_value_of_its_own_cookie() -> None:
    rules = access()
    mine, other = rules.make_cookie(NOW, "one"), rules.make_cookie(NOW, "two")
    assert rules.accepts_change(rules.forgery_value(mine), mine)
    assert not rules.accepts_change(rules.forgery_value(other), mine)
    assert not rules.accepts_change("", mine)


@pytest.mark.parametrize(
    ("bound", "host", "known"),
    [
        ("127.0.0.1", "127.0.0.1:8265", True),
        ("127.0.0.1", "localhost:8265", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "[::1]:8265", True),
        ("127.0.0.1", "evil.example:8265", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "10.0.0.7:8265", False),
        ("127.0.0.1", "", False),
        ("10.0.0.7", "10.0.0.7:8265", True),
        ("0.0.0.0", "10.0.0.7:8265", True),
        ("0.0.0.0", "evil.example:8265", False),
        ("::", "[2001:db8::1]:8265", True),
    ],
)
def test_a_host_is_known_by_address_and_not_by_a_name_that_somebody_pointed_here(
    bound: str, host: str, known: bool
) -> None:
    assert access(bound).knows_host(host) is known


def test_a_host_that_was_named_is_known() -> None:
    rules = access("127.0.0.1", "Hub.example", "lab.example:8000")
    assert rules.knows_host("hub.example:443")
    assert rules.knows_host("lab.example:8000")
    assert not rules.knows_host("lab.example:9000")


@pytest.mark.parametrize(
    ("origin", "host", "known"),
    [
        ("http://127.0.0.1:8265", "127.0.0.1:8265", True),
        ("https://hub.example", "hub.example", True),
        ("http://127.0.0.1:8888", "127.0.0.1:8265", False),
        ("http://evil.example", "127.0.0.1:8265", False),
        ("null", "127.0.0.1:8265", False),
        ("http://[", "127.0.0.1:8265", False),
        ("", "127.0.0.1:8265", False),
        ("file://127.0.0.1:8265", "127.0.0.1:8265", False),
        ("https://allowed.example", "127.0.0.1:8265", True),
    ],
)
def test_an_origin_is_the_host_that_was_asked_or_one_that_was_allowed(origin: str, host: str, known: bool) -> None:
    assert access("127.0.0.1", "allowed.example").knows_origin(origin, host) is known


@pytest.mark.parametrize(
    ("origin", "site", "is_from_elsewhere"),
    [
        ("", "", False),
        ("http://127.0.0.1:8265", "", False),
        ("http://evil.example", "", True),
        ("", "cross-site", True),
        ("", "same-site", True),
        ("", "same-origin", False),
        ("", "none", False),
    ],
)
def test_a_browser_that_says_that_another_page_asks_is_believed(
    origin: str, site: str, is_from_elsewhere: bool
) -> None:
    assert access().is_from_elsewhere(origin, site, "127.0.0.1:8265") is is_from_elsewhere
