"""Who may import whom: the layers of design.md, read from the imports of every module.

wire <- crypto <- {ike, ipsec} <- tunnels -> net -> wire
{tunnels, traffic} <- scenario <- experiment <- live <- cli
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SIM = Path(__file__).parent.parent / "sim"

# A layer may import itself, what stands here, and nothing else of `sim`.
MAY_IMPORT: dict[str, set[str]] = {
    "units": set(),
    "wire": {"units"},
    "crypto": {"units", "wire"},
    "ike": {"units", "wire", "crypto"},
    "ipsec": {"units", "wire", "crypto"},
    "net": {"units", "wire"},
    "traffic": {"units", "wire", "net"},
    "tunnels": {"units", "wire", "crypto", "ike", "ipsec", "net"},
    "scenario": {"units", "wire", "crypto", "ike", "ipsec", "net", "tunnels", "traffic"},
}
MAY_IMPORT["experiment"] = {"scenario", *MAY_IMPORT["scenario"]}
MAY_IMPORT["live"] = {"experiment", *MAY_IMPORT["experiment"]}  # runs configurations and reports them
MAY_IMPORT[""] = {"experiment", *MAY_IMPORT["experiment"]}  # sim/__init__.py: the public names
MAY_IMPORT["cli"] = {"", "live", *MAY_IMPORT[""]}
MAY_IMPORT["__main__"] = {"cli"}

# Libraries of others, by layer; the standard library is everyone's (but for what ruff bans: test_purity.py).
LIBRARIES: dict[str, set[str]] = {
    "crypto": {"cryptography", "OpenSSL"},
    "net": {"simpy"},
    "traffic": {"numpy"},
    "scenario": {"pydantic", "pydantic_core", "ruamel", "networkx", "numpy", "cryptography"},
    "experiment": {
        *{"numpy", "pandas", "pyarrow", "scipy", "matplotlib", "networkx", "rich", "distributed"},
    },
    "cli": {"typer", "rich"},
}

# The pure core sees octets and `now`.
PURE = {"units", "wire", "crypto", "ike", "ipsec"}
WORLD = {
    *{"socket", "select", "selectors", "asyncio", "threading", "multiprocessing", "subprocess", "logging"},
    *{"sys", "os", "tempfile", "signal", "ssl", "time", "datetime", "random", "secrets", "uuid"},
}

# Only these may put an import inside a function: what it loads is big and not always needed.
LAZY = {"", "experiment", "scenario", "cli"}

# Too big to be loaded by `import sim` or `ipsec-sim --help`.
HEAVY = {
    *{"matplotlib", "pandas", "networkx", "numpy", "scipy", "pyarrow"},
    *{"pydantic", "cryptography", "simpy", "ruamel", "distributed", "OpenSSL"},
}

IMPORT = "import sys, sim\n"
HELP = """
import sys, sim.cli
sys.argv = ["ipsec-sim", "--help"]
try:
    sim.cli.main()
except SystemExit:
    pass
"""
REPORT = "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"


@dataclass(frozen=True)
class Import:
    """One imported name, where it stands, and whether it waits for a function call."""

    file: Path
    line: int
    target: str
    lazy: bool

    @property
    def layer(self) -> str:
        return layer_of(self.file)

    @property
    def root(self) -> str:
        return self.target.split(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(SIM.parent)}:{self.line}: {self.layer or 'sim'} imports {self.target}"


def test_every_folder_and_module_of_sim_is_a_layer() -> None:
    present = {layer_of(file) for file in SIM.rglob("*.py")}
    assert present <= set(MAY_IMPORT)


def test_layers_import_only_what_is_below_them() -> None:
    wrong = [
        str(found)
        for found in imports()
        if found.root == "sim" and target_layer(found.target) not in {found.layer, *MAY_IMPORT[found.layer]}
    ]
    assert not wrong, "\n".join(wrong)


def test_ike_and_ipsec_do_not_know_each_other_and_net_knows_no_ipsec() -> None:
    """The table above must keep saying so, whoever edits it."""
    assert not closure("ike") & {"ipsec", "net"}
    assert not closure("ipsec") & {"ike", "net"}
    assert not closure("net") & {"crypto", "ike", "ipsec"}


def test_libraries_stay_in_their_layer() -> None:
    wrong = [
        str(found)
        for found in imports()
        if found.root != "sim"
        and found.root not in sys.stdlib_module_names
        and found.root not in LIBRARIES.get(found.layer, set())
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_touches_no_socket_clock_log_or_process() -> None:
    wrong = [str(found) for found in imports() if found.layer in PURE and found.root in WORLD]
    assert not wrong, "\n".join(wrong)


def test_imports_inside_functions_stay_at_the_top_layers() -> None:
    """A lazy import of ours deeper down would hide a cycle."""
    lazy = (found for found in imports() if found.lazy and found.root == "sim")
    wrong = [str(found) for found in lazy if found.layer not in LAZY]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("program", [IMPORT, HELP], ids=["import-sim", "help"])
def test_starting_up_loads_no_big_library(program: str) -> None:
    """What makes a start quick is what it does not load; a wall clock would only measure the machine."""
    command = [sys.executable, "-c", program + REPORT]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=SIM.parent).stdout
    loaded = set(output.rpartition("LOADED")[2].split())
    assert "sim" in loaded
    assert not loaded & HEAVY


def test_the_reader_sees_relative_lazy_and_type_checking_imports() -> None:
    source = """
from sim import net, load
from . import esp
from ..ike.config import ChildConfig
if TYPE_CHECKING:
    import sim.tunnels.stack
def late():
    from ..cli import main
"""
    found = list(_walk(SIM / "ipsec" / "probe.py", ast.parse(source), lazy=False))
    assert [(target_layer(name.target), name.lazy) for name in found] == [
        ("net", False),
        ("", False),
        ("ipsec", False),
        ("ike", False),
        ("tunnels", False),
        ("cli", True),
    ]


def imports() -> Iterator[Import]:
    """Every import of every module of `sim`; those for type checkers count, a type is a dependency too."""
    for file in sorted(SIM.rglob("*.py")):
        yield from _walk(file, ast.parse(file.read_text(), str(file)), lazy=False)


def _walk(file: Path, node: ast.AST, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(file, node.lineno, alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (Import(file, node.lineno, target, lazy) for target in _targets(file, node))
    inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(file, child, inside)


def _targets(file: Path, node: ast.ImportFrom) -> list[str]:
    """`from sim import net` and `from . import net` name a layer only together with what they import."""
    module = node.module or ""
    if node.level:
        package = ["sim", *file.relative_to(SIM).parts[:-1]]
        module = ".".join([*package[: len(package) - node.level + 1], *filter(None, [module])])
    if module == "sim":
        return [f"sim.{alias.name}" if alias.name in MAY_IMPORT else "sim" for alias in node.names]
    return [module]


def layer_of(file: Path) -> str:
    """The folder under sim/, or the module's own name; "" for sim/__init__.py."""
    first = file.relative_to(SIM).parts[0]
    return first.removesuffix(".py").replace("__init__", "")


def target_layer(target: str) -> str:
    return [*target.split("."), ""][1]


def closure(layer: str) -> set[str]:
    """Everything that a layer may reach through others."""
    reached: set[str] = set()
    front = {layer}
    while front:
        reached |= front
        front = set().union(*(MAY_IMPORT[name] for name in front)) - reached
    return reached - {layer}
