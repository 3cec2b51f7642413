"""The stand-ins for base images: what is asked for, what is left alone, and the refusals. No engine is needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from switchyard.errors import RuntimeRefusal, SwitchyardError
from switchyard.runtime.docker import base_images
from switchyard.runtime.docker.base_images import IMAGES, PYTHON, REDIS

ROOT = Path(__file__).resolve().parents[2]

#: A docker that has the images of two files beside it, knows no registry, and writes down what else it is asked to do.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in
    "image ls"*--filter*) cat stand-ins ;;
    "image ls"*) cat images ;;
    pull*) echo "no such host" >&2; exit 1 ;;
    *) echo "$*" >> asked ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the PATH, with a `docker` that has no image."""
    for name in ("cat", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    for name in ("images", "stand-ins", "asked"):
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


def test_images_that_are_here_are_neither_pulled_nor_built(engine: Path, said: list[str]) -> None:
    (engine / "images").write_text("\n".join(IMAGES))
    base_images.ensure(said.append)
    assert said == []
    assert (engine / "asked").read_text() == ""


def test_building_leaves_an_image_alone_that_is_no_stand_in(engine: Path, said: list[str]) -> None:
    (engine / "images").write_text("\n".join(IMAGES))
    (engine / "stand-ins").write_text(REDIS)
    base_images.build(said.append)
    assert said == [
        f"{PYTHON} is here, and is no stand-in; left as it is",
        f"{REDIS} is here, a stand-in; left as it is",
    ]
    assert (engine / "asked").read_text() == ""


def test_only_base_images_are_told_as_stand_ins(engine: Path) -> None:
    """The label is inherited by what is built on a stand-in."""
    (engine / "stand-ins").write_text(f"switchyard-app:latest\n{PYTHON}\n")
    assert base_images.stand_ins() == [PYTHON]


def test_only_what_is_missing_is_built(engine: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (engine / "images").write_text(f"{PYTHON}\n{base_images.BASE}\n")
    monkeypatch.setattr(base_images, "_may_build", lambda: None)
    base_images.ensure(said.append)
    asked = (engine / "asked").read_text()
    assert f"--tag {REDIS} " in asked
    assert PYTHON not in asked
    assert said[:2] == [f"pulling {REDIS}", f"{REDIS} could not be pulled"]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        # An ordinary user is told what root has to do once.
        (1000, "sudo make base-images"),
        # The PATH holds no debootstrap.
        (0, "apt install debootstrap"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_next_step_and_why_it_was_not_pulled(
    engine: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, user: int, expected: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(RuntimeRefusal) as refusal:
        base_images.ensure(said.append)
    assert expected in str(refusal.value)
    assert "no such host" in str(refusal.value)
    assert PYTHON in str(refusal.value)
    assert REDIS in str(refusal.value)
    assert (engine / "asked").read_text() == ""


def test_what_failed_is_shown_by_its_last_words(engine: Path) -> None:
    (engine / "docker").write_text("#!/bin/sh\necho first; echo the daemon is not running >&2; exit 1\n")
    with pytest.raises(SwitchyardError, match="the daemon is not running"):
        base_images.stand_ins()


def test_a_machine_without_docker_is_refused(engine: Path) -> None:
    (engine / "docker").unlink()
    with pytest.raises(RuntimeRefusal, match="there is no docker on the PATH"):
        base_images.stand_ins()


def test_a_registry_that_does_not_answer_is_not_waited_for(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine / "docker").write_text(f"#!/bin/sh\nexec {shutil.which('sleep', path=os.defpath)} 60\n")
    monkeypatch.setattr(base_images, "ANSWER_S", 0.1)
    assert "none answered" in base_images._pull(PYTHON)


def test_the_dockerfile_and_compose_use_these_names() -> None:
    assert f"ARG PYTHON_IMAGE={PYTHON}\n" in (ROOT / "compose" / "Dockerfile").read_text()
    assert f":-{REDIS}}}" in (ROOT / "compose" / "redis.yml").read_text()
