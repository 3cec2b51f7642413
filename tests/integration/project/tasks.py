"""Items and callbacks that misbehave on request. Each begin of an item is noted in a file, so that a test can count them."""

import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

from celery import shared_task
from celery.exceptions import Ignore, Reject
from gevent.monkey import get_original

from switchyard.workflows import current, fan_out

FOLDER = Path(os.environ["TEST_FOLDER"])


def note(name, text):
    with (FOLDER / name).open("a") as file:
        file.write(f"{text}\n")


def misbehave_as_told(what, how, *_):
    match what:
        case "waits until begun":
            while len((FOLDER / "begun").read_text().splitlines()) < how:
                time.sleep(0.05)
        case "sleeps":
            time.sleep(how)
        case "waits for":
            while not (FOLDER / how).exists():
                time.sleep(0.05)
        case "fails until":
            if not (FOLDER / how).exists():
                raise ValueError("not yet")


@shared_task(name="misbehave")
def misbehave(item):
    note("begun", item)
    match item:
        case "raises":
            raise ValueError("on purpose")
        case "exits":
            sys.exit(3)
        case "hangs":
            time.sleep(60)
        case "returns a set":
            return {1, 2}
        case "returns itself":
            loop = []
            loop.append(loop)
            return loop
        case "says false":
            return {"status": False, "message": "I say so"}
        case "kills its process":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hangs beyond interruption":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(60)
        case [what, *told]:
            misbehave_as_told(what, *told)
    return item


@shared_task(name="collect")
def collect(results):
    workflow = current()
    note("called_back", f"{workflow.id}/{workflow.attempt} {len(results)}")
    return {"results": results, "key": f"{workflow.id}/{workflow.attempt}"}


@shared_task(name="collect_badly")
def collect_badly(results):
    raise RuntimeError("the callback breaks")


@shared_task(name="collect_slowly")
def collect_slowly(results):
    time.sleep(60)


@shared_task(name="collect_fatally")
def collect_fatally(results):
    note("called_back", "fatally")
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="collect_later")
def collect_later(results):
    note("called_back", len(results))
    while not (FOLDER / "open").exists():
        time.sleep(0.05)
    note("called_back", "ended")
    return {"results": results}


@shared_task(name="collect_if_mended")
def collect_if_mended(results):
    if not (FOLDER / "mended").exists():
        raise RuntimeError("the callback breaks")
    return collect(results)


@shared_task(name="collect_or_say_false")
def collect_or_say_false(results):
    return collect(results) | {"status": (FOLDER / "mended").exists()}


@shared_task(name="spread")
def spread(items, callback="collect", chunk_size=10, concurrency=16):
    return fan_out(misbehave, items, callback=callback, chunk_size=chunk_size, concurrency=concurrency)


@shared_task(name="spread_nothing_but_raise")
def spread_nothing_but_raise():
    raise LookupError("no items today")


@shared_task(name="spread_if_mended")
def spread_if_mended(items):
    note("begun", "the start")
    if not (FOLDER / "mended").exists():
        raise LookupError("no items today")
    return fan_out(misbehave, items, callback=collect)


@shared_task(name="spread_many")
def spread_many(count):
    return fan_out(do_nothing, range(count), callback=count_results)


@shared_task(name="spread_freely")
def spread_freely(items=None, count=0, counted=True, callback="collect", stream=False):
    """With nothing said about chunks, or how many items run at once."""
    source = items or (range(count) if counted else iter(range(count)))
    return fan_out(misbehave if items else do_nothing, source, callback=callback, stream=stream)


at_once = []


@shared_task(name="spread_to_count")
def spread_to_count(count, **chosen):
    return fan_out(count_at_once, range(count), callback=collect, **chosen)


@shared_task(name="count_at_once")
def count_at_once(item):
    """How many of these run in this process right now."""
    at_once.append(item)
    found = len(at_once)
    time.sleep(0.2)
    at_once.remove(item)
    return found


@shared_task(name="look_at_results")
def look_at_results(results):
    """A callback that may be given more than fits into memory."""
    return {
        "is a list": isinstance(results, list), "len": len(results), "sum": sum(results), "last": results[-1],
        "some": results[1000:1003],
    }  # fmt: skip


@shared_task(name="do_nothing")
def do_nothing(item):
    return item


@shared_task(name="count_results")
def count_results(results):
    return len(results)


@shared_task(name="spread_from_a_broken_source")
def spread_from_a_broken_source():
    def items():
        yield from range(500)
        raise LookupError("the source broke in the middle")

    return fan_out(misbehave, items(), callback=collect)


@shared_task(name="spread_slowly")
def spread_slowly():
    def items():
        for number in range(400):
            time.sleep(0.02)
            yield number

    return fan_out(misbehave, items(), callback=collect, chunk_size=1)


@shared_task(name="spread_twice")
def spread_twice():
    first = fan_out(misbehave, [1], callback=collect)
    try:
        fan_out(misbehave, [2], callback=collect_badly)
    except Exception as exc:
        note("second", exc)
    return first


@shared_task(name="last")
def last(name, seconds):
    note("begun", name)
    time.sleep(seconds)
    note("ended", name)


@shared_task(name="compute")
def compute(name, seconds):
    note("begun", name)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@shared_task(name="block")
def block(name, seconds):
    note("begun", name)
    get_original("time", "sleep")(seconds)  # on gevent, nothing else runs meanwhile


@shared_task(name="gate")
def gate(name):
    """Runs until the file is there that its worker waits for."""
    note("begun", name)
    while not (FOLDER / f"open_{os.environ.get('GATE', '')}").exists():
        time.sleep(0.05)
    note("ended", name)


@shared_task(name="later")
def later(name):
    note("later", f"{name} {time.time()}")


@shared_task(name="try_later", bind=True, max_retries=1)
def try_later(self, name, seconds):
    note("later", f"{name} {time.time()}")
    raise self.retry(countdown=seconds)


@shared_task(name="fails_after_retries", bind=True, max_retries=2)
def fails_after_retries(self, **arguments):
    note("begun", self.request.id)
    try:
        raise ValueError("on purpose")
    except ValueError as exc:
        raise self.retry(exc=exc, countdown=0) from exc


@shared_task(name="fails_early", acks_late=False, ignore_result=True)
def fails_early(name, gated=False):
    note("begun", name)
    if gated == "kills its process":
        os.kill(os.getpid(), signal.SIGKILL)
    while gated and not (FOLDER / "open_").exists():
        time.sleep(0.05)
    raise ValueError("on purpose")


@shared_task(name="fails_at_the_gate", ignore_result=True)
def fails_at_the_gate(name):
    gate(name)
    raise ValueError("on purpose")


@shared_task(name="ends_otherwise", bind=True)
def ends_otherwise(self, how):
    """In ways that are no failures for good."""
    note("begun", how)
    if how == "ignored":
        raise Ignore
    if how == "calls one that fails":
        try:
            needs_mending("called")
        except LookupError:
            needs_mending.apply(["eager"])
    if how == "requeued" and not self.request.delivery_info["redelivered"]:
        raise Reject("not yet", requeue=True)
    note("ended", how)


@shared_task(name="rejects")
def rejects():
    raise Reject("no such customer", requeue=False)


@shared_task(name="needs_mending", bind=True)
def needs_mending(self, name, **arguments):
    note("begun", f"{name} {self.request.id}")
    if not (FOLDER / "mended").exists():
        raise LookupError("half a character: \udc80")
    note("ended", f"{name} {self.request.id}")
    return name


@shared_task(name="comes_after")
def comes_after(result):
    note("after", result)


@shared_task(name="takes_all_memory")
def takes_all_memory():
    note("begun", "takes all memory")
    taken = []
    while not (FOLDER / "mended").exists():
        taken.append(os.urandom(1) * 10_000_000)
        time.sleep(0.02)
    note("ended", "takes all memory")


@shared_task(name="tells_its_sockets_timeout")
def tells_its_sockets_timeout(name):
    gate(name)
    note("timeouts", socket.getdefaulttimeout())


opened = []


@shared_task(name="opens_files", ignore_result=True)
def opens_files(number):
    """So many, and as many again once the gate is open: the numbers of what was closed meanwhile are taken then."""
    limit = max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    for name in ("first", "second"):
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(number))
        gate(name)


@shared_task(name="goes_wrong", ignore_result=True)
def goes_wrong(how):
    note("begun", how)
    match how:
        case "takes more than there is":
            bytearray(1 << 60)
        case "exits":
            sys.exit(3)


@shared_task(name="tries_again_at_the_gate", bind=True, max_retries=5, ignore_result=True)
def tries_again_at_the_gate(self, name):
    if self.request.retries or (FOLDER / "told").exists():
        note("ended", name)
        return
    gate(name)
    try:
        raise self.retry(countdown=0.2)
    except Reject:
        note("told", name)
        raise


@shared_task(name="gate_early", acks_late=False, ignore_result=True)
def gate_early(name):
    gate(name)
