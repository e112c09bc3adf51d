"""Les workflows GitHub et CITATION.cff, relus par leur schéma ; la CI ne fait que `make test`."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def check_schema(schema, *files):
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        schema,
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def load(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def test_workflows_follow_the_schema():
    assert len(WORKFLOWS) >= 4
    check_schema("vendor.github-workflows", *WORKFLOWS)


def test_citation_follows_the_schema():
    check_schema("vendor.citation-file-format", ROOT / "CITATION.cff")


def test_a_faulty_workflow_is_refused(tmp_path):
    """Le contrôle contrôle : sans `runs-on`, le schéma refuse."""
    faulty = tmp_path / "faux.yml"
    faulty.write_text("on: push\njobs:\n  a:\n    steps:\n      - run: ls\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        check_schema("vendor.github-workflows", faulty)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_workflows_have_least_rights_and_time_limits(path):
    workflow = load(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job.get("timeout-minutes"), f"{path.name} : {name} n’a pas de durée limite"
        for step in job["steps"]:
            assert "@" in step.get("uses", "@"), step


def test_ci_is_make_test_and_nothing_else():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert script[0] == "#!/usr/bin/env bash" and "set -euo pipefail" in script
    assert script[-1] == "make test"
    tests = load("tests.yml")
    assert tests["jobs"]["linux"]["steps"][-1]["run"] == ".ci/run"
    assert tests["jobs"]["paquet"]["strategy"]["matrix"]["os"] == ["macos-latest", "windows-latest"]


def test_gpu_and_colab_do_not_compare_outputs():
    for name in ("gpu.yml", "colab.yml"):
        text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
        assert "--nbval-lax" in text and "schedule" in text
    assert "gpu" in load("gpu.yml")["jobs"]["gpu"]["runs-on"]
