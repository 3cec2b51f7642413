"""A report of which one partition does on request what none should; `good` is another one beside it."""

import os
import signal
import time
from pathlib import Path

from switchyard import reports
from switchyard.errors import ReportError
from switchyard.reports import Artefact, Chart, Period, Series

FOLDER = Path(os.environ["TEST_FOLDER"])


class Parameters(reports.Parameters):
    does: str = "counts"
    partitions: int = 3
    mark: str = ""
    period: Period = Period.parse("2017")


def take_all_memory():
    hoard = [bytearray(os.urandom(1024) * 10_000) for _ in range(60)]
    time.sleep(30)
    return len(hoard)


def partitions(parameters):
    if parameters.does == "starts too large":
        take_all_memory()
    if parameters.does == "refuses":
        raise ReportError("There is nothing to report on before 2017.")
    return [{"number": n, "does": parameters.does if n == 1 else "counts", "mark": parameters.mark}
            for n in range(parameters.partitions)]  # fmt: skip


def aggregate(partition):
    with (FOLDER / "aggregated").open("a") as file:
        file.write(f"{partition['number']} {partition['mark']}\n")
    match partition["does"]:
        case "raises":
            raise ValueError("on purpose")
        case "raises once":
            flag = FOLDER / f"raised {partition['number']}"
            if not flag.exists():
                flag.touch()
                raise ConnectionError("the first time only")
        case "hangs":
            time.sleep(60)
        case "hangs and hides it":
            try:
                time.sleep(60)
            except BaseException as exc:
                raise RuntimeError("Query interrupted") from exc
        case "returns a set":
            return {1, 2}
        case "kills its process":
            os.kill(os.getpid(), signal.SIGKILL)
        case "takes all memory":
            return take_all_memory()
    return [[partition["mark"], partition["number"]]]


def report(partials, parameters):
    if parameters.does == "ends too large":
        take_all_memory()
    rows = [tuple(row) for rows in partials for row in rows]
    if parameters.does == "cannot be written":
        rows.append(("a row that is too short",))
    return Artefact(
        title="Trials", message=f"{len(rows)} partitions counted.",
        headline=[("partitions", len(rows)), ("mark", parameters.mark)],
        chart=Chart("bars", [str(row[-1]) for row in rows], [Series("number", [row[-1] for row in rows])], unit="numbers"),
        columns=["mark", "number"], rows=rows, source="this test", period=str(parameters.period), row_counts={"trials": len(rows)},
    )  # fmt: skip
