"""What is built and installed: the program, its pages and completions at their places, templates, and the metadata."""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from kvmctl import __version__
from kvmctl.reflect import generated
from tests.environment import ROOT

PLACES = {
    "completions/kvmctl.bash": "share/bash-completion/completions/kvmctl",
    "completions/_kvmctl": "share/zsh/site-functions/_kvmctl",
    "completions/kvmctl.fish": "share/fish/vendor_completions.d/kvmctl.fish",
    "schema/kvmctl-spec.json": "share/kvmctl/kvmctl-spec.json",
}


def place(name: str) -> str:
    """Where a generated file is installed."""
    return PLACES.get(name) or f"share/man/man{name[-1]}/{Path(name).name}"


def test_every_generated_file_is_installed() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["shared-data"] == {name: place(name) for name in generated()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def test_the_wheel_has_everything(wheel: Path) -> None:
    assert wheel.name == f"kvmctl-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"kvmctl-{__version__}.dist-info/METADATA"))
        entry_points = archive.read(f"kvmctl-{__version__}.dist-info/entry_points.txt").decode()
    sources = [path for path in (ROOT / "kvmctl").rglob("*") if path.suffix in (".py", ".yaml")]
    assert {str(path.relative_to(ROOT)) for path in sources} <= names
    assert not {name for name in names if name.startswith("tests") or name.endswith(".pyc")}
    assert {f"kvmctl-{__version__}.data/data/{place(name)}" for name in generated()} <= names
    assert "kvmctl = kvmctl.cli:main" in entry_points
    assert "Apache-2.0" in (metadata["License-Expression"] or metadata["License"])
    assert {"rich>=13.0", "pyyaml>=6.0", "libvirt-python>=9.0"} <= set(metadata.get_all("Requires-Dist", []))
    assert metadata["Requires-Python"] == ">=3.11"
    assert f"kvmctl-{__version__}.dist-info/licenses/LICENSE" in names


def test_the_source_distribution_can_be_built_and_tested(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "ARCHITECTURE.md", "Makefile"} <= names
    assert generated().keys() <= names
    assert {"tests/conftest.py", ".ci/run"} <= names
    assert not {name for name in names if "__pycache__" in name or name.startswith(".venv")}


def test_pip_installs_a_program_with_its_pages(wheel: Path, tmp_path: Path) -> None:
    """Into an empty environment, which borrows its dependencies from this one."""
    import click

    place_of_ours = Path(click.__file__).parent.parent
    target = tmp_path / "installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", target], check=True)
    (site,) = target.glob("lib/python*/site-packages")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(target / "bin/python"),
        "install",
        "--no-index",
        "--no-deps",
        "--quiet",
    ]
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    (site / "borrowed.pth").write_text(f"{place_of_ours}\n")

    def output(*command: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "80"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    program = str(target / "bin/kvmctl")
    assert output(program, "--version") == f"kvmctl {__version__}\n"
    assert "name: vm1" in output(program, "init")
    assert [name for name in generated() if not (target / place(name)).exists()] == []
