"""Drills: what runs the tasks is killed, stopped or cut off under load, and a ledger outside it says what was lost.

    make drill [KIND=workers] [ARGS="--rounds 300 --stock"]

docs/drills.md says what each kind does and what its columns mean.
"""
