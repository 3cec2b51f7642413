"""config/events.toml in, rules and schedules out; and every way in which it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from switchyard import queues
from switchyard.errors import ConfigError
from switchyard.events.config import EventConfig, Rule, Schedule, load
from switchyard.report import Report
from switchyard.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path

A_RULE = '[events.a]\nworkflow = "w"\n'
A_SCHEDULE = '[schedules.s]\nevent = "a"\nschedule = "0 2 * * *"\n'
A_CRON_LINE = 'expected a cron line of five fields, such as "0 2 * * *"'
A_ZONE = "expected the name of a time zone, such as Europe/Berlin"
QUOTED = 'A name with dots is quoted in the head: "a.b".'
A_KEY = 'expected a key of the data, such as "limit" or "customer.id"'
A_PARAMETER = 'expected a key of the data, such as "limit", "customer.id", or "limit?" where it may be missing'
A_VALUE = 'expected a text, a number, a boolean, or a list of these; a key in a key is quoted, such as "customer.id"'


def report(name: str, schedule: str | None = None) -> Report:
    return Report(name=name, module="shop.reports", schedule=schedule)


def loaded(folder: Path, text: str, *reports: Report) -> EventConfig:
    (folder / "events.toml").write_text(text)
    return load(folder, reports)


def refusal(folder: Path, text: str, *reports: Report) -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(folder, text, *reports)
    return str(refused.value)


# --- Rules


def test_a_type_of_event_has_its_workflow_its_parameters_and_its_path(tmp_path: Path) -> None:
    """In the file's order; all but the workflow may be left out."""
    found = loaded(
        tmp_path,
        '[events."product.updated"]\nworkflow = "w"\nparameters = { id = "product.id", limit = "limit?" }\n'
        'when = { kind = "a", n = [1, 2.5, true] }\npath = "/v1/products/refresh"\n[events.c]\nworkflow = "v"\n',
    )
    assert list(found.rules) == ["product.updated", "c"]
    (full,), (bare,) = found.rules.values()
    assert full.parameters == {"id": "product.id", "limit": "limit?"}
    assert (full.when, full.path) == ({"kind": ("a",), "n": (1, 2.5, True)}, "/v1/products/refresh")
    assert bare == Rule(workflow="v", parameters={}, when={}, path=None)
    assert found.schedules == ()


def test_a_type_may_have_several_tables(tmp_path: Path) -> None:
    """In the file's order, also a list of one; they may share a path."""
    found = loaded(
        tmp_path,
        '[[events."a.b"]]\nworkflow = "w"\npath = "/v1/x"\nwhen = { n = 1 }\n'
        '[[events."a.b"]]\nworkflow = "v"\npath = "/v1/x"\n[[events.c]]\nworkflow = "u"\n',
    )
    assert [[rule.workflow for rule in rules] for rules in found.rules.values()] == [["w", "v"], ["u"]]


def test_each_workflow_is_found_after_the_key_that_names_it(tmp_path: Path) -> None:
    """For refusals that only queues and tasks can give a reason for; those of reports are no key's."""
    text = '[[events."a.b"]]\nworkflow = "w"\n[[events."a.b"]]\nworkflow = "v"\n[[events.c]]\nworkflow = "w"\n'
    assert loaded(tmp_path, text, report("sales")).workflows == {
        'events.toml: events."a.b"[0].workflow': "w",
        'events.toml: events."a.b"[1].workflow': "v",
        'events.toml: events."c".workflow': "w",
    }


@pytest.mark.parametrize("text", ["", "[events]\n[schedules]\n"])
def test_a_file_without_events_has_none(tmp_path: Path, text: str) -> None:
    """As a missing file has."""
    assert load(tmp_path, []) == loaded(tmp_path, text) == EventConfig({}, ())


def test_the_repositorys_own_events_are_accepted() -> None:
    """What is shipped starts; queues take all of its workflows."""
    found = queues.load(ROOT / "config", {}, amended=False)
    config = load(ROOT / "config", found.reports.values())
    assert found.untaken(config.workflows) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # another table, or a value where tables are expected
        ("[event.a]\n", "'event' is no table here. Did you mean 'events'?"),
        ("[zzz]\n", "'zzz' is no table here. Expected one of: events, schedules."),
        ("events = 3\n", "events: expected tables of events, got 3."),
        ("[[schedules]]\n", "schedules: expected tables of schedules, got [{}]."),
        ("[events]\na = 'w'\n", "events.\"a\": expected a table of keys, got 'w'."),
        ("[events]\na = []\n", 'events."a": expected a table of keys, got [].'),
        ("[events]\na = [{workflow = 'w'}, 3]\n", 'events."a"[1]: expected a table of keys, got 3.'),
        # no workflow, an empty one, one that is no text; in one of several tables
        ("[events.a]\n", 'events."a".workflow: field required.'),
        ("[events.a]\nworkflow = ''\n", "events.\"a\".workflow: string should have at least 1 character, got ''."),
        ("[events.a]\nworkflow = 3\n", 'events."a".workflow: input should be a valid string, got 3.'),
        ("[[events.a]]\nworkflow = 'w'\n[[events.a]]\n", 'events."a"[1].workflow: field required.'),
        # an unknown key
        (A_RULE + "parameter = 'x'\n", "events.\"a\".parameter: unknown key. Did you mean 'parameters'?"),
        (A_RULE + "cron = 'x'\n", 'events."a".cron: unknown key. Expected one of: parameters, path, when, workflow.'),
        (A_RULE + "schedule = '0 2 * * *'\n",
         'events."a".schedule: unknown key. Expected one of: parameters, path, when, workflow.'),
        # a type with dots that is not quoted is tables in tables
        ("[events.product.updated]\nworkflow = 'w'\n",
         f'events."product".updated: unknown key. Expected one of: parameters, path, when, workflow. {QUOTED}'),
        # no event can have such a type
        ("[events.'']\nworkflow = 'w'\n", "events.\"\": bad type; string should have at least 1 character, got ''."),
        ('[events."a\\n"]\nworkflow = "w"\n',
         "events.\"a\n\": bad type; expected a text without control characters, got 'a\\n'."),
        # the reports' own
        ('[events."report.requested"]\nworkflow = "w"\n',
         'events."report.requested": it starts the reports of queues.toml already; take another name.'),
        # parameters: a key, dots between keys, ? only at the end
        (A_RULE + "parameters = { x = 3 }\n", 'events."a".parameters.x: input should be a valid string, got 3.'),
        (A_RULE + "parameters = ['x']\n", "events.\"a\".parameters: input should be a valid dictionary, got ['x']."),
        (A_RULE + "parameters = { x = '' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got ''."),
        (A_RULE + "parameters = { x = '?' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got '?'."),
        (A_RULE + "parameters = { x = 'a?.b' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got 'a?.b'."),
        (A_RULE + "parameters = { x = 'a??' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got 'a??'."),
        (A_RULE + "parameters = { x = 'a..b' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got 'a..b'."),
        (A_RULE + "parameters = { x = '.a' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got '.a'."),
        (A_RULE + "parameters = { x = 'a b' }\n", f"events.\"a\".parameters.x: {A_PARAMETER}, got 'a b'."),
        # filters: a key that cannot be missing, a value or a list of values
        (A_RULE + "when = { 'a?' = 1 }\n", f"events.\"a\".when.a?: {A_KEY}, got 'a?'."),
        (A_RULE + "when = { '' = 1 }\n", f"events.\"a\".when.: {A_KEY}, got ''."),
        (A_RULE + "when = { a.b = 1 }\n", f"events.\"a\".when.a: {A_VALUE}, got {{'b': 1}}."),
        (A_RULE + "when = { a = [] }\n", f'events."a".when.a: {A_VALUE}, got [].'),
        (A_RULE + "when = { a = [1, [2]] }\n", f'events."a".when.a: {A_VALUE}, got [1, [2]].'),
        (A_RULE + "when = { a = 2026-01-31 }\n", f'events."a".when.a: {A_VALUE}, got datetime.date(2026, 1, 31).'),
        (A_RULE + "when = 'a'\n", "events.\"a\".when: input should be a valid dictionary, got 'a'."),
    ],
)  # fmt: skip
def test_a_bad_rule_is_refused_naming_its_key(tmp_path: Path, text: str, sentence: str) -> None:
    """One sentence, with the file, the event and the key in it."""
    assert refusal(tmp_path, text) == f"events.toml: {sentence}"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        # not below /v1
        ("/products", "expected a path below /v1, such as /v1/products/refresh, got '/products'."),
        ("/v1", "expected a path below /v1, such as /v1/products/refresh, got '/v1'."),
        ("/v1/", "expected a path below /v1, such as /v1/products/refresh, got '/v1/'."),
        ("v1/a", "expected a path below /v1, such as /v1/products/refresh, got 'v1/a'."),
        # what would be read as something else
        ("/v1/a/", "expected a path below /v1, such as /v1/products/refresh, got '/v1/a/'."),
        ("/v1//a", "expected a path below /v1, such as /v1/products/refresh, got '/v1//a'."),
        ("/v1/../a", "expected a path below /v1, such as /v1/products/refresh, got '/v1/../a'."),
        ("/v1/A", "expected a path below /v1, such as /v1/products/refresh, got '/v1/A'."),
        ("/v1/{a}", "expected a path below /v1, such as /v1/products/refresh, got '/v1/{a}'."),
        ("/v1/a?b=c", "expected a path below /v1, such as /v1/products/refresh, got '/v1/a?b=c'."),
        # what is there
        ("/v1/events", "/v1/events is taken; expected another path below /v1, got '/v1/events'."),
        ("/v1/workflows/mine", "/v1/workflows is taken; expected another path below /v1, got '/v1/workflows/mine'."),
        ("/v1/reports/a", "/v1/reports is taken; expected another path below /v1, got '/v1/reports/a'."),
    ],
)
def test_a_path_that_the_door_could_not_have_is_refused(tmp_path: Path, path: str, sentence: str) -> None:
    """Below /v1, in lower case, and not where something is."""
    assert refusal(tmp_path, f'{A_RULE}path = "{path}"\n') == f'events.toml: events."a".path: {sentence}'


def test_two_types_of_one_path_are_refused(tmp_path: Path) -> None:
    """The door could not tell which is meant."""
    text = '[events.a]\nworkflow = "w"\npath = "/v1/x"\n[events.b]\nworkflow = "w"\npath = "/v1/x"\n'
    assert refusal(tmp_path, text) == (
        'events.toml: events."b".path: \'/v1/x\' is taken by events."a"; take another path.'
    )


def test_a_file_that_is_no_toml_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """By its path, with the line."""
    assert refusal(tmp_path, "[events").startswith(f"{tmp_path}/events.toml is not valid TOML: ")
    (tmp_path / "events.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="events.toml is not valid TOML: "):
        load(tmp_path, [])
    (tmp_path / "events.toml").unlink()
    (tmp_path / "events.toml").mkdir()
    with pytest.raises(ConfigError, match=r"Cannot read .*events.toml \(Is a directory\); CONFIG_DIR names the folder"):
        load(tmp_path, [])


# --- Schedules


def test_the_clock_tells_an_event_at_its_times(tmp_path: Path) -> None:
    """With a zone, a jitter, data and a word on what was missed, or without."""
    found = loaded(
        tmp_path,
        A_RULE + A_SCHEDULE + '[schedules."s.2"]\nevent = "a"\nschedule = "*/5 8-18 1,15 JAN MON-FRI"\n'
        'timezone = "Europe/Berlin"\njitter = 3600\nmissed = "skip"\ndata = { n = 1, x = { y = [true] } }\n',
    )
    bare, full = found.schedules
    assert bare == Schedule(
        name="s", event="a", schedule="0 2 * * *", timezone=None, jitter=0, missed="catch_up", data={}
    )
    assert (full.name, full.schedule, full.timezone) == ("s.2", "*/5 8-18 1,15 JAN MON-FRI", "Europe/Berlin")
    assert (full.jitter, full.missed, full.data) == (3600, "skip", {"n": 1, "x": {"y": [True]}})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # no table, no event, no cron line, an unknown key, the name in the table
        ("[schedules]\ns = 3\n", "s: expected a table of keys, got 3."),
        ("[schedules.s]\nschedule = '0 2 * * *'\n", "s.event: field required."),
        ("[schedules.s]\nevent = 'a'\n", "s.schedule: field required."),
        (A_SCHEDULE + "cron = 1\n", "s.cron: unknown key. Expected one of: data, event, jitter, missed, schedule, timezone."),
        (A_SCHEDULE + "timezon = 'UTC'\n", "s.timezon: unknown key. Did you mean 'timezone'?"),
        (A_SCHEDULE + "name = 'x'\n", "s.name: unknown key. Expected one of: data, event, jitter, missed, schedule, timezone."),
        ("[schedules.a.b]\nevent = 'a'\n",
         f"a.b: unknown key. Expected one of: data, event, jitter, missed, schedule, timezone. {QUOTED}"),
        # zones
        (A_SCHEDULE + "timezone = 'Berlin'\n", f"s.timezone: {A_ZONE}, got 'Berlin'."),
        (A_SCHEDULE + "timezone = ''\n", f"s.timezone: {A_ZONE}, got ''."),
        (A_SCHEDULE + "timezone = 'Europe'\n", f"s.timezone: {A_ZONE}, got 'Europe'."),
        (A_SCHEDULE + "timezone = '../../etc/passwd'\n", f"s.timezone: {A_ZONE}, got '../../etc/passwd'."),
        (A_SCHEDULE + "timezone = '+01:00'\n", f"s.timezone: {A_ZONE}, got '+01:00'."),
        # jitter in seconds
        (A_SCHEDULE + "jitter = -1\n", "s.jitter: input should be greater than or equal to 0, got -1."),
        (A_SCHEDULE + "jitter = 3601\n", "s.jitter: input should be less than or equal to 3600, got 3601."),
        (A_SCHEDULE + "jitter = nan\n", "s.jitter: input should be a finite number, got nan."),
        # what was missed
        (A_SCHEDULE + "missed = 'twice'\n", "s.missed: input should be 'catch_up' or 'skip', got 'twice'."),
        # an event that nothing waits for
        (A_SCHEDULE.replace('"a"', '"catalog.refreshd"'), "s.event: nothing waits for 'catalog.refreshd'. Did you mean 'catalog.refresh'?"),
        (A_SCHEDULE.replace('"a"', '"zzz"'), "s.event: nothing waits for 'zzz'. Expected one of: a, catalog.refresh, n, report.requested."),
        # data that JSON cannot carry
        (A_SCHEDULE + "data = 'x'\n", "s.data: input should be a valid dictionary, got 'x'."),
        (A_SCHEDULE + "data = { d = 2026-01-31 }\n",
         "s.data: expected what JSON can carry; write dates and times as text, got {'d': datetime.date(2026, 1, 31)}."),
        (A_SCHEDULE + "data = { d = [02:00:00] }\n",
         "s.data: expected what JSON can carry; write dates and times as text, got {'d': [datetime.time(2, 0)]}."),
        (A_SCHEDULE + "data = { d = nan }\n", "s.data: NaN is no JSON; leave the value out, or send null."),
        (A_SCHEDULE + "data = { d = 9223372036854775808 }\n",
         "s.data: The number '9223372036854775808' does not fit into 64 bits; send it as text."),
        # data that no door would take for this event
        (A_SCHEDULE.replace('"a"', '"n"') + "data = { kind = 'x' }\n", "s.data: data.id is missing; w needs it."),
        (A_SCHEDULE.replace('"a"', '"n"') + "data = { id = 1 }\n",
         "s.data: it would start nothing, no `when` of events.\"n\" fits {'id': 1}."),
        (A_SCHEDULE.replace('"a"', '"report.requested"'),
         "s.data: data.report is missing; it names the report. Expected one of: coupons, sales."),
        (A_SCHEDULE.replace('"a"', '"report.requested"') + "data = { report = 'sale' }\n",
         "s.data: data.report: there is no report 'sale'. Did you mean 'sales'?"),
        (A_SCHEDULE.replace('"a"', '"report.requested"') + "data = { report = 'sales', period = '2017-05' }\n",
         "s.data: data: unknown key 'period'; what the report is to be told goes into data.parameters."),
    ],
)  # fmt: skip
def test_a_bad_schedule_is_refused_naming_its_key(tmp_path: Path, text: str, sentence: str) -> None:
    """What would be refused at two in the morning is refused when the file is read."""
    rules = (
        f'{A_RULE}[events."catalog.refresh"]\nworkflow = "w"\n'
        '[events.n]\nworkflow = "w"\nparameters = { id = "id" }\nwhen = { kind = "x" }\n'
    )
    assert refusal(tmp_path, rules + text, report("sales"), report("coupons")) == f"events.toml: schedules.{sentence}"


@pytest.mark.parametrize("name", ["a b", "ä", ".a", "_", "", "a/b", "a\\n", "a" * 101])
def test_a_bad_name_of_a_schedule_is_refused(tmp_path: Path, name: str) -> None:
    """The ids and the source of its events are made of it."""
    said = refusal(tmp_path, f'{A_RULE}[schedules."{name}"]\nevent = "a"\nschedule = "0 2 * * *"\n')
    assert "bad name; expected A-Z, a-z, 0-9, _, . and -, a letter or digit first, 100 at most, got " in said


@pytest.mark.parametrize(
    "line",
    [
        "0 2 * *",  # four fields
        "0 2 * * * *",  # six: other clocks have seconds
        "60 2 * * *",  # no such minute
        "0 24 * * *",  # nor hour
        "0 2 0 * *",  # nor day
        "0 2 * 13 *",  # nor month
        "0 2 * * 8",  # nor weekday
        "0 2 30 2 *",  # no day of any year
        "*/0 2 * * *",  # a step that goes nowhere
        "5-1 2 * * *",  # a span from its end
        "1, 2 * * *",  # a list without an end
        "-1 2 * * *",
        "a b c d e",  # no numbers
        f"{'9' * 5000} 2 * * *",  # more of a number than Python reads
        "@daily",  # other clocks' shorthand
        "",  # nothing
    ],
)
def test_a_bad_cron_line_is_refused(tmp_path: Path, line: str) -> None:
    """By the schedule's key; of a report, by the report's, with the good ones beside it not blamed."""
    shown = repr(line)[:100] + ("…" if len(line) > 98 else "")
    said = refusal(tmp_path, f'{A_RULE}[schedules.s]\nevent = "a"\nschedule = "{line}"\n')
    assert said == f"events.toml: schedules.s.schedule: {A_CRON_LINE}, got {shown}."
    said = refusal(tmp_path, "", report("coupons"), report("tax", "0 2 * * *"), report("sales", line))
    assert said == f"queues.toml: reports.sales.schedule: {A_CRON_LINE}, got {shown}."


# --- Reports


def test_a_report_with_a_schedule_is_told_by_the_clock(tmp_path: Path) -> None:
    """After those of the file; with a missing file too. A report without one is not."""
    reports = [report("sales", "5 2 * * 1"), report("coupons")]
    told = Schedule(name="report.sales", event="report.requested", schedule="5 2 * * 1", data={"report": "sales"})
    assert load(tmp_path, reports).schedules == (told,)
    found = loaded(tmp_path, A_RULE + A_SCHEDULE, *reports)
    assert [each.name for each in found.schedules] == ["s", "report.sales"]
    assert list(found.rules) == ["a"]


def test_a_report_may_be_scheduled_with_parameters_in_events_toml(tmp_path: Path) -> None:
    """Its table in queues.toml has no place for them."""
    data: dict[str, Any] = {"report": "sales", "parameters": {"period": "2017-05"}}
    text = (
        '[schedules.may]\nevent = "report.requested"\nschedule = "0 2 * * *"\n'
        'data = { report = "sales", parameters = { period = "2017-05" } }\n'
    )
    assert [each.data for each in loaded(tmp_path, text, report("sales")).schedules] == [data]


def test_a_schedule_named_like_a_reports_is_refused(tmp_path: Path) -> None:
    """One of them would silently win; another report's name is free."""
    text = A_RULE + A_SCHEDULE.replace("schedules.s", 'schedules."report.sales"')
    said = refusal(tmp_path, text, report("sales", "0 2 * * *"))
    assert (
        said
        == "events.toml: schedules.report.sales: the schedule of a report in queues.toml has this name; take another."
    )
    assert [each.name for each in loaded(tmp_path, text, report("sales")).schedules] == ["report.sales"]
