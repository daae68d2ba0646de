"""The syntax of strongswan.conf(5): values, quoting, sections, references, includes, and their mistakes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario.errors import ScenarioError
from sim.scenario.swanctl.syntax import Tree, parse

PIECES = [
    *('"', "\\", "{", "}", "#", "=", ":", ",", ".", " ", "\t", "\n", "\r\n", "include ", "*.conf"),
    *("a", "b = c\n", "s {\n", "s : t {\n", "é", "\\n", "}\n", "a = ", "include inc.conf\n"),
]
"""What makes hard files when it is shuffled."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("  two   words  ", "two words"),
        ("cut # off", "cut"),
        ("cut#off", "cut"),
        ('"a  b # c } d"', "a  b # c } d"),
        ('one"two"three', "one two three"),
        ('"one""two"', "one two"),
        (r'"\" \\ \n \r \t \x"', '" \\ \n \r \t x'),
        ('"over \\\n   lines"', "over    lines"),
        ('"over\nlines"', "over\nlines"),
        ("a = b { c : d", "a = b { c : d"),
        (r"C:\temp", r"C:\temp"),
        ('"naïve Straße"', "naïve Straße"),
        ('""', ""),
        ("", None),
        ("# nothing", None),
    ],
)
def test_the_value_of_a_setting(text: str, value: str | None, tmp_path: Path) -> None:
    tree = _parse(tmp_path, f"key = {text}\nnext = 1\n")
    assert tree.root.settings["key"].value == value
    assert tree.root.settings["next"].value == "1"


def test_every_setting_knows_its_line(tmp_path: Path) -> None:
    tree = _parse(tmp_path, '# one\na = "x\ny"\n\ns\n{ b = 1\n  c = "p\\\nq"\n d = 2 }\n')
    lines = {key: setting.at.line for key, setting in tree.root.sections["s"].settings.items()}
    assert lines == {"b": 6, "c": 7, "d": 9}
    assert tree.root.settings["a"].at.line == 2


def test_a_closing_brace_ends_a_value(tmp_path: Path) -> None:
    view = _parse(tmp_path, "a { b = c }\nd { e = f g = h }\n").section("d")
    assert view is not None
    assert view.settings["e"].value == "f g = h"


def test_a_section_that_is_there_twice_is_one_and_the_last_value_holds(tmp_path: Path) -> None:
    view = _parse(tmp_path, "a { x = 1 }\na { y = 2 }\na {\n x = 3\n}\n").section("a")
    assert view is not None
    assert {key: (s.value, s.at.line) for key, s in view.settings.items()} == {"x": ("3", 4), "y": ("2", 2)}


def test_references_inherit_settings_and_sections_and_own_ones_come_first(tmp_path: Path) -> None:
    text = """
    top { x = top
      sub { y = top
        z = top } }
    other { x = other
      w = other
      more { } }
    mine : top, other { sub { y = mine } }
    """
    tree = _parse(tmp_path, text)
    mine, sub = tree.section("mine"), tree.section("mine", "sub")
    assert mine is not None
    assert sub is not None
    assert {key: s.value for key, s in mine.settings.items()} == {"x": "top", "w": "other"}
    assert mine.sections == ("sub", "more")
    assert {key: s.value for key, s in sub.settings.items()} == {"y": "mine", "z": "top"}


def test_an_empty_assignment_takes_an_inherited_value_away(tmp_path: Path) -> None:
    view = _parse(tmp_path, "base { x = 1\n y = 2 }\nmine : base {\n x =\n}\n").section("mine")
    assert view is not None
    assert set(view.settings) == {"y"}


def test_references_go_through_references_and_to_what_comes_later(tmp_path: Path) -> None:
    tree = _parse(tmp_path, "a : b.c { }\nb : d { }\nd { c { x = 1 } }\n")
    view = tree.section("a")
    assert view is not None
    assert view.settings["x"].value == "1"


@pytest.mark.parametrize("text", ["a : b { }\nb : a { }\n", "a : a { x = 1 }\n"])
def test_sections_that_refer_to_each_other_end(text: str, tmp_path: Path) -> None:
    assert _parse(tmp_path, text).section("a") is not None


def test_references_that_need_themselves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"conf:[12]: .*from here go round in a circle"):
        _parse(tmp_path, "a : b.x { }\nb : a { }\n").section("a")


def test_included_files_extend_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "2.conf").write_text("x = two\n")
    (tmp_path / "conf.d" / "1.conf").write_text("x = one\ny = one\ninclude ../deep.conf\n")
    (tmp_path / "conf.d" / ".hidden.conf").write_text("x = hidden\n")
    (tmp_path / "deep.conf").write_text("z = deep")
    view = _parse(tmp_path, "s {\n x = before\n include conf.d/*.conf\n}\n").section("s")
    assert view is not None
    found = {key: (setting.value, Path(setting.at.file).name) for key, setting in view.settings.items()}
    assert found == {"x": ("two", "2.conf"), "y": ("one", "1.conf"), "z": ("deep", "deep.conf")}


@pytest.mark.parametrize(
    "pattern", ['"with space.conf"', r"with\ space.conf", r"[!z]ith\ *.conf", r"[^z]*ce.conf"]
)
def test_include_takes_quotes_escapes_and_wildcards(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "with space.conf").write_text("x = 1\n")
    assert _parse(tmp_path, f"include {pattern}\n").root.settings["x"].value == "1"


def test_a_pattern_may_match_nothing(tmp_path: Path) -> None:
    assert not _parse(tmp_path, "include conf.d/*.conf\n").root.settings


def test_include_is_a_name_where_a_setting_or_section_has_it(tmp_path: Path) -> None:
    tree = _parse(tmp_path, "include= 1\nincludes = 2\ns { include{ } }\n")
    assert set(tree.root.settings) == {"include", "includes"}
    assert set(tree.root.sections["s"].sections) == {"include"}


def test_a_file_may_be_included_again_but_not_inside_itself(tmp_path: Path) -> None:
    (tmp_path / "b.conf").write_text("x = 1\n")
    (tmp_path / "a.conf").write_text("include b.conf\n")
    _parse(tmp_path, "include [ab].conf\ninclude b.conf\n")
    (tmp_path / "b.conf").write_text("\ninclude a.conf\n")
    with pytest.raises(ScenarioError, match=r"b\.conf:2: .*a\.conf includes itself"):
        _parse(tmp_path, "include a.conf\n")


def test_files_that_include_too_many_others_end(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n}.conf").write_text(f"include {n + 1}.conf\n" * 2)
    (tmp_path / "20.conf").write_text("")
    with pytest.raises(ScenarioError, match="more than 1000 files are included"):
        _parse(tmp_path, "include 0.conf\n")


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"a {\n  b = 1\n", 1, "`a` is not closed"),
        (b"a = 1\n}\n", 2, "closes nothing"),
        (b'x = 1\na = "b\n\nc', 2, "has no closing"),
        (b'a = "b\\', 1, "has no closing"),
        (b'\n"a" = b', 2, "quoted text has no place here"),
        (b"a.b = c", 1, "`.` has no place here"),
        (b"a b = c", 1, "after this name comes a name"),
        (b"a\n\n", 1, "after this name comes the end of the file"),
        (b"a : { }", 1, "the name of a section must follow"),
        (b"a : b = c", 1, "after this name comes `=`"),
        (b"{ }", 1, "needs a name before it"),
        (b"= 1", 1, "needs a name before it"),
        (b"\ninclude nowhere.conf\n", 2, "nowhere.conf: No such file"),
        (b"\ninclude .\n", 2, "is not a regular file"),
        (b"include # x\n", 1, "a file name must follow"),
        (b"include " + b"\\x" * 5000, 1, "the file name is longer than 4096"),
        (b"\n\xff\xfe = 1", 2, "not UTF-8"),
        (b"\n\nab\0c", 3, "zero octet"),
        (b"\n\x01\x02 = 1", 2, "control character"),
        (b"a {" * 100, 1, "sections inside each other"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(
    content: bytes, line: int, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "swanctl.conf"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        parse(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "line", ["secret =\n hunter2", "secret = ab}hunter2", "secret = ab}}hunter2", "hunter2"]
)
def test_a_secret_out_of_place_is_not_repeated(tmp_path: Path, line: str) -> None:
    path = tmp_path / "swanctl.conf"
    path.write_text(f"secrets {{\n ike-1 {{\n {line}\n }}\n}}\n")
    with pytest.raises(ScenarioError) as caught:
        parse(path)
    assert f"{path}:" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in [
        (tmp_path, "not a regular"),
        (tmp_path / "pipe", "not a regular"),
        (tmp_path / "no", "No such"),
    ]:
        with pytest.raises(ScenarioError, match=words):
            parse(path)


@settings(max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.binary(max_size=40))
def test_any_file_is_read_or_explained(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "inc.conf").write_text("i = 1\n")
    path = folder / "swanctl.conf"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with suppress(ScenarioError):
        parse(path).section("s")


def _parse(folder: Path, text: str) -> Tree:
    path = folder / "swanctl.conf"
    path.write_bytes(text.encode())
    return parse(path)
