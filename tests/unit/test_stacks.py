"""What tells which task runs: a thread's, or a greenlet's, own stack, whoever else runs the same task meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from celery import Celery, current_task

from switchyard.worker import stacks

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
from celery import Celery, current_task
from switchyard.worker import stacks
app = Celery("greenlets", set_as_current=False)

@app.task(shared=False)
def outer(number):
    gevent.sleep(0)
    return current_task.request.args[0] if number % 2 else inner(number)

@app.task(shared=False)
def inner(number):
    gevent.sleep(0)
    return current_task.request.args[0]

stacks.quicken(app)
tasks = [gevent.spawn(outer, number) for number in range(20)]
print([task.get() for task in tasks] == [*range(20)], len(outer.request_stack), *type(outer.request_stack._local).__mro__)
"""


def an_app() -> tuple[Celery, threading.Barrier]:
    app, barrier = Celery("stacks", set_as_current=False), threading.Barrier(2, timeout=20)

    @app.task(name="wait", shared=False)
    def wait(number: int) -> tuple[int, str, int]:
        barrier.wait()
        told = (current_task.request.args[0], current_task.name, len(wait.request_stack))
        barrier.wait()
        return told

    @app.task(name="around", shared=False)
    def around(number: int) -> tuple[tuple[int, str, int], str]:
        return wait(number), current_task.name

    app.finalize()
    stacks.quicken(app)
    return app, barrier


def test_two_threads_that_run_one_task_at_once_have_their_own_request_each() -> None:
    app, _ = an_app()
    told: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda n=number: told.update({n: app.tasks["around"](n)})) for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told == {number: ((number, "wait", 1), "around") for number in range(2)}
    assert [len(app.tasks[name].request_stack) for name in ("wait", "around")] == [0, 0]


def test_greenlets_that_run_one_task_at_once_have_their_own_request_each() -> None:
    """In an interpreter of their own, as a gevent worker has one: the library is patched before anything is loaded."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True 0 "), done.stdout
    assert "gevent" in done.stdout


def test_a_stack_is_quickened_once_and_what_is_on_it_stays() -> None:
    app, _ = an_app()
    stack = app.tasks["wait"].request_stack
    stack.push("a request")
    stacks.quicken(app)
    assert stack.top == stack.pop() == "a request"
    assert stack.pop() is None


def test_stacks_of_another_kind_are_left_alone() -> None:
    """Celery has a faster kind of its own, which may be asked for."""
    app, _ = an_app()
    other = app.tasks["wait"].request_stack = type("Other", (), {})()
    stacks.quicken(app)
    assert app.tasks["wait"].request_stack is other
    assert not hasattr(other, "_local")
