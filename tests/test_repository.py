"""What holds for the repository as a whole: its files, its packages, and the ties between the rooms of the house."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.metadata
import pydoc
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for package in ("bundle", "scripts") for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CONFIGS = sorted(path for ending in ("yaml", "json") for path in (ROOT / "configs").rglob(f"*.{ending}"))
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))  # files of scripts.sweep, which MONAI does not read

# Rooms are tied by configs; these are all the imports from one room of `bundle` to another, and why.
TIES = {
    ("handlers", "metrics"): "a handler feeds a metric the outputs of its engine",
    ("handlers", "networks"): "a handler writes weights in the one form that networks read",
    ("handlers", "transforms"): "a picture of attention lies on the image as the masks that are drawn from it do",
    ("inferers", "data"): "a model in use reads radiographs, prompts and its tokenizer from files",
    ("inferers", "networks"): "a model in use is a network with the weights of a run",
    ("inferers", "transforms"): "what a model in use is shown is fitted and cut as in training",
    ("transforms", "data"): "a transform is the dictionary form of a reader",
}
UNWANTED = {
    "ignite": "another project that overwrites the module of pytorch-ignite",
    "pylibjpeg-libjpeg": "GPL",
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 90


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


MODULES = {module_name(path): path for path in SOURCES}


def imports(module: str) -> set[str]:
    """Modules of this repository that a module imports, at the top or in a function, as absolute names."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            members = {f"{base}.{alias.name}" for alias in node.names}
            found |= (members & MODULES.keys()) | ({base} if members - MODULES.keys() else set())
    return {name for name in found if name.split(".")[0] in ("bundle", "scripts")}


def room(module: str) -> str:
    """`networks` for `bundle.networks.blocks.unet`; empty for `bundle` itself and for scripts."""
    top, *rest = module.split(".")
    return rest[0] if top == "bundle" and rest else ""


def test_bundle_never_imports_scripts() -> None:
    ties = [(module, other) for module in MODULES for other in imports(module)]
    assert [tie for tie in ties if tie[0].startswith("bundle") and tie[1].startswith("scripts")] == []


def test_rooms_import_other_rooms_only_for_a_reason() -> None:
    ties = [(module, other) for module in MODULES for other in imports(module) if room(module) and room(other)]
    apart = [tie for tie in ties if room(tie[0]) != room(tie[1])]
    unreasoned = [tie for tie in apart if (room(tie[0]), room(tie[1])) not in TIES]
    assert unreasoned == [], "let a config tie them, or give the reason in TIES"


def test_imports_are_of_modules_that_exist_and_have_no_circle() -> None:
    graph = {module: imports(module) for module in MODULES}
    assert {other for others in graph.values() for other in others} <= MODULES.keys()
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_are_seen_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules above are worth what `imports` sees."""
    names = ("bundle.a", "bundle.a.one", "bundle.a.two", "bundle.b", "bundle.b.three", "scripts.x")
    for name in names:
        path = tmp_path / (name.replace(".", "/") + ("/__init__.py" if name.count(".") == 1 else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        monkeypatch.setitem(MODULES, name, path)
    MODULES["bundle.a.one"].write_text(
        "import torch, scripts.x\nfrom . import two\nfrom ..b.three import f\ndef g():\n    from bundle import b\n"
    )
    assert imports("bundle.a.one") == {"scripts.x", "bundle.a.two", "bundle.b.three", "bundle.b"}


def public_modules() -> Iterator[tuple[str, ast.Module]]:
    for module, path in MODULES.items():
        if not path.name.startswith("_"):
            yield module, syntax(path)


def exported(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, none where the module has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    return None


def defined(tree: ast.Module) -> dict[str, ast.stmt]:
    """The statement that binds each top-level name of a module."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        else:
            bound = (
                leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store)
            )
            found |= dict.fromkeys(bound, node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                found |= {alias.asname or alias.name: node for alias in node.names}
    return found


def test_public_modules_say_what_they_export() -> None:
    assert [module for module, tree in public_modules() if exported(tree) is None] == []


def test_exported_names_exist_and_are_documented() -> None:
    missing, silent = [], []
    for module, tree in public_modules():
        names = defined(tree)
        for name in exported(tree) or []:
            node = names.get(name)
            if node is None:
                missing.append(f"{module}.{name}")
            elif isinstance(node, ast.FunctionDef | ast.ClassDef) and not ast.get_docstring(node):
                silent.append(f"{module}.{name}")
    assert missing == []
    assert silent == []


def test_files_and_functions_stay_short() -> None:
    files, functions = [], []
    for path in SOURCES + TESTS:
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES:
            files.append(path.relative_to(ROOT))
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    functions.append((path.relative_to(ROOT), node.name, length))
    assert files == []
    assert functions == []


def test_names_of_test_files_are_unique() -> None:
    """Without `__init__.py` files pytest imports tests by their file name alone."""
    names = [path.name for path in TESTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("path", [path for path in CONFIGS if path not in SWEEPS], ids=lambda path: path.name)
def test_config_parses_without_repeated_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_FAIL_ON_DUPLICATE_CONFIG", "1")
    assert ConfigParser.load_config_file(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_config_names_components_that_exist(path: Path) -> None:
    for target in targets(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert pydoc.locate(target) is not None, target


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` of this bundle's own package in a config, also in an overlay's key such as `a::_target_`."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        if str(key).endswith("_target_") and str(child).startswith("bundle."):
            yield child
        yield from targets(child)


def listed(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]


REQUIREMENTS = listed("requirements.txt") + listed("requirements-dev.txt")


def test_constraints_pin_every_requirement_within_its_range() -> None:
    pins: dict[str, str] = {}
    for line in listed("constraints.txt"):
        match = re.fullmatch(r"==(\S+)", str(line.specifier))
        assert match, f"{line} is no exact version"
        pins[canonicalize_name(line.name)] = match[1]
    for requirement in REQUIREMENTS:
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"constraints.txt lacks {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} rules out the pinned {version}"


def test_every_requirement_is_bounded_and_explained() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for requirement in REQUIREMENTS:
        assert {rule.operator for rule in requirement.specifier} == {">=", "<"}, requirement
        assert f"| `{requirement.name}` |" in text, f"CONTRIBUTING.md gives no reason for {requirement.name}"


def test_unwanted_packages_are_neither_required_nor_installed() -> None:
    named = {canonicalize_name(line.name) for line in REQUIREMENTS + listed("constraints.txt")}
    assert named & UNWANTED.keys() == set()
    owners = importlib.metadata.packages_distributions()
    assert set(owners["ignite"]) == {"pytorch-ignite"}


def test_no_installed_package_hides_ours() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {"bundle", "scripts"} & owners.keys() == set()
    assert Path(str(importlib.import_module("bundle").__file__)).is_relative_to(ROOT)


def test_tests_have_no_network() -> None:
    """The broadcast address, which no connection can reach, stands for another machine."""
    with socket.socket() as client, pytest.raises(pytest.fail.Exception, match="use no network"):
        client.connect(("255.255.255.255", 9))
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


@pytest.mark.slow
def test_runner_applies_the_logging_file(tmp_path: Path) -> None:
    config = tmp_path / "stage.yaml"
    config.write_text("run: []\n", encoding="utf-8")
    program = f"""
import logging
from monai.bundle import ConfigWorkflow
ConfigWorkflow({str(config)!r}, meta_file=[], logging_file={str(ROOT / "configs" / "logging.conf")!r})
logging.getLogger("stage").info("epoch 1")
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").warning("nvImageCodec is not available")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO stage: epoch 1$", done.stdout, re.MULTILINE)
    assert "nvImageCodec" not in done.stdout + done.stderr
