"""The tasks that really exist, asked of the fork's app in a process of its own; compared with what queues take and events start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from switchyard.errors import ConfigError
from switchyard.queues import Queues
from switchyard.report import TASKS_MODULE
from switchyard.settings import ROOT, Settings, environment

# In a process of its own: importing a fork's app may patch, log or connect, and must not do that to a make target.
PROBE = """
import importlib, json, sys, traceback
from celery.app.utils import find_app
from switchyard.errors import SwitchyardError
app = find_app(sys.argv[1])
app.loader.import_default_modules()
broken = []
for place, module in json.loads(sys.argv[2]):
    if broken and place == "reports":
        continue  # its cause is told already
    try:
        importlib.import_module(module)
    except SwitchyardError as exc:
        broken.append(str(exc))
    except (Exception, SystemExit):
        broken.append(f"{place}: {module!r} cannot be imported:\\n{traceback.format_exc()}")
app.finalize()
print("\\n" + json.dumps({"tasks": sorted(app.tasks), "broken": broken}))
"""


def refusals(config: Settings, queues: Queues, workflows: Mapping[str, str]) -> list[str]:
    """What is wrong between the app's tasks, queues.toml, and the workflows of events.toml, which come as key = task.

    Raises ConfigError when the app itself cannot be imported.
    """
    if not config.celery_app:
        raise ConfigError(
            "CELERY_APP is not set; it names your Celery app, such as proj.celery:app. It belongs in .env."
        )
    command = [sys.executable, "-c", PROBE, config.celery_app, json.dumps(_imports(queues))]
    # The app is imported, nothing is sent: it needs a broker's name, not a broker.
    nowhere = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/1"}
    env = {**environment(), **nowhere, "PYTHONPATH": str(ROOT / "services") + ":" + environment().get("PYTHONPATH", "")}
    env.pop("QUEUE", None)
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(f"CELERY_APP: {config.celery_app!r} cannot be imported:\n{done.stderr.strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    return list(dict.fromkeys(found["broken"])) or queues.refusals(found["tasks"], workflows)


def _imports(queues: Queues) -> list[tuple[str, str]]:
    """Each module that a worker imports, after the key that names it; the reports' tasks last, they need their modules."""
    own = [(f"queues.{queue.name}.imports", module) for queue in queues.by_name.values() for module in queue.imports
           if not queues.report_of(queue.name)]  # fmt: skip
    modules = [(f"reports.{report.name}.module", report.module) for report in queues.reports.values()]
    return [*own, *modules, *([("reports", TASKS_MODULE)] if modules else [])]
