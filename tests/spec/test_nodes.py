"""Reading YAML into nodes: places, limits, every kind of broken input; and merge, assign and the way back to YAML."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kvmctl.errors import Problem, SpecError
from kvmctl.spec import yaml_reader
from kvmctl.spec.nodes import Node, assign, merge, plain, read_nodes, to_yaml


@pytest.fixture(params=["libyaml", "pure"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds for the C parser and for the one written in Python."""
    if request.param == "libyaml":
        assert yaml_reader.LOADER.__name__ == "CSafeLoader"
    else:
        monkeypatch.setattr(yaml_reader, "LOADER", yaml.SafeLoader)


def read(text: str) -> Node:
    return read_nodes(text.encode(), "vm.yaml")


def failure(data: str | bytes) -> SpecError:
    with pytest.raises(SpecError) as caught:
        read_nodes(data if isinstance(data, bytes) else data.encode(), "vm.yaml")
    assert caught.value.problems
    return caught.value


# -- what is read --------------------------------------------------------------------------------------


def test_scalars_stay_what_was_written() -> None:
    text = "a: NO\nb: 010\nc: 1e3\nd: 0x10\ne: 'no'\nf: |\n  x\ng: ~\nh:\ni: null\nj: 'null'\n12: 4\nyes: 1\n"
    node = read(text)
    assert plain(node) == {
        "a": "NO", "b": "010", "c": "1e3", "d": "0x10", "e": "no", "f": "x\n",
        "g": None, "h": None, "i": None, "j": "null", "12": "4", "yes": "1",
    }  # fmt: skip
    assert {key for key, (_, value) in node.keys.items() if value.quoted} == {"e", "f", "j"}


def test_places_count_characters_from_one() -> None:
    node = read("größe: 1\ndisks:\n  - {näme: 'ü', b: x}\nlast:\n")
    place, disks = node.keys["disks"]
    assert (place.line, place.column, place.text) == (2, 1, "disks:")
    item = disks.items[0]
    assert (item.place.line, item.place.column) == (3, 5)
    place, value = item.keys["b"]
    assert (place.line, place.column, value.place.column, place.file) == (3, 17, 20, "vm.yaml")
    assert value.place.text == "  - {näme: 'ü', b: x}"
    place, value = node.keys["last"]
    assert (value.place.line, value.place.column, value.null) == (4, 1, True)


def test_places_hold_for_every_kind_of_line_break() -> None:
    node = read("a: 1\r\nb: 2\rc: 3\n")
    assert [(place.line, place.text) for place, _ in node.keys.values()] == [(1, "a: 1"), (2, "b: 2"), (3, "c: 3")]


def test_a_byte_order_mark_is_tolerated() -> None:
    node = read_nodes(b"\xef\xbb\xbfname: x\n", "vm.yaml")
    assert plain(node) == {"name": "x"}
    assert node.keys["name"][0].column == 1


def test_aliases_give_the_same_node() -> None:
    assert plain(read("a: &x {b: [1, 2]}\nc: *x\n")) == {"a": {"b": ["1", "2"]}, "c": {"b": ["1", "2"]}}


# -- what is refused -----------------------------------------------------------------------------------

MISTAKES = {
    "a:\n\tb: 1\n": (2, 1, "a tab is used for indentation"),
    "a:\n  b: 1\n\tc: 2\n": (3, 1, "a tab is used for indentation"),
    "a: b: c\n": (1, 5, "a ':' is not expected here"),
    "a: [1, 2\nb: 3\n": (2, 2, "a ',' or the closing ']' is missing for what is opened on line 1"),
    "a: {b: 1\n": (2, 1, "a ',' or the closing '}' is missing for what is opened on line 1"),
    "a: 'x\nb: 1\n": (1, 4, "this quotation mark is never closed"),
    "name: x\nfoo\nbar: 1\n": (2, 1, "there is no ':' after this key"),
    "a: @x\n": (1, 4, "a value cannot start with '@'"),
    "a: *x\n": (1, 4, "the alias *x is not known here: no &x stands before it"),
    "a: &x [*x]\n": (1, 8, "the alias *x contains itself"),
    "a: - b\n": (1, 4, "a list item cannot start here"),
    "a: |x\n  b\n": (1, 5, "nothing may follow '|' or '>' on its line"),
    'a: "\\q"\n': (1, None, "this is not a character that '\\' can name in double quotes"),
    'a: "\\U00FFFFFF"\n': (1, None, ""),
    'a: "\\ud800"\n': (1, None, ""),
    "a: 1\n- b\n": (2, 1, "this line does not fit what is above it"),
    ": 1\n": (1, None, ""),
    "a: 1\n---\nb: 1\n": (2, 1, "a second document starts here"),
    "<<: {a: 1}\n": (1, 1, "the merge key '<<' is not allowed"),
    "a: !!python/object/apply:os.system [id]\n": (1, 4, "the tag '!!python/object/apply:os.system' is not allowed"),
    "a: !x y\n": (1, 4, "the tag '!x' is not allowed"),
    "? [a]\n: b\n": (1, 3, "a list cannot be a key"),
    "? {a: 1}\n: b\n": (1, 3, "a map cannot be a key"),
    "- a\n": (1, 1, "this is a list, and a spec is a map of keys"),
    "name\n": (1, 1, "this is a single value, and a spec is a map of keys"),
    "": (1, 1, "the file is empty"),
    "# nothing\n": (1, 1, "the file is empty"),
    "---\n": (1, 1, "the file is empty"),
    "%TAG ! x:\n---\na: 1\n": (1, 1, "a line that starts with '%' is not allowed"),
    "<domain>\n  <name>a: b</name>\n</domain>\n": (1, 1, "this is XML, and a spec is YAML"),
}


@pytest.mark.parametrize("text", MISTAKES, ids=repr)
def test_a_mistake_has_its_place_and_plain_words(text: str) -> None:
    line, column, message = MISTAKES[text]
    error = failure(text)
    problem = error.problems[0]
    assert error.code == "spec-invalid"
    assert problem.line == line
    if column:
        assert problem.column == column
    if message:
        assert problem.message == message
    assert problem.hint
    assert not any(word in problem.message for word in ("block", "token", "scalar", "mapping", "sequence"))


def test_a_missing_blank_after_the_colon_is_hinted_at() -> None:
    assert failure("name:web1\ncpu:4\n").problems[0].hint == "put a blank after the ':' of a key"


def test_all_duplicate_keys_are_told_at_once_and_with_a_later_syntax_error() -> None:
    error = failure("a: 1\nb: {c: 1, c: 2}\na: 3\nd:\n  - e: 1\n    e: 2\nf: [\n")
    assert [(problem.line, problem.column, problem.path) for problem in error.problems] == [
        (2, 11, "b.c"),
        (3, 1, "a"),
        (6, 5, "d[0].e"),
        (8, 1, ""),
    ]
    assert error.problems[1].message == "key given twice (first on line 1)"
    assert error.message == "vm.yaml has 4 mistakes"


@pytest.mark.parametrize(
    ("data", "line", "column", "part"),
    [
        (b"a: 1\nb: \xff\xfe\n", 2, 4, "byte 0xff is not UTF-8"),
        ("ä: ".encode() + b"\xe4\n", 1, 4, "byte 0xe4 is not UTF-8"),
        (b"\xef\xbb\xbfa: \xff", 1, 4, "byte 0xff is not UTF-8"),
        (b"a: 1\nb: \x07x\n", 2, 4, "U+0007"),
        ("a: 1\nbä: \x9b31m\n".encode(), 2, 5, "U+009B"),
        ("a: x\u2028y\n".encode(), 1, 5, "U+2028"),
        (b"\0" * 5000, 1, 1, "binary data"),
        (b"QFI\xfb\x00\x00\x00\x03", 1, 1, "a qcow2 disk image"),
        ("name: x".encode("utf-16"), 1, 1, "UTF-16"),
    ],
)
def test_what_is_not_text_is_refused_at_its_place(data: bytes, line: int, column: int, part: str) -> None:
    error = failure(data)
    assert error.code == "spec-unreadable"
    assert (error.problems[0].line, error.problems[0].column) == (line, column)
    assert part in error.problems[0].message


def test_escaped_control_characters_are_left_to_the_types() -> None:
    assert plain(read('a: "x\\x07y\\n"\n')) == {"a": "x\x07y\n"}


# -- limits --------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + below] * 10)}]\n" for below, name in zip("abcdefgh", "bcdefghi")
)
BOMBS = {
    "laughs": LAUGHS.encode(),
    "wide laughs": b"a: &a [" + b"x," * 5000 + b"]\nb: [*a,*a,*a,*a]\n",
    "aliases": b"a: &a x\nb: [" + b"*a," * 101 + b"]\n",
    "lists": b"a: " + b"[" * 1_000_000,
    "maps": b"{a: " * 200_000,
    "blocks": b"\n".join(b" " * i + b"a:" for i in range(500)),
    "dashes": b"- " * 500_000,
    "questions": b"? " * 500_000,
    "values": b"a: [" + b"x," * 500_000 + b"]",
    "keys": b"".join(b"k%d: 1\n" % i for i in range(60_000)),
    "tags": b"".join(b"%%TAG !%d! x\n" % i for i in range(60_000)) + b"---\na: 1\n",
    "yaml": b"%YAML 1.1\n" * 100_000,
    "documents": b"---\n" * 200_000,
    "size": b"a" * (100 << 20),
    "depth by alias": b"a: &a " + b"[" * 20 + b"]" * 20 + b"\nb: " + b"[" * 20 + b"*a" + b"]" * 20 + b"\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_soon(name: str) -> None:
    start = time.process_time()
    error = failure(BOMBS[name])
    # The parser in Python is many times slower, and still must end.
    assert time.process_time() - start < (1.0 if yaml_reader.LOADER is not yaml.SafeLoader else 10.0)
    if name not in ("tags", "yaml", "documents"):
        assert error.code == "spec-unreadable", error.details


def test_the_limits_themselves_are_allowed() -> None:
    deep = "a: " + "[" * 31 + "x" + "]" * 31
    assert read(deep).kind == "map"
    assert failure(deep.replace("x", "[x]")).code == "spec-unreadable"
    assert read("a: &a x\nb: [" + "*a," * 100 + "]\n").kind == "map"


@given(st.one_of(st.binary(), st.text().map(str.encode), st.text("ab:-?[]{},&*!|>'\"%@` \n\t#<~1").map(str.encode)))
@example(b"&a *a")
@example(b"a: *a\n? *b\n: 1\n")
@example(b"? &a [*a]\n: *a\n")
def test_any_bytes_give_a_map_or_a_spec_error(data: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        assert read_nodes(data, "vm.yaml").kind == "map"
    except SpecError as error:
        problems = error.problems or (Problem(file="", line=0, column=0, path="", message="no problem is told"),)
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert list(problem.lines())


# -- merge and assign ----------------------------------------------------------------------------------


def test_merge_is_deep_for_maps_and_the_upper_wins() -> None:
    below = read("cpu: {count: 2, model: x}\nnetworks: [a]\ngraphics: vnc\nmemory: 1GiB\n")
    above = read("cpu: {count: 4, pin: auto}\nnetworks: [b]\ngraphics: ~\nname: y\nrng: null\n")
    merged = merge(below, above)
    expected = {
        "cpu": {"count": "4", "model": "x", "pin": "auto"}, "networks": ["b"], "memory": "1GiB", "name": "y",
    }  # fmt: skip
    assert plain(merged) == expected
    assert plain(below) == plain(read("cpu: {count: 2, model: x}\nnetworks: [a]\ngraphics: vnc\nmemory: 1GiB\n"))
    place, _ = merged.keys["cpu"][1].keys["model"]
    assert (place.line, place.column) == (1, 17)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("cpu.count", "4", {"cpu": {"count": "4"}}),
        ("cpu.topology.cores", "2", {"cpu": {"count": "1", "topology": {"cores": "2"}}}),
        ("disks.vdb.size", "40GiB", {"disks": [{"name": "vda"}, {"name": "vdb", "size": "40GiB"}]}),
        ("disks.0.size", "1", {"disks": [{"name": "vda", "size": "1"}, {"name": "vdb"}]}),
        ("networks", "[a, {network: b}]", {"networks": ["a", {"network": "b"}]}),
        ("description", "a: b # c", {"description": "a: b # c"}),
        ("description", "*x", {"description": "*x"}),
        ("description", '"4"', {"description": "4"}),
        ("description", "", {"description": None}),
        ("nothing.here", "x", {"nothing": {"here": "x"}}),
    ],
)
def test_assign_sets_one_key(path: str, text: str, expected: dict[str, object]) -> None:
    before = "cpu: {count: 1}\ndisks: [{name: vda}, {name: vdb}]\nnothing:\n"
    node = read(before)
    changed = assign(node, path, text)
    assert plain(changed) == {**plain(read(before)), **expected}  # type: ignore[dict-item]
    assert plain(node) == plain(read(before))


def test_assign_says_where_the_value_comes_from() -> None:
    place, node = assign(read("a: 1\n"), "cpu.count", "four").keys["cpu"]
    assert place.file == "--set cpu.count=four"
    assert node.keys["count"][1].place.file == "--set cpu.count=four"
    assert assign(read("a: 1\n"), "a", "x").keys["a"][1].quoted is False
    assert assign(read("a: 1\n"), "a", "'x'").keys["a"][1].quoted is True


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("", "1", "a part of the key is empty"),
        ("a..b", "1", "a part of the key is empty"),
        ("disks.vdz.size", "1", "the list 'disks' has no item 'vdz'"),
        ("disks.5.size", "1", "the list 'disks' has no item '5'"),
        ("cpu.count", "1", "'cpu' is the value '4' here and has no keys"),
        (".".join("a" * 40), "1", "the key has more than 32 parts"),
        ("a", "[1", "a ',' or the closing ']' is missing for what is opened on line 1"),
        ("a", "{b: 1, b: 2}", "key given twice (first on line 1)"),
        ("a", "x\x07", "the character U+0007 cannot be seen and is not allowed"),
        ("a", "[1] 2", ""),
        ("a", "\udcff", "this is not text: byte 0xff is not UTF-8"),
    ],
)
def test_assign_refuses_what_it_cannot_do(path: str, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        assign(read("cpu: 4\ndisks: [{name: vda}]\n"), path, text)
    assert caught.value.problems[0].file.startswith("--set ")
    if message:
        assert caught.value.problems[0].message == message


# -- and back to YAML ----------------------------------------------------------------------------------

STYLE = """\
name: web1
cpu: 4
autostart: true
networks: [default, br0]
pin:
  0: "2-3"
mac: "52:54:00:12:34:56"
pci: ["0000:3b:00.0"]
size: 20GiB
quota: 150%
disks:
  - name: vda
    path: /srv/data.raw
    tags: []
  - name: vdb
    limits: {}
description: |-
  two
  lines: here
words: ["no", "on", "1e3", "0x1", "12:30", "2024-01-01", "", " x", "a: b", "-"]
raw_xml: |
  <a b="c">
    <d/>
  </a>
nothing: null
"""


def test_the_style_of_to_yaml() -> None:
    data = {
        "name": "web1", "cpu": 4, "autostart": True, "networks": ["default", "br0"], "pin": {0: "2-3"},
        "mac": "52:54:00:12:34:56", "pci": ["0000:3b:00.0"], "size": "20GiB", "quota": "150%",
        "disks": [{"name": "vda", "path": "/srv/data.raw", "tags": []}, {"name": "vdb", "limits": {}}],
        "description": "two\nlines: here",
        "words": ["no", "on", "1e3", "0x1", "12:30", "2024-01-01", "", " x", "a: b", "-"],
        "raw_xml": '<a b="c">\n  <d/>\n</a>\n', "nothing": None,
    }  # fmt: skip
    assert to_yaml(data) == STYLE
    assert plain(read(to_yaml(data))) == {**data, "cpu": "4", "autostart": "true", "pin": {"0": "2-3"}}


def test_long_lists_are_blocks() -> None:
    written = to_yaml({"a": [f"item{number}" for number in range(30)]})
    assert written.startswith("a:\n  - item0\n  - item1\n")


TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(" \n\t:#-?x'\"|>", max_size=20),
    st.text("0123456789.:-_eExXob+,~nyYofNO", max_size=8),
    st.sampled_from(["null", "yes", "Off", "1_000", "0o17", "-.inf", "=", "<<", "---", "...", "12:30:45", "1" * 1100]),
)
DATA = st.dictionaries(
    TEXTS,
    st.recursive(
        TEXTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    ),
    min_size=1,
    max_size=4,
)


@given(DATA)
@example({"a": ["x\n", " \n x", "\n\nx\n\n", "\tx\ny"], "b": {"c": "x\n \n"}})
@example({"k" * 2000: [["a\nb\n"], [{"x" * 1500: "y"}]]})
def test_written_data_reads_back_equal(data: dict[str, object]) -> None:
    written = to_yaml(data)
    node = read_nodes(written.encode(), "vm.yaml")
    assert plain(node) == data, written


@given(DATA)
def test_other_readers_of_yaml_1_1_agree(data: dict[str, object]) -> None:
    assert yaml.load(to_yaml(data), Loader=yaml.CSafeLoader) == data


@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans() | st.none(), min_size=1))
def test_numbers_and_truth_values_are_not_quoted(data: dict[str, object]) -> None:
    node = read_nodes(to_yaml(data).encode(), "vm.yaml")
    assert not any(inner.quoted for _, inner in node.keys.values())
    assert yaml.safe_load(to_yaml(data)) == data
