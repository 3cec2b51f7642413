"""What `bench fan_out` makes of what it has measured."""

from __future__ import annotations

import pytest
from bench.fan_out import __main__ as fan_out
from bench.fan_out import common
from bench.fan_out.ways import WAYS, Found, Way


def found(**seconds: list[float]) -> dict[Way, list[Found]]:
    return {WAYS[name][0]: [Found(value, 1.0, 0.5) for value in values] for name, values in seconds.items()}


def test_ways_are_compared_by_their_medians_in_one_run() -> None:
    """With the bare loop at its best, the article's way, and the faster of the peers."""
    runs = found(ours=[1.0, 1.1, 9.0], article=[22.0], taskiq=[3.3], dramatiq=[8.0])
    runs |= {way: [Found(value)] for way, value in zip(WAYS["bare"], (2.0, 1.0, 1.5), strict=True)}
    section = fan_out._section(runs, 5000, 3, ["And one more."])
    assert section.sentences == [
        "Ours takes 1.10 times as long as the bare loop in one process, at its best.",
        "It is 20.0 times as fast as the article's chord.",
        "It is 3.0 times as fast as the faster of taskiq and dramatiq.",
        "And one more.",
    ]
    assert section.rows[0] == ("ours, 2 gevent workers", "1.10", "4,545", "1.10", "1.00", "0.50")
    assert [bar.ours for bar in section.charts[0].bars].count(True) == 1


def test_what_did_not_run_is_compared_with_nothing() -> None:
    """A part of the ways is a bench, too."""
    section = fan_out._section(found(ours=[1.0]), 1000, 1, [])
    assert (section.rows[0][3], section.sentences) == ("—", [])
    assert fan_out._section({}, 1000, 1, []).charts == []


def test_a_product_is_asked_for_and_read_by_the_lean_client() -> None:
    """As the supplier speaks."""
    assert common.request(7) == b"GET /products/7 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert common.product_in(b'HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{"product_id": 7}') == {"product_id": 7}


def test_an_unknown_way_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    monkeypatch.setattr("sys.argv", ["fan_out", "--ways", "ours,swift"])
    with pytest.raises(SystemExit):
        fan_out.main()
    assert "--ways: swift: expected some of ours, bare" in capsys.readouterr().err
