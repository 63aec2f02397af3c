"""docker-compose.yml and .env.example keep to what operators are promised; the containers themselves: `make smoke`."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.new_env import PASSWORDS
from deploy.new_env import main as write_env
from services.console.all_in_one import ALL, settings_class
from services.generator.handlers import CLOSING_S
from shared.service import RELEASE_S
from shared.settings import PREFIX

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
CONTAINERS = pytest.mark.parametrize("name", SERVICES)
OURS = pytest.mark.parametrize("name", ALL)


def test_the_five_services_are_there() -> None:
    assert set(ALL) <= set(SERVICES)


@CONTAINERS
def test_images_are_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert re.match(r"v?\d|\$\{EVENSKIN_VERSION", tag)


@CONTAINERS
def test_ports_are_bound_to_this_machine_and_settable(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-\d+\}:\d+", port)


@CONTAINERS
def test_containers_are_watched_bounded_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["mem_limit"]
    assert service["logging"]["options"]["max-size"]


def test_make_down_names_every_profile_since_compose_2_leaves_those_that_are_not_named() -> None:
    (down,) = re.findall(r"\$\(COMPOSE\)(.*) down ", (ROOT / "Makefile").read_text())
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert profiles == set(re.findall(r"--profile (\S+)", down))


@CONTAINERS
def test_no_secret_is_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASS|SECRET|KEY|_URL$", variable):
            without = re.sub(r"\$\{[^}]*\}", "", value)
            assert not re.search(r"://[^@/]*:[^@/]+@", without), variable
            assert variable.endswith("_URL") or without == "", variable


@OURS
def test_our_containers_may_do_no_more_than_they_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["build"]["args"]["SERVICE"] == name
    assert all(needed["condition"] == "service_healthy" for needed in service["depends_on"].values())


@OURS
def test_services_are_given_settings_that_they_have(name: str) -> None:
    known = {f"{PREFIX}{field.upper()}" for field in settings_class(name).model_fields}
    given = {variable for variable in SERVICES[name]["environment"] if variable.startswith(PREFIX)}
    assert given <= known


@OURS
def test_compose_gives_a_service_longer_than_it_takes_to_drain(name: str) -> None:
    grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    closing_s = CLOSING_S if name == "generator" else 0.0
    assert settings_class(name).model_fields["drain_s"].default + closing_s + RELEASE_S < grace_s
    assert grace_s <= (210 if name == "generator" else 30)


def test_the_generator_s_drain_is_longer_than_any_request_takes() -> None:
    defaults = settings_class("generator").model_fields
    assert defaults["drain_s"].default > defaults["image_timeout_s"].default


def test_everything_that_can_be_set_is_in_the_example() -> None:
    example = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_0-9]+)", TEXT)) == set(example)
    assert all(example[name] == "" for name in PASSWORDS)


def test_a_new_env_has_passwords_of_its_own_and_is_never_written_over(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        write_env(path)
    values = [
        dict(line.split("=", 1) for line in path.read_text().splitlines() if line[:1].isalpha())
        for path in (first, second)
    ]
    for name in PASSWORDS:
        assert len(values[0][name]) >= 32
        assert values[0][name] != values[1][name]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    first.write_text("mine")
    write_env(first)
    assert first.read_text() == "mine"


def test_all_that_the_dockerfile_copies_is_sent_to_the_engine() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()
    ]
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied
    for source in copied:
        assert any(source == entry or source.startswith(f"{entry}/") for entry in sent), source
