"""All kinds of drills, by name."""

from __future__ import annotations

from bench.drills import (
    clock,
    delayed,
    full,
    hostile,
    interrupted,
    killing,
    poison,
    redis_away,
    steady,
    supervised,
    workflows,
)
from bench.drills.kind import Kind

KINDS = {
    kind.name: kind
    for kind in (
        Kind("workers", killing.workers, rounds=(12, 300)),
        Kind("children", killing.children, rounds=(5, 50), pools=("prefork",)),
        Kind("supervisor", supervised.supervisor, rounds=(2, 20)),
        Kind("paused", interrupted.paused),
        Kind("cut-off", interrupted.cut_off),
        Kind("refused", interrupted.refused),
        Kind("long", steady.long),
        Kind("redis-killed", redis_away.killed, rounds=(2, 20)),
        Kind("redis-paused", redis_away.stopped),
        Kind("memory", full.memory),
        Kind("disk", full.disk, server=full.small_disk),
        Kind("clock", clock.clock, server=clock.own_clock),
        Kind("poison", poison.poison),
        Kind("hostile", hostile.hostile),
        Kind("delayed", delayed.delayed, rounds=(4, 20)),
        Kind("workflows", workflows.workflows, rounds=(10, 50), pools=("gevent", "prefork")),
        Kind("flood", killing.flood, rounds=(8, 40)),
    )
}
