"""The environment in, frozen settings out: precedence, secrets, refusals; and that `.env.example` tells all of it."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_core import PydanticUndefined

from switchyard.errors import ConfigError
from switchyard.settings import (
    ROOT,
    EnvironmentSettings,
    Settings,
    environment,
    given_settings,
    is_ours,
    pip_authorities,
    settings,
)

SECRETS = ("celery_broker_url", "celery_result_backend", "flower_basic_auth")


def refusal() -> str:
    with pytest.raises(ConfigError) as refused:
        Settings.load()
    return str(refused.value)


# --- Where a value comes from


def test_the_environment_beats_dotenv_beats_the_default(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer shows where the ones above it say nothing."""
    assert Settings.load().redis_port == 6380
    own_environment.write_text("REDIS_PORT=1111\nFLOWER_PORT=2222\n")
    assert (Settings.load().redis_port, Settings.load().flower_port) == (1111, 2222)
    monkeypatch.setenv("REDIS_PORT", "3333")
    assert (Settings.load().redis_port, Settings.load().flower_port) == (3333, 2222)


def test_an_empty_value_means_unset(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, in `.env`, and for the file of a secret."""
    own_environment.write_text("CELERY_APP=\nREDIS_PORT=1111\nCELERY_BROKER_URL_FILE=\n")
    monkeypatch.setenv("REDIS_PORT", "")
    monkeypatch.setenv("FLOWER_BASIC_AUTH_FILE", "")
    found = Settings.load()
    assert (found.celery_app, found.redis_port) == (None, 1111)
    assert found.celery_broker_url is found.flower_basic_auth is None


def test_overrides_of_a_queue_come_from_nested_variables(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QUEUES__<QUEUE>__<KEY>, from the environment and from `.env`, side by side; queue names keep their underscores."""
    own_environment.write_text("QUEUES__SALES_REPORT_QUEUE__CONCURRENCY=1\nQUEUES__SALES_REPORT_QUEUE__EVENTS=true\n")
    monkeypatch.setenv("QUEUES__SALES_REPORT_QUEUE__CONCURRENCY", "4")
    monkeypatch.setenv("QUEUES__DEFAULT__AUTOSCALE", "32,16")
    assert Settings.load().queues == {
        "sales_report_queue": {"concurrency": "4", "events": "true"},
        "default": {"autoscale": "32,16"},
    }


def test_folders_are_below_the_checkout_unless_they_are_absolute(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever folder a command is run in."""
    monkeypatch.setenv("CONFIG_DIR", "elsewhere/config")
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert (Settings.load().config_dir, Settings.load().state_dir) == (ROOT / "elsewhere/config", tmp_path)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        # beside all else that a deployment writes
        ("artefacts_dir", None, "state/artefacts"),
        ("artefacts_dir", "", "state/artefacts"),
        ("api_tokens_file", None, "state/secrets/api_tokens"),
        ("api_tokens_file", "", "state/secrets/api_tokens"),
        # or where it is said, below the checkout unless it is absolute
        ("artefacts_dir", "out/reports", ROOT / "out/reports"),
        ("artefacts_dir", "/srv/reports", "/srv/reports"),
        ("api_tokens_file", "out/tokens", ROOT / "out/tokens"),
        ("api_tokens_file", "/run/secrets/tokens", "/run/secrets/tokens"),
    ],
)
def test_what_is_kept_is_where_the_state_is_unless_it_is_said(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, given: str | None, expected: str
) -> None:
    """From the environment and from `.env`."""
    if given is not None:
        own_environment.write_text(f"{name.upper()}={given}\n")
        assert getattr(Settings.load(), name) == tmp_path / expected
        own_environment.unlink()
        monkeypatch.setenv(name.upper(), given)
    assert getattr(Settings.load(), name) == tmp_path / expected


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        # a setting, the file of a secret, a setting that is a file, a queue's key
        ("REDIS_PORT", True), ("FLOWER_BASIC_AUTH_FILE", True), ("API_TOKENS_FILE", True), ("QUEUES__DEFAULT__EVENTS", True),
        # and none
        ("API_TOKENS", False), ("PATH", False), ("REDIS", False),
    ],
)  # fmt: skip
def test_every_setting_is_handed_on_to_the_programs(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, variable: str, expected: bool
) -> None:
    """Those that this command was given, and nothing else of its environment."""
    monkeypatch.setenv(variable, "given")
    assert is_ours(variable) is expected
    assert (variable in given_settings()) is expected


def test_artefacts_follow_a_state_folder_that_is_below_the_checkout(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative STATE_DIR is made absolute first."""
    monkeypatch.setenv("STATE_DIR", "elsewhere")
    assert Settings.load().artefacts_dir == ROOT / "elsewhere" / "artefacts"


def test_settings_are_frozen_and_read_once(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object for the process; nobody changes it, and a later change of the environment does not."""
    with pytest.raises(ValidationError, match="frozen"):
        settings().redis_port = 1  # type: ignore[misc]
    monkeypatch.setenv("REDIS_PORT", "3333")
    assert settings().redis_port == 6380
    assert settings() is settings()


def test_the_environment_for_a_child_is_a_copy(own_environment: Path) -> None:
    """What a child gets can be amended without touching this process."""
    environment()["SWITCHYARD_TEST"] = "1"
    assert "SWITCHYARD_TEST" not in environment()


# --- Secrets


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_secret_can_be_named_by_a_file(
    own_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    """<NAME>_FILE in the environment or in `.env`; white space at the file's end is not part of it."""
    (tmp_path / "secret").write_text("redis://:hush@host/0\n")
    if where == "environment":
        monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    else:
        own_environment.write_text(f"{name.upper()}_FILE={tmp_path / 'secret'}\n")
    assert getattr(Settings.load(), name) == SecretStr("redis://:hush@host/0")


def test_every_secret_of_the_settings_is_in_the_table_above() -> None:
    """A new secret gets its file, too."""
    assert {n for n, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)} == set(SECRETS)


@pytest.mark.parametrize("value_in", ["environment", "dotenv"])
@pytest.mark.parametrize("file_in", ["environment", "dotenv"])
def test_a_secret_given_twice_is_refused(
    own_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value_in: str, file_in: str
) -> None:
    """Whichever of the two were taken, somebody would wonder; the value is not shown."""
    (tmp_path / "secret").write_text("b")
    own_environment.write_text("")
    for where, line in (
        (value_in, "CELERY_BROKER_URL=hush"),
        (file_in, f"CELERY_BROKER_URL_FILE={tmp_path / 'secret'}"),
    ):
        if where == "environment":
            monkeypatch.setenv(*line.split("="))
        else:
            own_environment.write_text(own_environment.read_text() + line + "\n")
    assert refusal() == "CELERY_BROKER_URL and CELERY_BROKER_URL_FILE are both set; keep one of them."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        # no file at all
        (None, "CELERY_BROKER_URL_FILE: cannot read '{path}' (No such file or directory)."),
        # a file that holds nothing would be a broker without an address
        (b" \n", "CELERY_BROKER_URL_FILE: '{path}' is empty; expected the secret in it."),
        # bytes that are no text
        (b"\xff\xfe", "CELERY_BROKER_URL_FILE: '{path}' is no text file."),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_refused(
    own_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, sentence: str
) -> None:
    """The sentence names the variable and the file, and shows nothing of what is in it."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("CELERY_BROKER_URL_FILE", str(path))
    assert refusal() == sentence.format(path=path)


def test_no_secret_is_shown_by_the_settings_themselves(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as text nor as a dump."""
    for name in SECRETS:
        monkeypatch.setenv(name.upper(), "redis://:hush@a/0")
    found = Settings.load()
    assert "hush" not in f"{found} {found!r} {found.model_dump()} {found.model_dump_json()}"


# --- Refusals


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        # numbers and their bounds
        ("REDIS_PORT", "x", "REDIS_PORT: input should be a valid integer, unable to parse string as an integer, got 'x'."),
        ("REDIS_PORT", "0", "REDIS_PORT: input should be greater than or equal to 1, got '0'."),
        ("FLOWER_PORT", "65536", "FLOWER_PORT: input should be less than or equal to 65535, got '65536'."),
        ("WORKFLOW_EXPIRES", "5", "WORKFLOW_EXPIRES: input should be greater than or equal to 3600, got '5'."),
        ("BROKER_LEASE", "4.9", "BROKER_LEASE: input should be greater than or equal to 5, got '4.9'."),
        ("BROKER_LEASE", "3601", "BROKER_LEASE: input should be less than or equal to 3600, got '3601'."),
        ("MAX_DELIVERIES", "0", "MAX_DELIVERIES: input should be greater than or equal to 1, got '0'."),
        # one of a few words
        ("BROKER_TRANSPORT", "kombu", "BROKER_TRANSPORT: input should be 'leased' or 'stock', got 'kombu'."),
        ("LOG_LEVEL", "info", "LOG_LEVEL: input should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL', got 'info'."),
        ("LOG_FORMAT", "xml", "LOG_FORMAT: input should be 'auto', 'console' or 'json', got 'xml'."),
        ("DEMO", "maybe", "DEMO: input should be a valid boolean, unable to interpret input, got 'maybe'."),
        # the zone of the schedules, before the clock starts and falls over it
        ("TIMEZONE", "Mars", "TIMEZONE: expected the name of a time zone, such as Europe/Berlin, got 'Mars'."),
        ("TIMEZONE", "../UTC", "TIMEZONE: expected the name of a time zone, such as Europe/Berlin, got '../UTC'."),
        # tables
        ("TASK_ROUTES", "a=b", 'TASK_ROUTES: expected a JSON object, such as {"name": "value"}.'),
        ("TASK_ROUTES", '{"a": 1}', "TASK_ROUTES__A: input should be a valid string, got 1."),
        ("QUEUES", "a", 'QUEUES: expected a JSON object, such as {"name": "value"}.'),
        ("QUEUES__A", "4", "QUEUES__A: input should be a valid dictionary, got 4."),
        ("QUEUES__A__B__C", "4", "QUEUES__A__B: input should be a valid string, got {'c': 4}."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_wrong_value_is_named(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str, where: str
) -> None:
    """One sentence: the variable, what was expected, what it was; the same from `.env`."""
    if where == "environment":
        monkeypatch.setenv(variable, value)
    else:
        own_environment.write_text(f"{variable}='{value}'\n")
    assert refusal() == sentence


def test_every_wrong_value_is_told_at_once(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each."""
    monkeypatch.setenv("REDIS_PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "x")
    assert [line.split(":")[0] for line in refusal().splitlines()] == ["LOG_LEVEL", "REDIS_PORT"]


def test_a_wrong_secret_is_refused_without_its_value(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the sentence, and not in what Python prints above it."""

    class Picky(EnvironmentSettings):
        token: SecretStr = Field(min_length=100)

    monkeypatch.setitem(Picky.model_config, "env_file", None)
    monkeypatch.setenv("TOKEN", "hush")
    with pytest.raises(ConfigError, match=r"^TOKEN: value should have at least 100 items") as refused:
        Picky.load()
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


# --- URLs


@pytest.mark.parametrize("password", ["plain", "p@ss/w:rd#?%&=+ ä", "a" * 200])
def test_the_broker_is_ours_with_the_generated_password_unless_one_is_given(
    own_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Whatever is in the password, it is one part of the URL and comes out of it as it went in."""
    monkeypatch.setenv("REDIS_PORT", "7777")
    (tmp_path / "state" / "secrets").mkdir()
    (tmp_path / "state" / "secrets" / "redis_password").write_text(f"{password}\n")
    for url, database in ((Settings.load().broker_url(), "/0"), (Settings.load().result_backend_url(), "/1")):
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("redis", "127.0.0.1", 7777, database)
        assert unquote(parts.password or "") == password


@pytest.mark.parametrize(
    ("broker", "backend", "expected"),
    [
        # results are kept where the broker is
        ("redis://a/0", "", ("redis://a/0", "redis://a/0")),
        # unless they have a place of their own
        ("redis://a/0", "redis://b/0", ("redis://a/0", "redis://b/0")),
    ],
)
def test_a_given_url_is_taken_as_it_is(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, broker: str, backend: str, expected: tuple[str, str]
) -> None:
    """No deployment is needed for it."""
    monkeypatch.setenv("CELERY_BROKER_URL", broker)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", backend)
    found = Settings.load()
    assert (found.broker_url(), found.result_backend_url()) == expected


@pytest.mark.parametrize(
    "url",
    [
        # sentinels, one of several, and what only looks like a Redis
        "sentinel://:hush@a:26379/0",
        "redis://:hush@a/0;sentinel://:hush@b:26379",
        "redis+sentinel://:hush@a/0",
        # a cluster
        "redis+cluster://:hush@a/0",
        "rediss+cluster://:hush@a/0",
        # another kind of broker, or none
        "amqp://hush@a//",
        "hush",
    ],
)
def test_a_broker_of_several_servers_is_refused_unless_its_rules_are_kombus(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A lease is one step in one server with all keys. The sentence has the way out, and no password."""
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    said = refusal()
    assert said.startswith("CELERY_BROKER_URL: expected redis:// or rediss://, since leases need one server")
    assert said.endswith("or set BROKER_TRANSPORT=stock, with kombu's own rules of delivery.")
    assert "hush" not in said
    monkeypatch.setenv("BROKER_TRANSPORT", "stock")
    assert Settings.load().broker_url() == url


@pytest.mark.parametrize(
    "url", ["redis://a/0", "rediss://a/0", "redis+socket:///run/redis.sock", "redis://a/0;rediss://b/0"]
)
def test_a_broker_of_one_server_is_leased_from(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """By whatever way it is reached; results may be elsewhere, on any kind of backend."""
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "sentinel://a:26379/0")
    assert (Settings.load().broker_transport, Settings.load().broker_url()) == ("leased", url)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # none: images are built with what this machine trusts
        ({}, None),
        # those that pip works with on this machine
        ({"SSL_CERT_FILE": "/etc/ssl/all.pem"}, Path("/etc/ssl/all.pem")),
        ({"SSL_CERT_FILE": "/etc/ssl/all.pem", "PIP_CERT": "/etc/pip.pem"}, Path("/etc/pip.pem")),
        # ours, and as a path of this checkout: Compose would look for it beside its own files
        ({"BUILD_CA": "ca.pem", "PIP_CERT": "/etc/pip.pem"}, ROOT / "ca.pem"),
    ],
)
def test_images_are_built_with_the_certificates_that_pip_has(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: Path | None
) -> None:
    """Unless others are named."""
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    assert (Settings.load().build_ca or pip_authorities()) == expected


@pytest.mark.parametrize("variable", ["CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
@pytest.mark.parametrize("password", ["hush[", "hush]", "hush\u2100"])
def test_a_url_that_is_none_is_refused_without_its_password(
    own_environment: Path, monkeypatch: pytest.MonkeyPatch, variable: str, password: str
) -> None:
    """Before anything takes it apart, and says so with a traceback."""
    monkeypatch.setenv(variable, f"redis://:{password}@a/0")
    said = refusal()
    assert said == f"{variable}: expected a URL, in whose password [ ] / @ # are %5B %5D %2F %40 %23."
    assert "hush" not in said


def test_without_a_deployment_the_broker_is_a_sentence(own_environment: Path) -> None:
    """The next step is in it."""
    with pytest.raises(ConfigError, match="There is no deployment here yet: run `make up`, or set CELERY_BROKER_URL"):
        Settings.load().broker_url()


# --- .env.example


def example() -> list[tuple[str, str, str]]:
    """The variables of `.env.example`: "#" or "", name, value. The demo's part is the demo's."""
    text = (ROOT / ".env.example").read_text()
    if not find_spec("demo"):
        text = re.split(r"^# --- The demo ", text, flags=re.MULTILINE)[0]
    return re.findall(r"^(#?)([A-Z][A-Z_]*)=(.*)$", text, flags=re.MULTILINE)


def classes() -> list[type[EnvironmentSettings]]:
    found: list[type[EnvironmentSettings]] = [Settings]
    if find_spec("demo"):
        from demo.settings import DemoSettings

        found.append(DemoSettings)
    return found


#: Compose's own, of which its files read one and its command line others: https://docs.docker.com/compose/environment-variables/envvars/
OF_COMPOSE = {"COMPOSE_PROJECT_NAME"}
#: What `make` fills in, and nobody sets: the folders as absolute paths, and what an image is labelled with.
FILLED_IN = {"STATE_DIR", "ARTEFACTS_HOST_DIR", "VERSION", "REVISION"}


def read_by_compose() -> dict[str, set[str]]:
    """The variables that Compose's files read, each with the defaults that stand there; those for a shell, $$, left out."""
    found: dict[str, set[str]] = {}
    for file in [ROOT / "docker-compose.yml", *sorted((ROOT / "compose").glob("*.yml"))]:
        for name, default in re.findall(r"(?<!\$)\$\{([A-Z_]+)(?::-([^}]*))?\}", file.read_text()):
            found.setdefault(name, set()).add(default)
    return found


def fields() -> set[str]:
    return {name for cls in classes() for name in cls.model_fields}


def test_the_example_has_every_setting_and_nothing_else() -> None:
    """Field by field, the core's and the demo's, and what only Compose reads; QUEUES__… stands for `queues`."""
    named = {"queues" if name.startswith("QUEUES__") else name.lower() for _, name, _ in example()}
    assert named == fields() | {name.lower() for name in read_by_compose().keys() - FILLED_IN}


def test_a_commented_line_of_the_example_is_what_compose_takes_without_it() -> None:
    """The same default in each of its files, and the same as ours where we read it too."""
    example_has = {name: value for _, name, value in example()}
    odd = {
        name: defaults
        for name, defaults in read_by_compose().items()
        if name not in FILLED_IN | OF_COMPOSE and defaults != {example_has[name] or "/dev/null"}
    }
    assert odd == {}


def test_a_commented_line_of_the_example_is_the_default(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommenting it changes nothing, for every setting that has a default of its own."""
    commented = {name: value for hidden, name, value in example() if hidden}
    checked = set()
    for variable in ("CONFIG_DIR", "STATE_DIR"):
        monkeypatch.delenv(variable)
    for cls in classes():
        monkeypatch.setitem(cls.model_config, "env_file", None)
        for name, field in cls.model_fields.items():
            made_of_others = name in ("artefacts_dir", "api_tokens_file")
            if name.upper() in commented and (made_of_others or field.default not in (None, PydanticUndefined)):
                default = getattr(cls.load(), name)
                monkeypatch.setenv(name.upper(), commented[name.upper()])
                assert (name, getattr(cls.load(), name)) == (name, default)
                checked.add(name)
    own = {"demo", "redis_port", "workflow_expires", "config_dir", "timezone", "flower_port", "log_format", "state_dir",
           "broker_transport", "broker_lease", "max_deliveries"}  # fmt: skip
    assert {*own, "artefacts_dir", "api_tokens_file", "api_port", "api_hosts"} <= checked


def test_the_example_as_it_stands_is_accepted(own_environment: Path) -> None:
    """`make up` copies it to `.env`."""
    own_environment.write_text((ROOT / ".env.example").read_text())
    for cls in classes():
        assert cls.load()


def test_the_example_is_plain_for_every_reader() -> None:
    """KEY=value, without export, quotes or a comment at the end, so that make, Compose and python-dotenv agree."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    odd = [line for line in lines if line and not re.fullmatch(r"#( .*)?|#?[A-Z][A-Z_]*=(\{.*\}|[^\s'\"#]*)", line)]
    assert odd == []


def test_every_setting_says_what_it_is() -> None:
    """In the code, for the docs' table."""
    assert [
        (cls.__name__, n) for cls in classes() for n, field in cls.model_fields.items() if not field.description
    ] == []


# --- One reader


def environment_reads(source: str) -> list[int]:
    """The lines of a module that reach for the process' environment."""
    found = []
    for node in ast.walk(ast.parse(source)):
        attribute = isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb")
        name = (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {a.name for a in node.names} & {"environ", "getenv"}
        )
        if attribute or name:
            found.append(node.lineno)
    return found


def test_nothing_but_settings_reads_the_environment() -> None:
    """One reader means one precedence, and one place to look."""
    readers = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "services").rglob("*.py"))
        for line in environment_reads(path.read_text())
        if path != ROOT / "services/switchyard/settings.py"
    ]
    assert readers == []


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.environ['A']",
        "import os\nos.getenv('A')",
        "from os import environ",
        "import os as o\no.environ.get('A')",
    ],
)
def test_the_check_above_sees_every_way_to_read_it(code: str) -> None:
    """A check that finds nothing must be able to find something."""
    assert environment_reads(code)
