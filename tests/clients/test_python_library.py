"""The Python library as its users get it: installed alone, with its command line and its types."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.npm import run_installer
from tests.support.openapi_tools import ApiUnderTest, OpenapiTools
from tests.support.processes import ROOT

HERE = Path(__file__).parent
LEFT_OUT = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*_cache")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, api: ApiUnderTest) -> OpenapiTools:
    """An environment with the built distribution, and a script of a user."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(ROOT / "clients/python", folder / "source", ignore=LEFT_OUT)
    run_installer(sys.executable, "-m", "venv", ".venv", folder=folder)
    pip = (".venv/bin/pip", "install", "--quiet")
    run_installer(*pip, "./source[cli]", folder=folder)
    shutil.rmtree(folder / "source")
    shutil.copy(HERE / "python_library.py", folder)
    return OpenapiTools(folder, api)


def test_installed_library_takes_a_vm_through_its_life(library: OpenapiTools) -> None:
    assert library.run(".venv/bin/python", "python_library.py") == ""


def test_installed_command_line_works(library: OpenapiTools) -> None:
    assert library.run(".venv/bin/vmctl", "flavor", "list", "-o", "name").startswith("m1.tiny\n")
    assert "ok      token        accepted (VMAPI_TOKEN), without" in library.run(
        ".venv/bin/vmctl", "doctor"
    )


def test_library_without_its_extra_names_the_extra(library: OpenapiTools) -> None:
    script = "import sys; sys.modules['click'] = None; from vmapi_client.cli.entry import main; "
    script += "\ntry: main()\nexcept SystemExit as end: print(end)"
    output = library.run(".venv/bin/python", "-c", script)
    assert "pip install 'vmapi-client[cli]'" in output


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_mypy_accepts_the_script_of_a_user(library: OpenapiTools, version: str) -> None:
    library.run(
        *(sys.executable, "-m", "mypy", "--strict", "--python-version", version),
        *("--python-executable", ".venv/bin/python", "python_library.py"),
    )


def test_pyright_accepts_the_script_of_a_user(library: OpenapiTools, tools: OpenapiTools) -> None:
    pyright = str(tools.folder / "node_modules/.bin/pyright")
    library.run(pyright, "--warnings", "python_library.py")


def test_public_types_are_complete(library: OpenapiTools, tools: OpenapiTools) -> None:
    pyright = str(tools.folder / "node_modules/.bin/pyright")
    library.run(pyright, "--verifytypes", "vmapi_client", "--ignoreexternal")
