"""Redis' users as they are written: what each role may do, read rule by rule. tests/integration/test_acl_server.py asks a server."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from switchyard.runtime.docker import acl

QUEUES = ("default", "sales_report_queue")
PASSWORDS = {role: f"password-of-{role}" for role in acl.ROLES}
#: Roles that other machines' containers log in as.
WORKING = ("worker", "producer", "flower", "health")


@pytest.fixture
def users() -> dict[str, list[str]]:
    """Of each user of the generated file the rules, in their order."""
    lines = [line.split(" ") for line in acl.users(QUEUES, PASSWORDS).splitlines()]
    assert {line[0] for line in lines} == {"user"}
    return {name: rules for _, name, *rules in lines}


def keys(rules: list[str]) -> set[str]:
    """The key patterns, without how they may be used."""
    return {rule.partition("~")[2] for rule in rules if re.match(r"(%[RW]+)?~", rule)}


def channels(rules: list[str]) -> set[str]:
    return {rule[1:] for rule in rules if rule.startswith("&")}


def test_every_role_is_a_user_and_nobody_comes_in_without_a_name(users: dict[str, list[str]]) -> None:
    """Redis' own default user is off and without a password. It may do everything, because Redis reads its file as that user."""
    assert users.keys() == {"default", *acl.ROLES}
    assert users.pop("default") == ["off", "resetpass", "~*", "&*", "+@all"]
    assert {rules[0] for rules in users.values()} == {"on"}


def test_passwords_are_in_the_file_as_hashes_only(users: dict[str, list[str]]) -> None:
    """One for each role; nobody can log in with what the file shows."""
    text = acl.users(QUEUES, PASSWORDS)
    for role in acl.ROLES:
        assert PASSWORDS[role] not in text
        assert users[role][1] == "#" + sha256(PASSWORDS[role].encode()).hexdigest()
    assert [rule for rules in users.values() for rule in rules if rule.startswith(">") or rule == "nopass"] == []


def test_only_admin_has_every_key_and_channel(users: dict[str, list[str]]) -> None:
    """And it is used inside Redis' own container only."""
    for role in WORKING:
        assert not {"~*", "allkeys", "&*", "allchannels"} & set(users[role])
        assert not {"*", "**"} & (keys(users[role]) | channels(users[role]))


@pytest.mark.parametrize("role", WORKING)
def test_no_role_administers_the_server_or_does_what_redis_calls_dangerous(
    users: dict[str, list[str]], role: str
) -> None:
    """Rules hold in their order: nothing gives back what was taken, but `info`, which kombu asks for at its start."""
    commands = [rule for rule in users[role] if rule[0] in "+-"]
    given = {rule for rule in commands if rule.startswith("+")}
    assert given <= {"+@all", "+info", "+ping"}
    if "+@all" in given:
        assert commands[:3] == ["+@all", "-@admin", "-@dangerous"]


def test_the_producer_writes_to_queues_and_reads_none_but_the_events(users: dict[str, list[str]]) -> None:
    """It speaks on no channel, and results and control commands are not its business."""
    rules = users["producer"]
    assert {rule for rule in rules if rule.endswith(QUEUES)} == {f"%W~{queue}" for queue in QUEUES}
    assert "-@pubsub" in rules
    assert channels(rules) == set()
    assert not [key for key in keys(rules) if key.startswith(("celery", "unacked")) or "pidbox" in key]


def test_flower_reads_queues_and_results_and_writes_neither(users: dict[str, list[str]]) -> None:
    """It does send control commands."""
    rules = users["flower"]
    for pattern in (*QUEUES, "celery-task-meta-*"):
        assert [rule for rule in rules if rule.endswith(f"~{pattern}")] == [f"%R~{pattern}"]
    assert "~*.pidbox*" in rules
    assert not [key for key in keys(rules) if key.startswith("switchyard:")]


def test_the_probe_may_do_nothing_but_ping(users: dict[str, list[str]]) -> None:
    """Its password is read by a shell in a container."""
    assert users["health"][2:] == ["-@all", "+ping"]


def test_no_pattern_would_take_a_queue_of_somebody_elses(users: dict[str, list[str]]) -> None:
    """Queues are named one by one, and so are channels."""
    for role in WORKING:
        assert {key for key in keys(users[role]) if "queue" in key} <= set(QUEUES)
        assert channels(users[role]) <= {
            "/0.celery.pidbox",
            "/0.celeryev/*",
            "celery-task-meta-*",
            "celery-taskset-meta-*",
        }


def test_the_file_is_plain_text_whatever_kombu_calls_its_lists(users: dict[str, list[str]]) -> None:
    """It keeps priorities in lists whose names have control characters; a pattern has `?` for each."""
    assert all(character.isprintable() or character == "\n" for character in acl.users(QUEUES, PASSWORDS))
    for role in ("worker", "producer"):
        assert {"events", "events??3", "events??6", "events??9"} <= keys(users[role])


def test_new_queues_are_added_for_those_who_use_queues_and_as_they_use_them(users: dict[str, list[str]]) -> None:
    """The same rules as in the file, which is read when Redis starts; nobody else gets anything."""
    added = acl.additions(["tax"])
    assert added == {"worker": ["~tax"], "producer": ["%W~tax"], "flower": ["%R~tax"]}
    assert {role: set(rules) <= set(users[role]) for role, rules in acl.additions(QUEUES).items()} == dict.fromkeys(
        added, True
    )
