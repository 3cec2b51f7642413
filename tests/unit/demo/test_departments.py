"""Departments as people ask for them."""

import pytest
from tests.unit.demo.reports_in_process import ask, needs_data_set

from demo.departments import Department, check_department
from demo.tables import tables
from switchyard.errors import ReportError
from switchyard.reports import Parameters

pytestmark = needs_data_set


class Asked(Parameters):
    department: Department | None = None


@pytest.mark.parametrize("text", ["MEAT-PCKGD", " meat-pckgd ", "unknown", None])
def test_a_department_may_be_written_in_small_letters(text):
    """A department that there is, the one of products that are not there, and all of them."""
    with tables("products") as connection:
        check_department(connection, Asked(department=text).department)


def test_every_department_can_be_asked_for():
    """Capitals are all there is in the data."""
    assert ask("SELECT count(*) FROM products WHERE department <> upper(trim(department))") == [(0,)]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("MEET", "Did you mean 'MEAT'"),
        ("GROCERIES", "'GROCERIES'. Did you mean 'GROCERY'"),
        ("qqq", "'QQQ'. Ask for one of these: AUTOMOTIVE, .*, UNKNOWN"),
        ("", "''. Ask for one of these"),
        ("'; DROP VIEW products; --", "Ask for one of these"),
        ("x" * 10_000, "Ask for one of these"),
    ],
)
def test_any_other_is_refused_with_what_may_have_been_meant(text, answer):
    """The sentence quotes it, shortened, and never lacks a next step."""
    with tables("products") as connection, pytest.raises(ReportError, match=answer) as refused:
        check_department(connection, Asked(department=text).department)
    assert len(str(refused.value)) < 700
