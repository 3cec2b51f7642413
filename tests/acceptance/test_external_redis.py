"""A Redis that is somebody else's, by TLS, with a certificate of a company's own: no Redis is started, and nobody reaches it unverified."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.acceptance.conftest import docker_needed
from tests.checkout import Checkout
from tests.support import missing

pytestmark = pytest.mark.machine

NAME, PORT, PASSWORD = "redis.elsewhere", 6390, "of-somebody-elses-redis"


def openssl(folder, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path):
    """An authority of its own, and a server that it vouches for."""
    if shutil.which("openssl") is None:
        missing("openssl")
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "server.ext").write_text(
        f"subjectAltName=DNS:{NAME}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=an authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    openssl(
        folder,
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
        "-subj",
        f"/CN={NAME}",
    )
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "server.pem", "-extfile", "server.ext")  # fmt: skip
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


@pytest.fixture
def elsewhere(tmp_path, certificates):
    """A checkout whose .env names a Redis that speaks TLS only, and lies outside of the deployment."""
    docker_needed()
    made = Checkout(tmp_path / "switchyard", "docker")
    network, server = f"{made.project}_outside", f"{made.project}-elsewhere"
    labels = ("--label", "com.docker.compose.network=outside", "--label", f"com.docker.compose.project={made.project}")
    tls = ["--port", "0", "--tls-port", str(PORT), "--tls-auth-clients", "no", "--requirepass", PASSWORD]
    for name, file in {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}.items():
        tls += [f"--tls-{name}-file", f"/tls/{file}"]
    command = ["docker", "run", "--detach", "--name", server, "--network", network, "--network-alias", NAME, "--volume",
               f"{certificates}:/tls:ro", "redis:8-trixie", "redis-server", *tls]  # fmt: skip
    try:
        made.ok("base-images")
        subprocess.run(["docker", "network", "create", *labels, network], check=True, capture_output=True)
        subprocess.run(command, check=True, capture_output=True)
        yield made
        made.compose("--profile", "*", "stop")  # while there is a Redis to say goodbye to
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", server], check=False, capture_output=True)
        made.end()


def test_everything_runs_on_a_redis_elsewhere_by_tls(elsewhere, certificates):
    """The authority's certificate lies in config/; both URLs have their password in .env only."""
    shutil.copy(certificates / "ca.pem", elsewhere.folder / "config" / "redis-ca.pem")
    url = f"rediss://:{PASSWORD}@{NAME}:{PORT}/%d?ssl_cert_reqs=required&ssl_ca_certs=/app/config/redis-ca.pem"
    env = (elsewhere.folder / ".env").read_text()
    elsewhere.env(f"{env}CELERY_BROKER_URL={url % 0}\nCELERY_RESULT_BACKEND={url % 1}\n")
    elsewhere.ok("up")
    assert set(elsewhere.states().values()) == {"ready"}
    assert "redis" not in elsewhere.states()
    assert "200 of 200 done, 0 failed" in elsewhere.ok("start", "W=refresh_products", "ARGS=limit=200")
    ids = [elsewhere.container(name) for name in ("producer", "worker-default", "clock")]
    shown = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True).stdout
    assert PASSWORD not in shown
