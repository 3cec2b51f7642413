"""The file of API tokens: whose a token is, and how an edit of the file takes hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from switchyard import logs
from switchyard.producer.http.tokens import Tokens


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "api_tokens"


def test_a_token_names_its_caller(file: Path) -> None:
    """Several callers, several tokens of one, comments and empty lines between; a token may have colons."""
    file.write_bytes(b"# who may call\nalice:one\n\n  bob:two:2  \r\nalice:three\n#carol:four\n")
    tokens = Tokens(file)
    assert [tokens.caller(t) for t in (b"one", b"two:2", b"three")] == ["alice", "bob", "alice"]
    for nobodys in (b"four", b"", b"One", b"one ", b"two", b"alice:one", "é".encode()):
        assert tokens.caller(nobodys) is None


def test_an_edit_takes_hold_at_once(file: Path) -> None:
    """One that keeps the file's size and inode, one that replaces the file, its removal, and its return."""
    tokens = Tokens(file)
    assert tokens.caller(b"one") is None
    file.write_text("alice:one")
    assert tokens.caller(b"one") == "alice"
    file.write_text("alice:two")
    assert (tokens.caller(b"one"), tokens.caller(b"two")) == (None, "alice")
    draft = file.with_suffix(".draft")
    draft.write_text("carol:two")
    draft.replace(file)
    assert tokens.caller(b"two") == "carol"
    file.unlink()
    assert tokens.caller(b"two") is None
    file.write_text("carol:two")
    assert tokens.caller(b"two") == "carol"


def test_a_bad_line_is_told_by_its_number_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with it may be next to a secret. The other lines hold."""
    logs.configure("json", "INFO")
    file.write_bytes(
        b"alice:one\nsecret\n:secret\nbob:\nb ob:secret\nbob:sec ret\nb\xc3\xb6b:secret\n\xff\xfe\nbob:two"
    )
    tokens = Tokens(file)
    assert (tokens.caller(b"one"), tokens.caller(b"two"), tokens.caller(b"secret")) == ("alice", "bob", None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["line"] for line in lines] == [2, 3, 4, 5, 6, 7, 8]
    assert {line["event"] for line in lines} == {"caller_skipped"}
    assert "secret" not in json.dumps(lines)


def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not with each request; every caller is unknown."""
    logs.configure("json", "INFO")
    tokens = Tokens(tmp_path / "none")
    assert [tokens.caller(b"one"), tokens.caller(b"one")] == [None, None]
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "callers_unknown"
