"""The container files: valid by their linters, and holding what they promise; no engine needed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

BIN = Path(sys.executable).parent


def compose_errors(file: Path) -> str:
    """What the Compose schema says about a file; empty when it is valid."""
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def compose(clone: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((clone / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def dockerfile(clone: Path) -> str:
    return (clone / "Dockerfile").read_text()


def test_dockerfile_passes_hadolint(clone: Path) -> None:
    done = subprocess.run(
        [BIN / "hadolint", clone / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_follows_the_schema(clone: Path) -> None:
    assert compose_errors(clone / "docker-compose.yml") == ""


def test_a_misspelt_compose_key_is_caught(clone: Path, tmp_path: Path) -> None:
    misspelt = tmp_path / "docker-compose.yml"
    text = (clone / "docker-compose.yml").read_text()
    misspelt.write_text(text.replace("healthcheck:", "healthchek:", 1))
    assert "healthchek" in compose_errors(misspelt)


def test_every_service_is_hardened_and_bound_to_loopback(compose: dict[str, Any]) -> None:
    assert "version" not in compose
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_services_wait_for_a_healthy_store(compose: dict[str, Any]) -> None:
    assert compose["services"]["valkey"]["healthcheck"]["test"] == ["CMD", "valkey-cli", "ping"]
    for name in ("finerank", "finerank-gpu"):
        depends = compose["services"][name]["depends_on"]
        assert depends == {"valkey": {"condition": "service_healthy"}}


def test_compose_builds_targets_that_the_dockerfile_has(
    compose: dict[str, Any], dockerfile: str
) -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, flags=re.MULTILINE))
    for service in compose["services"].values():
        if "build" in service:
            assert service["build"]["target"] in targets


def copied_from_the_clone(dockerfile: str) -> list[str]:
    """Sources of the COPY lines that read the build context."""
    copies = re.findall(r"^COPY (?!--from|<<)(.+)$", dockerfile, flags=re.MULTILINE)
    return [source.rstrip("/") for line in copies for source in line.split()[:-1]]


def test_image_holds_serving_code_and_the_demo_package_only(clone: Path, dockerfile: str) -> None:
    copied = copied_from_the_clone(dockerfile)
    assert copied == ["pyproject.toml", "constraints.txt", "service", "models/demo"]
    allowed = (clone / ".dockerignore").read_text().splitlines()
    assert [line[1:] for line in allowed if line.startswith("!")] == copied


def test_image_does_not_run_as_root_and_checks_its_health(dockerfile: str) -> None:
    assert "\nUSER 10001:10001\n" in dockerfile
    assert "\nHEALTHCHECK " in dockerfile
    assert "/readyz" in dockerfile
