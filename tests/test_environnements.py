"""Les routes d’installation s’accordent : pyproject, constraints, conda, Binder, Colab."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def pins(name="constraints.txt"):
    """{paquet: version} d’un fichier de versions exactes."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        package, separator, version = line.partition("==")
        assert separator and re.fullmatch(r"[\w.]+", version), f"{name} : {line} n’est pas exact"
        found[canonicalize_name(package)] = version
    return found


def external(extra):
    """Les exigences d’un extra, sans les renvois à llmbook lui-même."""
    return [r for r in map(Requirement, EXTRAS[extra]) if r.name != "llmbook"]


def test_the_base_needs_numpy_only():
    assert [Requirement(line).name for line in PROJECT["dependencies"]] == ["numpy"]


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_every_requirement_is_pinned_within_its_bounds(extra):
    exact = pins("constraints-federated.txt" if extra == "federated" else "constraints.txt")
    for requirement in external(extra) + [Requirement(line) for line in PROJECT["dependencies"]]:
        version = exact.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} ({extra}) n’a pas de version exacte"
        assert requirement.specifier.contains(version), f"{requirement} refuse {version}"


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"all", "book"}))
def test_extras_have_lower_bounds_not_pins(extra):
    """Colab a son torch et son numpy : un extra épinglé les remplacerait."""
    for requirement in external(extra):
        operators = {spec.operator for spec in requirement.specifier}
        assert ">=" in operators and "==" not in operators, f"{requirement} ({extra})"


def test_building_needs_no_torch():
    names = {canonicalize_name(r.name) for r in external("book")}
    assert not names & {"torch", "transformers", "jupyterlab", "pytest"}
    assert not any(line.startswith("llmbook") for line in EXTRAS["book"])


def test_all_is_everything_but_flower():
    inside = set(Requirement(EXTRAS["all"][0]).extras)
    assert inside == set(EXTRAS) - {"all", "federated"}


def test_the_two_constraint_files_agree_on_models():
    main, federated = pins(), pins("constraints-federated.txt")
    for package in ("numpy", "torch", "transformers", "peft", "datasets", "accelerate"):
        assert main[package] == federated[package]
    assert "flwr" not in main and federated["flwr"] == "1.41.0"


def test_conda_follows_pyproject_and_constraints():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, pip_part = conda["dependencies"]
    lines = pip_part["pip"]
    assert "--constraint constraints.txt" in lines
    assert f"--extra-index-url {TORCH_INDEX}" in lines
    assert "--editable .[book,notebooks,dev,torch,triton]" in lines
    python = next(p for p in packages if p.startswith("python="))
    assert python in {"python=3.11", "python=3.12", "python=3.13"}


def test_make_installs_what_conda_installs():
    from tools.__main__ import TARGETS

    assert set(TARGETS["test"][1]) == {"book", "notebooks", "dev", "torch", "triton"}
    assert TARGETS["livre"][1] == ("book",)
    assert set().union(*(needed for _, needed, _ in TARGETS.values())) <= set(EXTRAS)


def test_binder_follows_constraints():
    post_build = (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    assert "-c constraints.txt" in post_build and '-e ".[notebooks,torch]"' in post_build
    assert TORCH_INDEX in post_build
    binder = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))
    assert binder["dependencies"] == ["python=3.12", "pip"]  # le reste vient de postBuild


def test_colab_keeps_its_own_versions():
    """La première cellule apporte le dépôt, et installe la base seule : Colab garde son torch."""
    from tools import pairing

    cell = pairing.colab_cell(ROOT)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] in cell
    assert "git clone" in cell and "[" not in cell and "==" not in cell
    assert "constraints" not in cell
    workflow = (ROOT / ".github" / "workflows" / "colab.yml").read_text(encoding="utf-8")
    assert "constraints.txt" not in workflow


def test_python_range_is_the_same_everywhere():
    from tools import interpreter

    assert PROJECT["requires-python"] == ">={}.{}".format(*interpreter.OLDEST)
    versions = [f"{interpreter.OLDEST[0]}.{minor}" for minor in (11, 12, 13)]
    assert sorted(interpreter.PREFERRED) == versions
    tests = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(tests)["jobs"]["linux"]["strategy"]["matrix"]["python"] == versions
    for version in versions:
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
