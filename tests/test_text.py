"""Words from outside are one line that can be printed, of bounded length."""

from __future__ import annotations

import pytest

from gnetsegd.text import MAX_CHARACTERS, clean


@pytest.mark.parametrize(
    ("words", "cleaned"),
    [
        ("Größe 5 µm, 日本, é", "Größe 5 µm, 日本, é"),
        ("two\r\nlines\tand  spaces ", "two lines and spaces"),
        ("\x1b]0;title\x07\x1b[2J\x00\x7f\x9b31m", "?]0;title??[2J???31m"),
        ("left\u202eright\u2066\u200b\ufeff", "left?right???"),
        ("line\u2028paragraph\u2029next\x85", "line paragraph next"),
        ("\ud800lone\ue000private\U000e0001tag\U0010ffffnone", "?lone?private?tag?none"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_what_could_command_a_terminal_or_systemd_is_gone(words: str, cleaned: str) -> None:
    assert clean(words) == cleaned
    assert clean(cleaned) == cleaned, "to clean it twice changes nothing"


def test_long_words_are_cut_and_show_it() -> None:
    assert clean("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    assert clean("x" * (MAX_CHARACTERS + 1)) == "x" * (MAX_CHARACTERS - 1) + "…"
    assert clean("ab cd", 4) == "ab …"


def test_words_of_a_gigabyte_would_not_be_looked_at_to_their_end() -> None:
    class Huge(str):
        def split(self, *_: object) -> list[str]:  # type: ignore[override]
            raise AssertionError("all of it was looked at")

    assert clean(Huge("x" * 10_000)).endswith("…")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("rtsp://user:secret@192.0.2.1/s: gone", "rtsp://192.0.2.1/s: gone"),
        ("rtsp:/user:secret@192.0.2.1/s", "rtsp:/192.0.2.1/s"),
        ("http://user:sec@ret@host and ftp://u:p@other", "http://host and ftp://other"),
        ("mail me@example.org about /a/b@c", "mail me@example.org about /a/b@c"),
        ("http://host/x@y", "http://host/x@y"),
    ],
)
def test_user_and_password_of_an_address_are_left_out(words: str, left: str) -> None:
    assert clean(words) == left
    assert clean(clean(words)) == left
