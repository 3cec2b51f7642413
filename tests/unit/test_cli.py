"""python -m switchyard: every expected failure is a sentence on standard error and a non-zero exit."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import redis

from switchyard import cli, progress, workflows
from switchyard.broker import dead_letters
from switchyard.errors import ConfigError, RuntimeRefusal, SwitchyardError, UnknownWorkflow, WorkflowError
from switchyard.runtime import choice, counts, doctor, local, refused_events, status
from switchyard.runtime import dead_letters as runtime_letters
from switchyard.runtime.docker import deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run a command; its exit code, its output and its errors."""
    # Made at import, before pytest took standard output; each command has its own in real life.
    for name in ("out", "err"):
        monkeypatch.setattr(getattr(cli, name), "file", None, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        # no command, or none of ours
        ([], "error: the following arguments are required: command."),
        (["nonsense"], "error: argument command: invalid choice: 'nonsense'"),
        (["up", "extra"], "error: unrecognized arguments: extra."),
        (["render", "--chekc"], "error: unrecognized arguments: --chekc."),
        # nothing is guessed: DO=d might mean to drop
        (["refused", "--d"], "error: unrecognized arguments: --d."),
        (["refused", "--retry", "--drop"], "error: argument --drop: not allowed with argument --retry."),
        # of dead letters: neither what nor which is guessed
        (["dead-letters", "purge"], "error: argument do: invalid choice: 'purge'"),
        (
            ["dead-letters", "list", "3"],
            "error: What is to become of it? Say make dead-letters DO=show, DO=replay or DO=drop",
        ),
        (["dead-letters", "show"], "error: Which one? Say make dead-letters DO=show ID=<id>;"),
        (["dead-letters", "show", "1", "2"], "error: Which one? Say make dead-letters DO=show ID=<id>;"),
        (["dead-letters", "show", "--all"], "error: Which one? Say make dead-letters DO=show ID=<id>;"),
        (
            ["dead-letters", "replay"],
            "error: Which ones? Say make dead-letters DO=replay ID=<id>, or make dead-letters DO=replay ID=all;",
        ),
        (["dead-letters", "drop", "1", "--all"], "error: Which ones? Say make dead-letters DO=drop ID=<id>,"),
        (["dead-letters", "drop", "--queue", "a"], "error: Which ones? Say make dead-letters DO=drop ID=<id>,"),
        (["dead-letters", "drop", "1", "--queue", "a"], "error: --queue goes with all letters of a queue"),
        (["dead-letters", "drop", "--al"], "error: unrecognized arguments: --al."),
        # make passes an empty Q=, W= or ARGS= on as nothing
        (["restart"], "error: Which queue? Say `make restart Q=<name>`"),
        (["start"], "error: Which workflow? Say `make start W=<task>`"),
        (["workflow"], "error: Which workflow? Say `make workflow W=<id>`"),
        (["cancel"], "error: Which workflow? Say `make cancel W=<id>`"),
        (["replay"], "error: Which workflow? Say `make replay W=<id>`"),
        (["new-report"], "error: Which name? Say `make new-report NAME=returns`."),
        (["new-report", "a", "b"], "error: unrecognized arguments: b."),
        # arguments of a workflow
        (["start", "task", "limit"], "error: 'limit' is no argument; expected key=value, such as limit=100."),
        (["start", "task", "=1"], "error: '=1' is no argument"),
        (["start", "task", "a-b=1"], "error: 'a-b=1' is no argument"),
        # what needs a deployment that is not up
        (["ps"], "error: The deployment is not up; run `make up`."),
        (["logs"], "error: The deployment is not up; run `make up`."),
        (["logs", "default"], "error: The deployment is not up; run `make up`."),
        (["restart", "default"], "error: The deployment is not up; run `make up`."),
        (["workflow", "an-id"], "error: There is no deployment here yet: run `make up`"),
        (["refused"], "error: There is no deployment here yet: run `make up`"),
        (["refused", "--retry"], "error: There is no deployment here yet: run `make up`"),
        (["refused", "--drop"], "error: There is no deployment here yet: run `make up`"),
        (["dead-letters"], "error: There is no deployment here yet: run `make up`"),
        (["dead-letters", "replay", "1"], "error: There is no deployment here yet: run `make up`"),
        # what needs a config
        (["render"], "error: Cannot read"),
        (["up"], "error: Cannot read"),
        (["report"], "error: Cannot read"),
        (["report", "sales"], "error: Cannot read"),
        # and an app
        (["new-report", "returns"], "error: CELERY_APP is not set; it names your Celery app"),
        # what only the supervisor calls
        (["worker"], "error: Cannot read"),
        (["beat"], "error: argument command: invalid choice: 'beat'"),
    ],
)
def test_a_bad_call_is_a_sentence_and_exit_code_1(
    call: Callable[..., tuple[int, str, str]], arguments: list[str], sentence: str
) -> None:
    """On standard error, never a traceback."""
    code, out, err = call(*arguments)
    assert code == cli.REFUSED == 1
    assert err.startswith(sentence)
    assert "Traceback" not in out + err


@pytest.mark.parametrize("words", ["[bold]not markup[/bold]", "queues.a: got ['*'].", "a\nb"])
@pytest.mark.parametrize("error", [SwitchyardError, ConfigError, RuntimeRefusal, WorkflowError])
def test_an_error_of_ours_is_shown_word_for_word(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, error: type[SwitchyardError], words: str
) -> None:
    """Brackets in it are no markup."""

    def fail(_: object) -> None:
        raise error(words)

    monkeypatch.setattr(cli, "_ps", fail)
    assert call("ps") == (1, "", f"error: {words}\n")


def test_an_error_without_words_says_what_its_kind_says() -> None:
    """Each kind's docstring is a sentence and a next step."""
    assert str(ConfigError()).startswith("The configuration is refused.")
    assert str(UnknownWorkflow()).startswith("No workflow has this id")


def test_an_interrupt_is_no_traceback(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C exits as a shell says it does."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_ps", interrupt)
    assert call("ps") == (130, "", "")


def test_what_is_unforeseen_is_not_hidden(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours shows its traceback."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_ps", fail)
    with pytest.raises(ZeroDivisionError):
        call("ps")


# --- Where Redis is reached


class Containers:
    """Stands for the runtime in Docker: notes what it is asked to run, and whether the deployment was locked meanwhile."""

    def __init__(self, lock: Path, code: int) -> None:
        self.lock, self.code, self.asked, self.locked = lock, code, list[tuple[str, list[str]]](), False

    def run_inside(self, _: object, module: str, arguments: Sequence[str]) -> int:
        self.asked.append((module, [*arguments]))
        with self.lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.locked = True
        return self.code


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Containers:
    """A deployment whose last `make up` was in Docker."""
    monkeypatch.setenv("RUNTIME", "")
    choice.record(tmp_path / "state", choice.DOCKER, insisted=False)
    found = Containers(tmp_path / "state" / "lock", 42)
    monkeypatch.setattr(deployment, "run_inside", found.run_inside)
    return found


@pytest.mark.parametrize(
    ("arguments", "locked"),
    [
        # what gives work and looks at it, with whatever arguments: they are read in there
        (["start", "refresh", "limit=10", "name=a b"], False),
        (["start"], False),
        (["report", "sales", "period=2017-05"], False),
        (["workflow", "an-id"], False),
        (["cancel", "an-id"], False),
        (["replay", "an-id"], False),
        (["dead-letters", "replay", "--all", "--queue", "default"], False),
        # no two of these at a time: an event that is sent must be the one that is removed
        (["refused"], True),
        (["refused", "--retry"], True),
        (["refused", "--drop"], True),
    ],
)
def test_with_containers_a_command_that_needs_redis_runs_in_one(
    call: Callable[..., tuple[int, str, str]], containers: Containers, arguments: list[str], locked: bool
) -> None:
    """As it was given, and its exit code is the command's. The lock is this machine's."""
    assert call(*arguments) == (42, "", "")
    assert containers.asked == [("switchyard", arguments)]
    assert containers.locked is locked


def test_a_call_that_nobody_understands_comes_to_no_container(
    call: Callable[..., tuple[int, str, str]], containers: Containers
) -> None:
    """It is refused at once."""
    code, _, err = call("refused", "--d")
    assert (code, containers.asked) == (1, [])
    assert err.startswith("error: unrecognized arguments: --d.")


def test_a_module_runs_where_redis_is_reached(
    call: Callable[..., tuple[int, str, str]], containers: Containers
) -> None:
    """Its options are its own."""
    assert call("run", "demo.seed", "--limit", "10", "--help") == (42, "", "")
    assert containers.asked == [("demo.seed", ["--limit", "10", "--help"])]


@pytest.mark.parametrize(
    ("end", "code"),
    [("", 0), ("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit(True)", 1), ("sys.exit('why')", 1)],
)
def test_as_processes_of_this_machine_a_module_runs_here(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, code: int
) -> None:
    """With its arguments, and its exit code is the command's; what it says at its end is told."""
    (tmp_path / "errand.py").write_text(f"import sys\nprint(__name__, *sys.argv[1:])\n{end}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.argv", [])
    assert call("run", "errand", "--limit", "10") == (code, "__main__ --limit 10\n", "why\n" if "why" in end else "")


def test_the_demo_is_refused_where_it_is_not_there(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is brought up."""
    monkeypatch.setenv("DEMO", "0")
    monkeypatch.setattr(local, "up", lambda *_: pytest.fail("brought up"))
    code, out, err = call("demo")
    assert (code, out) == (1, "")
    assert err == "error: DEMO is 0 in .env, so the demo's supplier and products are not there. Set DEMO=1.\n"


@pytest.mark.parametrize(
    ("is_up", "up_fails", "asked", "code"),
    [
        # it runs already; it is brought up first
        (True, False, ["run"], 7),
        (False, False, ["up", "run"], 7),
        # what cannot be brought up is told once
        (False, True, ["up"], 1),
    ],
)
def test_the_demo_brings_up_what_it_needs(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, monkeypatch: pytest.MonkeyPatch,
    is_up: bool, up_fails: bool, asked: list[str], code: int,
) -> None:  # fmt: skip
    """And runs where Redis is reached; its exit code is the command's."""
    done: list[str] = []

    def up(*_: object) -> None:
        done.append("up")
        if up_fails:
            raise RuntimeRefusal("no room")

    (config_dir / "queues.toml").write_text("")
    monkeypatch.setenv("DEMO", "1")
    monkeypatch.setattr(local, "is_up", lambda _: is_up)
    monkeypatch.setattr(local, "up", up)
    monkeypatch.setattr(local, "run_inside", lambda _, module, arguments: done.append("run") or 7)
    found, _, err = call("demo")
    assert (found, done) == (code, asked)
    assert err == ("error: no room\n" if up_fails else "")


def test_counts_are_told_as_json_to_whoever_asks_from_outside(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the last line, of the programs that were named."""
    monkeypatch.setattr(counts, "read", lambda programs: counts.Counts(dict.fromkeys(programs, 3), refused=1))
    code, out, err = call("counts", "worker-a", "consumer")
    assert (code, err) == (0, "")
    assert counts.Counts.from_json(out.splitlines()[-1]) == counts.Counts({"worker-a": 3, "consumer": 3}, refused=1)


@pytest.mark.parametrize(
    ("findings", "code", "said"),
    [
        ([doctor.Finding("port 8000 is free")], 0, ["  ok    port 8000 is free"]),
        # brackets are no markup
        (
            [doctor.Finding("a [b]"), doctor.Finding("not so: [c].", "Set [D].")],
            1,
            ["  ok    a [b]", "  mend  not so: [c]. Set [D]."],
        ),
    ],
)
def test_the_doctor_says_what_to_mend_and_its_exit_code_whether_there_is_any(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch,
    findings: list[doctor.Finding], code: int, said: list[str],
) -> None:  # fmt: skip
    """A line each."""
    monkeypatch.setattr(doctor, "look", lambda _: findings)
    found, out, err = call("doctor")
    assert (found, out.splitlines(), err) == (code, said, "")


# --- Workflows


@dataclass(frozen=True)
class Ended:
    """As much of a workflow's record as is shown."""

    state: str = "done"
    result: Any = None
    reason: str = ""
    id: str = "an-id"
    name: str = "refresh"
    attempt: int = 1
    done: int = 2
    total: int = 2
    failed: int = 0
    ended: bool = True
    event_id: str = ""
    event_type: str = "stock.low"
    event_source: str = "/shop"


@pytest.mark.parametrize(
    ("meta", "code", "said"),
    [
        # it ended well
        (Ended(result={"status": True, "message": "[updated]"}), 0, "done: {'status': True, 'message': '[updated]'}"),
        (Ended(result=None), 0, "done: None"),
        # its callback says that it did not
        (Ended(result={"status": False, "message": "not all"}), 2, "done: {'status': False, 'message': 'not all'}"),
        # it did not come to its callback
        (Ended(state="failed", reason="its callback failed"), 2, "failed: its callback failed"),
        # somebody has stopped it
        (Ended(state="cancelled", reason="cancelled by [you]"), 1, "The workflow was cancelled by [you]."),
    ],
)
def test_the_exit_code_tells_how_a_workflow_ended(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, meta: Ended, code: int, said: str
) -> None:
    """For whoever starts it and for whoever asks later."""
    started = []
    monkeypatch.setattr(workflows, "start", lambda _, task, **kwargs: started.append((task, kwargs)) or meta.id)
    monkeypatch.setattr(progress, "follow", lambda *_: meta)
    assert call("start", "refresh", "limit=10", "name=a=b", "flags=[1]") == (code, f"workflow an-id\n{said}\n", "")
    assert started == [("refresh", {"limit": 10, "name": "a=b", "flags": [1]})]

    monkeypatch.setattr(workflows, "read", lambda _: meta)
    monkeypatch.setattr(workflows, "failed_items", lambda _: iter([("[item]", {"status": False})]))
    found, out, err = call("workflow", "an-id")
    assert (found, err) == (code, "")
    assert out.splitlines() == [
        f"refresh an-id: {meta.state}, attempt 1, 2 of 2 done, 0 failed",
        "  failed: '[item]': {'status': False}",
        said,
    ]


def test_a_cancelled_workflow_and_an_opened_attempt_are_said_in_a_sentence(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt is followed to its end."""
    reason = "cancelled by `make cancel` at 2026-01-31T02:00:00Z"
    monkeypatch.setattr(workflows, "cancel", lambda _, by: Ended(state="cancelled", reason=f"cancelled by {by} at T"))
    assert call("cancel", "an-id") == (
        0, "refresh an-id was cancelled by `make cancel` at T. Nothing of it starts any more; items that run now end.\n", ""
    )  # fmt: skip
    monkeypatch.setattr(workflows, "replay", lambda _: Ended(state="running", attempt=2))
    for ended, code, said in (
        (Ended(result={"status": True}), 0, "done: {'status': True}"),
        (Ended(state="cancelled", reason=reason), 1, f"The workflow was {reason}."),
    ):
        monkeypatch.setattr(progress, "follow", lambda *_, ended=ended: ended)
        assert call("replay", "an-id") == (code, f"workflow an-id, attempt 2\n{said}\n", "")


def test_a_workflow_says_which_event_has_started_it(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is whatever somebody sent; what would move a terminal's cursor is shown instead of done."""
    monkeypatch.setattr(workflows, "read", lambda _: Ended(event_id="[7]\x1b[2J"))
    monkeypatch.setattr(workflows, "failed_items", lambda _: iter([]))
    _, out, _ = call("workflow", "an-id")
    assert out.splitlines()[1] == r"  event: stock.low '[7]\x1b[2J' from /shop"


def test_arguments_named_like_ours_are_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow's task may take `task` and `app`."""
    sent = []

    class App:
        def send_task(self, name: str, **options: Any) -> None:
            sent.append((name, options["kwargs"]))

    class Redis:
        def time(self) -> tuple[int, int]:
            return (1, 0)

        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: self

    monkeypatch.setattr("switchyard.workflows.record.client", Redis)
    assert workflows.start(App(), "refresh", task="t", app="a")  # type: ignore[arg-type]
    assert sent == [("refresh", {"task": "t", "app": "a"})]


@pytest.mark.parametrize("error", [redis.ConnectionError("connection refused"), redis.TimeoutError("timed out")])
def test_a_redis_that_is_away_is_a_sentence(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, error: redis.RedisError
) -> None:
    """With the next step."""

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("read", "cancel", "replay"):
        monkeypatch.setattr(workflows, name, fail)
    for name in ("shown", "retry", "drop"):
        monkeypatch.setattr(refused_events, name, fail)
    for command in (
        ["workflow", "an-id"],
        ["cancel", "a"],
        ["replay", "a"],
        ["refused"],
        ["refused", "--retry"],
        ["refused", "--drop"],
    ):
        assert call(*command) == (1, "", f"error: Redis does not answer ({error}). Is it up? `make ps`\n")


@pytest.mark.parametrize("chosen", [{"chunk_size": 0}, {"chunk_size": -1}, {"concurrency": 0}])
def test_a_fan_out_in_which_no_item_would_run_is_refused(chosen: dict[str, int]) -> None:
    """Chunks of nothing would end at once, as if there had been no items."""
    with pytest.raises(WorkflowError, match=f"fan_out: {next(iter(chosen))}: expected at least 1"):
        workflows.fan_out("each", [1, 2], callback="callback", workflow_id="w", **chosen)


# --- Reports

REPORTS = '[reports.sales]\nmodule = "shop.sales"\n[reports.coupons]\nmodule = "shop.coupons"\n'


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        # none is named: those that there are, or how to get one
        (REPORTS, [], "Which report? Say `make report R=<name>`. There are: sales, coupons."),
        ("", [], "Which report? Say `make report R=<name>`. There are: none yet: `make new-report NAME=<name>` writes one."),
        # one that is none
        (REPORTS, ["sale"], "There is no report 'sale'. Did you mean 'sales'?"),
        ("", ["sales"], "There is no report 'sales'. Expected one of: none."),
        # parameters of another form
        (REPORTS, ["sales", "2017"], "'2017' is no argument; expected key=value, such as period=2017-05."),
        (REPORTS, ["sales", "=1"], "'=1' is no argument; expected key=value, such as period=2017-05."),
        # a deployment that is not there
        (REPORTS, ["sales"], "There is no deployment here yet: run `make up`, or set CELERY_BROKER_URL."),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_asked_for_is_a_sentence(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, text: str, arguments: list[str], sentence: str
) -> None:
    """With the next step; nothing is started."""
    (config_dir / "queues.toml").write_text(text)
    assert call("report", *arguments) == (1, "", f"error: {sentence}\n")


MADE = {"status": True, "message": "[GROCERY] sells most.", "headline": [["units", 1234]], "files": ["/srv/sales.csv"]}


@pytest.mark.parametrize(
    ("meta", "code", "said"),
    [
        (Ended(result=MADE), 0, ["sales: [GROCERY] sells most.", "units  1,234", "csv    /srv/sales.csv"]),
        (Ended(state="failed", reason="[1] failed"), 2, ["sales was not made: [1] failed"]),
    ],
)
def test_a_report_is_started_with_its_parameters_and_told(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, monkeypatch: pytest.MonkeyPatch,
    meta: Ended, code: int, said: list[str],
) -> None:  # fmt: skip
    """By the name of its task; parameters are text, whatever they look like. The exit code tells how it ended."""
    (config_dir / "queues.toml").write_text(REPORTS)
    started = []
    monkeypatch.setattr(workflows, "start", lambda _, task, **kwargs: started.append((task, kwargs)) or meta.id)
    monkeypatch.setattr(progress, "follow_all", lambda ids, _: dict.fromkeys(ids, meta))
    found, out, err = call("report", "sales", "period=2017", "department=A=B")
    assert (found, err) == (code, "")
    assert [line for line in out.splitlines() if line] == ["workflow an-id", *said]
    assert started == [("reports.sales", {"period": "2017", "department": "A=B"})]


def test_a_new_report_says_what_was_written_and_what_to_try(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Below the checkout by its short name."""
    paths = [cli.ROOT / "services" / "shop" / "returns.py", tmp_path / "[queues].toml"]
    monkeypatch.setattr("switchyard.reports.scaffold.write", lambda _, name: paths)
    code, out, err = call("new-report", "returns")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "wrote services/shop/returns.py",
        f"wrote {tmp_path}/[queues].toml",
        "  try it     make up && make report R=returns",
    ]


# --- Refused events


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["when  [why]\n  body", "when  why\n  [b]body"], "Then: make refused DO=retry, or DO=drop"),
        ([], "No refused event is kept."),
    ],
)
def test_refused_events_are_shown_word_for_word(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, texts: list[str], said: str
) -> None:
    """With what can be done about them."""
    monkeypatch.setattr(refused_events, "shown", lambda: iter(texts))
    assert call("refused") == (0, "\n".join([*texts, said, ""]), "")


def test_refused_events_that_were_sent_again_or_dropped_are_counted(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One or the other, and never unasked."""
    monkeypatch.setattr(refused_events, "retry", lambda _: 1234)
    monkeypatch.setattr(refused_events, "drop", lambda _: 5)
    assert call("refused", "--retry") == (0, "Sent again: 1,234. What is refused again is kept again.\n", "")
    assert call("refused", "--drop") == (0, "Dropped: 5.\n", "")


@pytest.mark.parametrize(
    ("refused", "set_aside", "said"),
    [
        (0, 0, []),
        (1, 0, ["1 refused event is kept: make refused"]),
        (0, 1, ["1 message is set aside: make dead-letters"]),
        (1234, 5, ["1,234 refused events are kept: make refused", "5 messages are set aside: make dead-letters"]),
        (0, 799, ["799 messages are set aside: make dead-letters"]),
        (0, 800, ["800 messages are set aside: make dead-letters",
                  ("Dead letters are at 80% of DEAD_LETTERS_MAX (1,000), beyond which the oldest are dropped. Replay or drop some "
                  "(make dead-letters), or raise it in .env and say make up.")]),
    ],
)  # fmt: skip
def test_ps_says_below_the_programs_what_was_kept_because_it_could_not_be_done(
    call: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    refused: int,
    set_aside: int,
    said: list[str],
) -> None:
    """It is no failure: the exit code is that of the programs."""
    found = [status.Row("consumer", "ready", 12, 3, 7)], status.kept(refused, set_aside, most=1000)
    monkeypatch.setattr(local, "rows", lambda _: found)
    code, out, _ = call("ps")
    assert code == 0
    assert out.splitlines()[1].split() == ["consumer", "ready", "12", "3", "s", "7"]
    assert out.splitlines()[2:] == said


@pytest.mark.parametrize("demo", [True, False])
def test_what_to_open_next_is_said_when_all_is_ready(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo: bool
) -> None:  # fmt: skip
    """The doors, where the credentials are, and the next commands; no secret itself."""
    (config_dir / "queues.toml").write_text("")
    monkeypatch.setenv("API_PORT", "8123")
    monkeypatch.setenv("DEMO", str(int(demo)))
    monkeypatch.setattr("switchyard.runtime.local.up", lambda *_: None)
    code, out, err = call("up")
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=1) for line in out.splitlines()[1:]] == [
        ["HTTP", "door    http://127.0.0.1:8123/v1"],
        ["token", f"{tmp_path}/state/secrets/api_tokens  (name:token)"],
        ["Flower", "http://127.0.0.1:5555"],
        ["credentials", f"{tmp_path}/state/secrets/flower_basic_auth  (user:password)"],
        ["try", "next     make ps, make logs" + ", make demo" * demo],
    ]


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        # a workflow that no queue takes, and an event that no door would take
        ('[events.x]\nworkflow = "b"\n', "events.toml: events.\"x\".workflow: no queue takes the task 'b'; add it to a queue's tasks."),
        ('[schedules.s]\nevent = "x"\nschedule = "0 2 * * *"\n', "events.toml: schedules.s.event: nothing waits for 'x'."),
    ],
)  # fmt: skip
def test_events_that_start_nothing_are_refused_before_anything_is_changed(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, monkeypatch: pytest.MonkeyPatch, events: str, sentence: str
) -> None:  # fmt: skip
    """What runs is left alone."""
    (config_dir / "queues.toml").write_text('[queues.default]\ntasks = ["a.*"]\n')
    (config_dir / "events.toml").write_text(events)
    changed: list[object] = []
    monkeypatch.setattr("switchyard.runtime.local.up", lambda *_: changed.append(1))
    code, out, err = call("up")
    assert (code, out, changed) == (1, "", [])
    assert err.startswith(f"error: {sentence}")


# --- Rendering


def test_a_stale_render_is_named_and_written_by_the_command_it_names(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--check` only compares."""
    monkeypatch.setattr("switchyard.render.tasks.refusals", lambda *_: [])
    (config_dir / "queues.toml").write_text("")
    code, _, err = call("render", "--check")
    assert (code, err) == (1, "error: stale: config/supervisor/queues.conf. Run `make render`.\n")
    assert not (config_dir / "supervisor").exists()
    assert call("render")[:2] == (0, "wrote config/supervisor/queues.conf\nUp to date. `make up` applies it.\n")
    assert call("render", "--check")[0] == 0
    assert call("render")[:2] == (0, "Up to date. `make up` applies it.\n")


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        # in either file
        ("queues.toml", '[reports.a]\nmodule = "m"\nschedule = "daily"\n', "error: queues.toml: reports.a.schedule: expected a cron"),
        ("events.toml", '[events.a]\nworkflow = "w"\n[schedules.a]\nevent = "a"\nschedule = "daily"\n',
         "error: events.toml: schedules.a.schedule: expected a cron"),
    ],
)  # fmt: skip
def test_a_bad_schedule_is_refused_before_anything_is_rendered(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, monkeypatch: pytest.MonkeyPatch,
    file: str, text: str, sentence: str,
) -> None:  # fmt: skip
    """The clock would fall over it."""
    monkeypatch.setattr("switchyard.render.tasks.refusals", lambda *_: [])
    (config_dir / "queues.toml").write_text("")
    (config_dir / file).write_text(text)
    for arguments in (["render"], ["render", "--check"]):
        code, _, err = call(*arguments)
        assert code == 1
        assert err.startswith(sentence)
    assert not (config_dir / "supervisor").exists()


def test_the_workflows_of_events_toml_are_compared_with_the_apps_tasks(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their keys."""
    monkeypatch.setattr("switchyard.render.tasks.refusals", lambda config, queues, workflows: [str(workflows)])
    (config_dir / "queues.toml").write_text("")
    (config_dir / "events.toml").write_text('[events.x]\nworkflow = "w"\n')
    assert call("render") == (1, "", "error: {'events.toml: events.\"x\".workflow': 'w'}\n")


def test_nothing_is_rendered_from_what_is_refused(
    call: Callable[..., tuple[int, str, str]], config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every refusal is told."""
    monkeypatch.setattr("switchyard.render.tasks.refusals", lambda *_: ["one", "two"])
    (config_dir / "queues.toml").write_text("")
    assert call("render") == (1, "", "error: one\ntwo\n")
    assert not (config_dir / "supervisor").exists()


# --- Dead letters

LETTERS = [
    dead_letters.DeadLetter(
        "1", 0.0, "default", "orders.bill", "id-1", 0, "ValueError: on [purpose]\nand so on", "default@host"
    ),
    dead_letters.DeadLetter("2", 86400.0, "sales", "\x1b[2J", "?", 3, "see redis://user:hush@host/0", ""),
]


@pytest.fixture
def letters(config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Two are kept; what is done to them."""
    (config_dir / "queues.toml").write_text("")
    done: list[tuple[str, str]] = []

    def find(number: str) -> dead_letters.DeadLetter:
        try:
            return next(letter for letter in LETTERS if number in (letter.id, letter.task_id))
        except StopIteration:
            raise SwitchyardError(f"none is {number}") from None

    monkeypatch.setattr(dead_letters, "find", find)
    monkeypatch.setattr(dead_letters, "kept", lambda queue: (x for x in LETTERS if queue in (None, x.queue)))
    monkeypatch.setattr(runtime_letters, "replay", lambda letter, _: done.append(("replayed", letter.id)))
    monkeypatch.setattr(runtime_letters, "drop", lambda letter: done.append(("dropped", letter.id)))
    return done


@pytest.mark.usefixtures("letters")
def test_dead_letters_are_listed_a_line_each(call: Callable[..., tuple[int, str, str]]) -> None:
    """All of each cause for whoever reads them from a pipe; nothing in it moves a cursor or is a secret of a URL."""
    code, out, err = call("dead-letters")
    assert (code, err) == (0, "")
    header, first, second = (line.rstrip() for line in out.splitlines())
    assert header.split() == ["id", "kept", "queue", "task", "cause"]
    assert first.split(maxsplit=4) == [
        "1",
        "1970-01-01T00:00:00Z",
        "default",
        "orders.bill",
        "ValueError: on [purpose] and so on",
    ]
    assert second.endswith("see redis://user:***@host/0")
    assert "\x1b" not in out
    assert len(call("dead-letters", "--queue", "sales")[1].splitlines()) == 2
    assert call("dead-letters", "list", "--queue", "none") == (0, "No dead letter of the queue 'none' is kept.\n", "")


@pytest.mark.parametrize(
    ("arguments", "done", "said"),
    [
        (["replay", "2"], [("replayed", "2")], "Replayed: 1.\n"),
        (["replay", "id-1", "2"], [("replayed", "1"), ("replayed", "2")], "Replayed: 2.\n"),
        (["drop", "--all"], [("dropped", "1"), ("dropped", "2")], "Dropped: 2.\n"),
        (["drop", "--all", "--queue", "sales"], [("dropped", "2")], "Dropped: 1.\n"),
        (["replay", "--all", "--queue", "none"], [], "Replayed: 0.\n"),
    ],
)
def test_dead_letters_are_replayed_or_dropped_and_counted(
    call: Callable[..., tuple[int, str, str]], letters: list[tuple[str, str]], arguments: list[str],
    done: list[tuple[str, str]], said: str,
) -> None:  # fmt: skip
    """By their id or their task's, all of them, or all of a queue."""
    assert call("dead-letters", *arguments) == (0, said, "")
    assert letters == done


def test_one_dead_letter_that_is_not_there_keeps_no_other(
    call: Callable[..., tuple[int, str, str]], letters: list[tuple[str, str]]
) -> None:
    """It is told, and the exit code is that of a refusal."""
    assert call("dead-letters", "drop", "7", "1") == (1, "Dropped: 1.\n", "error: none is 7\n")
    assert letters == [("dropped", "1")]
