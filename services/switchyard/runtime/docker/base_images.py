"""The base images, pulled or, where no registry answers, made of Debian's packages: upstream's names in, local images out.

A stand-in carries the upstream image's name, so that nothing has to be set to use it, and a label, so that it can be told
from it. What Debian's packages hold is all it promises; it is never put in the place of an image that is there.
"""

from __future__ import annotations

import os
import platform
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from switchyard.errors import RuntimeRefusal, SwitchyardError
from switchyard.settings import environment

PYTHON = "python:3.13-slim-trixie"
REDIS = "redis:8-trixie"
IMAGES = (PYTHON, REDIS)

RELEASE = "trixie"
#: What both stand-ins are made on; kept, so that a build that failed half way goes on from here.
BASE = f"switchyard/stand-in-base:{RELEASE}"
LABEL = "switchyard.stand-in"
#: Seconds in which a registry must begin to answer, and in which an image must be here.
ANSWER_S, PULL_S = 15, 900
#: Where Debian keeps the authorities that this machine trusts, a company's own included.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

INSTALL = (
    # The mirror may be reached by https, and the base knows no authority.
    "RUN --mount=type=secret,id=authorities "
    "export DEBIAN_FRONTEND=noninteractive; set -- -qq -o Acquire::https::CAInfo=/run/secrets/authorities; "
    'apt-get "$@" update && apt-get "$@" install -y --no-install-recommends {packages} '
    "&& rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*"
)
RECIPES = {
    PYTHON: f"""
FROM {BASE}
{INSTALL.format(packages="ca-certificates netbase python3-venv tzdata")}
RUN ln -s /usr/bin/python3 /usr/local/bin/python
ENV LANG=C.UTF-8
CMD ["python3"]
""",
    # Upstream's user id: a volume that one image wrote can be read by the other.
    REDIS: f"""
FROM {BASE}
RUN groupadd --system --gid 999 redis && useradd --system --uid 999 --gid redis --home-dir /data --no-create-home redis
{INSTALL.format(packages="redis-server")}
RUN install -d -o redis -g redis /data
USER redis
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]
""",
}
#: dpkg's settings in the image: documents are left out but for licences, and no file is flushed to disk one by one,
#: which halves the time; a build that is cut short is thrown away whole.
DPKG = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
"""
#: What debootstrap unpacks before dpkg reads its settings, caches, and what is this machine's own.
LEFT_OUT = ("dev/*", "etc/hostname", "etc/resolv.conf", "usr/share/doc/*/[!c]*", "usr/share/doc/*/changelog*",
            "usr/share/info/*", "usr/share/locale/*", "usr/share/man/*", "var/cache/apt/*", "var/lib/apt/lists/*",
            "var/log/*")  # fmt: skip

Say = Callable[[str], None]


def ensure(say: Say, wanted: Sequence[str] = IMAGES) -> None:
    """See that the base images are here: what is missing is pulled, else built where it may be. Raises SwitchyardError."""
    if not (missing := _missing(wanted)):
        return
    say(f"pulling {' and '.join(missing)}")
    with ThreadPoolExecutor() as pool:
        refused = {name: why for name, why in zip(missing, pool.map(_pull, missing), strict=True) if why}
    if refused:
        for name in refused:
            say(f"{name} could not be pulled")
        _build(list(refused), say, because=f" No registry gave them: {next(iter(refused.values()))}")


def build(say: Say) -> None:
    """Build a stand-in for each base image that is missing; what is here, upstream's or a stand-in, is left alone."""
    missing, made = _missing(IMAGES), stand_ins()
    for name in IMAGES:
        if name not in missing:
            say(f"{name} is here, {'a stand-in' if name in made else 'and is no stand-in'}; left as it is")
    if missing:
        _build(missing, say)


def stand_ins() -> list[str]:
    """Which of the base images that are here are stand-ins."""
    made = _names("--filter", f"label={LABEL}")
    return [name for name in IMAGES if name in made]


def _missing(wanted: Sequence[str]) -> list[str]:
    here = _names()
    return [name for name in wanted if name not in here]


def _names(*filters: str) -> set[str]:
    command = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", *filters]
    return set(_run(command, "It needs a Docker engine that answers; see `docker info`.").split())


def _pull(name: str) -> str:
    """Pull an image; why not, if not. A registry that does not answer is not waited for, one that is slow is."""
    command = ["docker", "pull", name]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # Its first line says that the registry knows the image, or what is wrong.
        answered = select.select([process.stdout], [], [], ANSWER_S)[0]  # type: ignore[type-var]  # a pipe: never None
        try:
            said, _ = process.communicate(timeout=PULL_S if answered else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            return "it took too long." if answered else f"none answered within {ANSWER_S} s."
    return said.strip().rpartition("\n")[2] if process.returncode else ""


def _build(names: Sequence[str], say: Say, because: str = "") -> None:
    try:
        _may_build()
    except RuntimeRefusal as exc:
        raise RuntimeRefusal(f"{' and '.join(names)} cannot be built here.{because} {exc}") from None
    env = _apt_environment()
    if BASE not in _names():
        say(f"making a minimal Debian {RELEASE} with debootstrap, for stand-ins of the base images")
        _make_base(env)
    for name in names:
        say(f"building a stand-in for {name} from Debian's packages")
        _make(name, env)


def _may_build() -> None:
    if os.geteuid() != 0:
        raise RuntimeRefusal(
            "Stand-ins are built from Debian's packages, which needs root: run `sudo make base-images`, or set "
            "PYTHON_IMAGE and REDIS_IMAGE to images you have."
        )
    if not shutil.which("debootstrap"):
        raise RuntimeRefusal(
            "Stand-ins are built from Debian's packages with debootstrap, which is missing: "
            "`apt install debootstrap debian-archive-keyring`, or set PYTHON_IMAGE and REDIS_IMAGE to images you have."
        )


def _apt_environment() -> dict[str, str]:
    """This process's environment, and the proxy by which this machine's apt reaches its mirror."""
    proxy = _apt("apt-config", "dump", "--format", "%v", "Acquire::http::Proxy")
    return {**environment(), "DOCKER_BUILDKIT": "1", **({"http_proxy": proxy} if proxy else {})}


def _mirror() -> list[str]:
    """From where this machine's apt fetches Debian; none leaves it to debootstrap."""
    lines = _apt("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    try:
        here = platform.freedesktop_os_release()
    except OSError:
        here = {}
    # Another distribution's mirror does not hold Debian.
    own = here.get("VERSION_CODENAME") if here.get("ID") == "debian" else None
    uris = {release: uri for release, component, uri in map(str.split, lines.splitlines()) if component == "main"}
    return [uri for release in (RELEASE, own) if release and (uri := uris.get(release))][:1]


def _apt(*command: str) -> str:
    """What apt says of this machine; nothing where there is no apt, for debootstrap runs on others too."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout.strip()


def _make_base(env: dict[str, str]) -> None:
    # Not /tmp, which may be a file system that takes no devices.
    with tempfile.TemporaryDirectory(prefix="switchyard-", dir="/var/tmp") as folder:
        root, packed = Path(folder, "root"), Path(folder, "root.tar")
        settings = root / "etc/dpkg/dpkg.cfg.d"
        # The image's / and /etc must be everybody's to read, whatever this user's umask.
        _run(["install", "-d", "-m", "755", str(root), str(settings)])
        (settings / "slim").write_text(DPKG)
        (settings / "slim").chmod(0o644)
        # Mounts of a namespace of their own are gone with debootstrap, however it ends.
        debootstrap = ["unshare", "--mount", "debootstrap", "--force-check-gpg", "--variant=minbase"]
        _run([*debootstrap, RELEASE, str(root), *_mirror()], "It needs a Debian mirror; see apt's sources.", env=env)
        excluded = [f"--exclude=./{pattern}" for pattern in LEFT_OUT]
        _run(["tar", "--one-file-system", *excluded, "-C", str(root), "-cf", str(packed), "."])
        _run(["docker", "import", "--change", f"LABEL {LABEL}=debian-{RELEASE}", str(packed), BASE])


def _make(name: str, env: dict[str, str]) -> None:
    labels = {
        LABEL: f"debian-{RELEASE}",
        "org.opencontainers.image.title": f"stand-in for {name}",
        "org.opencontainers.image.version": f"debian-{RELEASE}",
    }
    command = ["docker", "build", "--quiet", "--tag", name, *(f"--label={k}={v}" for k, v in labels.items())]
    # The mirror and the proxy are reached as this machine reaches them.
    command += ["--network=host", *(f"--build-arg={proxy}" for proxy in ("http_proxy", "https_proxy", "no_proxy"))]
    if AUTHORITIES.exists():
        command.append(f"--secret=id=authorities,src={AUTHORITIES}")
    _run([*command, "-"], "It needs BuildKit and a Debian mirror; see apt's sources.", env=env, given=RECIPES[name])


def _run(command: Sequence[str], needs: str = "", *, env: dict[str, str] | None = None, given: str = "") -> str:
    """Run a command and return what it said. Raises SwitchyardError with the end of it, and what it needs."""
    program = " ".join(command[: 2 if command[0] == "docker" else 1])
    try:
        done = subprocess.run(
            command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=env
        )
    except FileNotFoundError:
        raise RuntimeRefusal(f"{program} cannot be run: there is no {command[0]} on the PATH.") from None
    if done.returncode:
        end = "\n".join(done.stdout.rstrip().splitlines()[-30:])
        raise SwitchyardError(f"{program} failed. {needs} Its last words:\n{end}")
    return done.stdout
