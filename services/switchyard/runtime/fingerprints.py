"""Settings in, a fingerprint per program out: it changes when the program must start anew to run as configured."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from dotenv import dotenv_values

from switchyard.health import queue_name
from switchyard.queues import Queues
from switchyard.report import Report
from switchyard.settings import ROOT, Settings, is_ours

#: What every process that publishes or consumes is started with.
EVERYWHERE = {"redis_port", "workflow_expires", "log_format", "task_routes", "broker_transport"}
#: What workers read besides, whatever their queue.
OF_WORKERS = {"broker_lease", "max_deliveries", "dead_letters_days", "dead_letters_max"}
#: What those read besides that take events in. What the file of tokens holds is none of it: that is read again at a change.
OF_DOOR = {
    "producer": {"log_level", "api_port", "api_hosts", "api_tokens_file", "artefacts_dir"},
    "consumer": {"log_level"},
    "clock": {"log_level", "timezone"},
}


def of_program(config: Settings, queues: Queues, program: str) -> str:
    """The fingerprint of a program as it would be started now."""
    return hashlib.sha256(json.dumps(_relevant(config, queues, program), sort_keys=True).encode()).hexdigest()[:16]


def _relevant(config: Settings, queues: Queues, program: str) -> list[object]:
    urls = [url.get_secret_value() if url else "" for url in (config.celery_broker_url, config.celery_result_backend)]
    common = [config.model_dump(mode="json", include=EVERYWHERE), urls]
    queue = queue_name(program)
    if queue is not None:
        # How much may wait is the doors' to know. The stock transport's visibility timeout is the fleet's: a worker with an older, shorter one would repeat a new queue's long tasks.
        own = config.model_dump(mode="json", include=OF_WORKERS)
        timeout = queues.visibility_timeout if config.broker_transport == "stock" else None
        return [*common, own, config.celery_app, _not_ours(), queues[queue].model_dump(mode="json", exclude={"max_waiting"}), timeout,
                *_of_report(config, queues.report_of(queue))]  # fmt: skip
    if program in OF_DOOR:
        own = config.model_dump(mode="json", include=OF_DOOR[program])
        # The others look the reports up as they take events in; the clock's schedules and chores are made of them once.
        reports = [(report.name, report.schedule) for report in queues.reports.values() if program == "clock"]
        return [*common, own, _text(config.config_dir / "events.toml"), reports]
    if program == "flower":
        given = config.flower_basic_auth
        return [
            *common,
            config.flower_port,
            given.get_secret_value() if given else "",
            _text(config.config_dir / "flower.py"),
        ]
    if program == "redis":
        return [config.redis_port, _text(config.config_dir / "redis.conf")]
    # A fork's own program, or the demo's: what it reads is not known here, but where.
    return [*common, _text(ROOT / ".env")]


def _of_report(config: Settings, report: Report | None) -> list[object]:
    """What its workers run besides the queue itself: its keys, and its module, so that an edit needs only `make up`."""
    if report is None:
        return []
    module = Path(*report.module.split("."))
    texts = [
        _text(Path(folder or ".") / file) for folder in sys.path for file in (f"{module}.py", module / "__init__.py")
    ]
    return [report.model_dump(mode="json"), str(config.artefacts_dir), next(filter(None, texts), "")]


def _not_ours() -> dict[str, str | None]:
    """What `.env` says to a fork's tasks. Which of them reads what is not known here."""
    return {name: value for name, value in dotenv_values(ROOT / ".env").items() if not is_ours(name)}


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
