"""A busy queue's rate beside many idle ones in queues.toml, and alone; idle queues are config: their workers do not run.

Both workers run all the while and one of them is stopped, by turns, and so it is with both publishers: a noisy moment is both's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bench.no_op.rates import Case, Race, turns_of
from bench.no_op.workers import POOLS, TOML, Side
from bench.numbers import median
from bench.row import Row
from bench.section import out
from bench.systems.publisher import Publisher
from bench.workers import Bench

#: Least that the busy queue's rate may be, as a ratio to its rate alone.
AT_LEAST = 0.95
#: Messages that a publisher sends in a turn, and turns of a round.
_MESSAGES, _TURNS = 50, 10


def compare(made: Bench, idle: int, rounds: int, seconds: float) -> Iterator[Row]:
    """Tasks per second and processor per task of a worker, and messages per second of a publisher; each beside itself alone."""
    tables = "".join(f'[queues.idle{number}]\ntasks = ["idle{number}.*"]\n' for number in range(idle))
    beside = Side("ours", 0, config=_written(made.folder / "beside", TOML + tables))
    alone = Side("kombus", 2, config=_written(made.folder / "alone", TOML))
    case = Case(POOLS["solo"], 64, AT_LEAST)
    rates: list[tuple[float, float]] = []
    for number in range(rounds):
        race = Race(made, case, (beside, alone))
        case.rounds.append(race.run(turns_of(seconds)))
        one, other = case.rounds[-1]
        out.print(
            f"round {number + 1} of {rounds}: beside {idle} idle queues {one.rate:,.0f} tasks/s, alone {other.rate:,.0f}{race.oddities()}"
        )
        race.end()
        rates += _published(made, beside, alone)
    name = f"a busy queue beside {idle} idle ones, and alone"
    for row in case.rows():
        yield Row(name, row.unit, row.ours, row.stock, at_least=row.at_least, paired=row.paired)
    ones, others = zip(*rates, strict=True)
    ratio = median(one / other for one, other in rates)
    yield Row(name, "published/s", median(ones), median(others), at_least=AT_LEAST, paired=ratio)


def _published(made: Bench, *sides: Side) -> list[tuple[float, float]]:
    """What both publishers send per second, by turns."""
    publishers = [_publisher(made, side) for side in sides]
    for publisher in publishers:
        _rate(publisher)  # what a first message loads is not repeated
    found = [(_rate(publishers[0]), _rate(publishers[1])) for _ in range(_TURNS)]
    made.stop([publisher.process for publisher in publishers])
    made.client().flushall()
    return found


def _publisher(made: Bench, side: Side) -> Publisher:
    url = f"redis://127.0.0.1:{made.port}"
    environment = {
        "CONFIG_DIR": str(side.config),
        "CELERY_BROKER_URL": f"{url}/{side.database}",
        "BENCH_COUNTER": f"{url}/1",
    }
    return Publisher(made, side.name, sys.executable, "bench.systems.ours", environment)


def _rate(publisher: Publisher) -> float:
    began, ended = publisher.send("no_op", _MESSAGES)
    return _MESSAGES / (ended - began)


def _written(folder: Path, toml: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "queues.toml").write_text(toml)
    return str(folder)
