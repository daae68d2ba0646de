"""A scenario from its YAML file, with everything that is wrong with it reported at once."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path as FilePath

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from sim.scenario.consistency import check_consistency, check_tunnels
from sim.scenario.errors import Path, Problem, ScenarioError, dotted
from sim.scenario.explain import explain
from sim.scenario.multiply import multiply
from sim.scenario.pem_files import inline_files
from sim.scenario.schema import ReplayFlow, Scenario
from sim.scenario.source import MAX_OCTETS, Source, YamlReader
from sim.wire.buffer import WireError
from sim.wire.pcapng import read_capture

Overrides = Mapping[str, object] | Iterable[str]
"""`{"links.0.delay": "5 ms"}`, or texts as on the command line: `links.0.delay=5 ms`."""


def load(path: str | FilePath, overrides: Overrides | None = None) -> Scenario:
    """The scenario of a file. ScenarioError lists everything that is wrong, each with its line.

    An override replaces one value: names and indices joined by dots lead to it, and an item of a list that
    has a name may be called by it (`traffic.up.rate=2 Mbit/s`). Tables that the file leaves out are made.
    """
    return load_text(read_octets(path), str(path), overrides)


def load_text(text: str | bytes, file: str = "scenario", overrides: Overrides | None = None) -> Scenario:
    """The scenario of a text; `file` is what errors name, and files that it mentions lie beside it."""
    reader = YamlReader(file)
    data = reader.read(text.encode() if isinstance(text, str) else text)
    if not isinstance(data, dict):
        what = "is empty" if data is None else "is not a mapping"
        raise ScenarioError([Problem(f"{file}:1", "", f"the scenario {what}: it starts with `name: ...`")])
    problems = list(reader.problems)
    problems += _override(data, reader.lines, _pairs(overrides or ()))
    scenario, more = _checked(data, Source(file, reader.lines))
    problems += more
    if scenario is None or problems:
        raise ScenarioError(problems)
    return scenario


def load_plain(data: dict[str, object]) -> Scenario:
    """The scenario of values as YAML would have them, such as a program makes for a thousand nodes.

    ScenarioError lists everything that is wrong.
    """
    scenario, problems = _checked(data, Source())
    if scenario is None or problems:
        raise ScenarioError(problems)
    return scenario


def read_octets(path: str | FilePath) -> bytes:
    try:
        with FilePath(path).open("rb") as stream:
            octets = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise ScenarioError([Problem(str(path), "", error.strerror or str(error))]) from None
    if len(octets) > MAX_OCTETS:
        raise ScenarioError(
            [Problem(str(path), "", f"larger than {MAX_OCTETS >> 20} MiB: is this a scenario?")]
        )
    return octets


def _checked(data: dict[str, object], source: Source) -> tuple[Scenario | None, list[Problem]]:
    """The scenario, unless it has not even the right form, and what is wrong with it."""
    problems = inline_files(data, source)
    scenario, more = _validate(data, source)
    problems += more
    if scenario is not None:
        scenario, more = _multiplied(scenario)
        problems += more
        problems += _read_captures(scenario)
    return scenario, problems


def _multiplied(written: Scenario) -> tuple[Scenario, list[Problem]]:
    """The scenario with its counts carried out, and what does not fit together."""
    scenario, problems = multiply(written)
    problems = problems or check_consistency(scenario)
    if scenario is not written:
        problems = [*check_tunnels(written), *problems]
    return scenario, list(dict.fromkeys(problems))


def _validate(data: dict[str, object], source: Source) -> tuple[Scenario | None, list[Problem]]:
    shapes: dict[int, type] = {}
    try:
        scenario = Scenario.model_validate(data, context=shapes)
    except ValidationError as error:
        return None, explain(error, data, shapes, source)
    scenario._source = source
    return scenario, []


def _read_captures(scenario: Scenario) -> list[Problem]:
    """Reads each replayed capture to its end, and keeps its digest for the scenario's hash."""
    problems = []
    digests: dict[str, str] = {}
    for index, flow in enumerate(scenario.traffic):
        if not isinstance(flow, ReplayFlow) or flow.file in digests:
            continue
        file = scenario.capture_file(flow)
        try:
            if not stat.S_ISREG(file.stat().st_mode):  # a pipe without a writer would be waited for
                raise ValueError("not a regular file")
            packets = sum(1 for _ in read_capture(file))
            digests[flow.file] = hashlib.sha256(file.read_bytes()).hexdigest()
        except (OSError, WireError, ValueError) as error:  # ValueError: no file has such a name
            text = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(scenario.problem(("traffic", index, "file"), f"{file}: {text}"))
        else:
            if not packets:
                problems.append(scenario.problem(("traffic", index, "file"), f"{file}: holds no packet"))
    scenario._source = replace(scenario._source, digests=digests)
    return problems


def _pairs(overrides: Overrides) -> list[tuple[str, str, object]]:
    """(as written, path, value) of each override."""
    if isinstance(overrides, Mapping):
        return [(f"--set {path}={value}", path, value) for path, value in overrides.items()]
    pairs: list[tuple[str, str, object]] = []
    for text in overrides:
        path, equals, value = text.partition("=")
        label = f"--set {text}"
        if not equals or not path.strip() or not path.isprintable():
            raise ScenarioError([Problem(label, "", "write PATH=VALUE, such as links.0.delay=5 ms")])
        reader = YamlReader(label, lines=False)
        octets = value.encode(errors="surrogateescape")  # as they stood on the command line
        pairs.append((label, path.strip(), reader.read(octets)))
        if reader.problems:
            raise ScenarioError(reader.problems)
    return pairs


def _override(
    data: dict[str, object], lines: dict[Path, str], pairs: list[tuple[str, str, object]]
) -> list[Problem]:
    problems = []
    for label, dotted_path, value in pairs:
        try:
            path = _put(data, dotted_path.split("."), value)
        except KeyError as error:
            problems.append(Problem(label, dotted_path, str(error.args[0])))
        else:
            for old in [old for old in lines if old[: len(path)] == path]:
                del lines[old]
            lines[path] = label
    return problems


def _put(data: dict[str, object], words: list[str], value: object) -> Path:
    """Replace what the words lead to; the path of what is new. KeyError says what leads nowhere.

    A table that the file leaves out is made when the schema knows it.
    """
    place: object = data
    path: Path = ()
    for at, word in enumerate(words[:-1]):
        if isinstance(place, dict) and place.get(word) is None and _knows(data, place, word):
            place[word] = _nested(words[at + 1 :], value)
            return (*path, word)
        step = _step(place, word, path)
        place, path = place[step], (*path, step)  # type: ignore[index]
    step = words[-1] if isinstance(place, dict) else _step(place, words[-1], path)
    place[step] = value  # type: ignore[index]
    return (*path, step)


def _knows(data: object, place: object, word: str) -> bool:
    """Whether the schema has a key of that name for this mapping in a scenario's data."""
    shapes: dict[int, type[BaseModel]] = {}
    with suppress(ValidationError):
        Scenario.model_validate(data, context=shapes)
    shape = shapes.get(id(place))
    return shape is not None and word in {field.alias or name for name, field in shape.model_fields.items()}


def _nested(words: list[str], value: object) -> object:
    return {words[0]: _nested(words[1:], value)} if words else value


def _step(data: object, word: str, path: Path) -> str | int:
    if isinstance(data, dict) and word in data:
        return word
    if isinstance(data, list):
        if word.isdecimal() and int(word) < len(data):
            return int(word)
        for index, item in enumerate(data):
            if isinstance(item, dict) and item.get("name") == word:
                return index
        raise KeyError(f"{dotted(path)} has {len(data)} items, counted from 0, and none is named {word}")
    known = f"; there is {', '.join(map(str, data))}" if isinstance(data, dict) else ""
    raise KeyError(f"{dotted(path) or 'the scenario'} has no {word}{known}")


def dump(scenario: Scenario) -> str:
    """The scenario as YAML, every default written out; it loads to an equal one."""
    import io

    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(scenario.plain(), stream)
    return stream.getvalue()
