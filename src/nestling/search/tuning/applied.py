"""Giving an index the plan that was found and the derived parts that it needs, and taking away what none needs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from nestling.errors import NestlingError
from nestling.search.derived import joined
from nestling.search.plan import Plan
from nestling.search.storage import parts
from nestling.search.storage.derived import Registry
from nestling.search.storage.snapshot import Snapshot
from nestling.search.tuning.scratch import copy_name, sketch_name

MADE = "made"  # in what the manifest keeps of a tuning: the parts that it made, for the next one to drop


def applied(snapshot: Snapshot, registry: Registry, plan: Plan, tuned: dict[str, Any]) -> Snapshot:
    """Store a plan with the parts it needs; drop those that an earlier tuning made and this plan does not use.

    A copy that somebody else made is replaced by one that has its stops too, since an index searches one copy. A reader
    never meets a plan whose parts are missing: while a copy is exchanged, the index is as one without a plan.

    Returns:
        The new state.

    Raises:
        DataError, IndexLockedError: nothing was changed, or the index is without a plan and searches exactly.
    """
    before = _made(snapshot)
    own = [name for name in snapshot.derived if name not in before]
    needed, replaced = needed_parts(snapshot, plan)
    new = [name for name in needed if name not in snapshot.derived]
    stale = [name for name in snapshot.derived if name in replaced or (name in before and name not in needed)]
    made = [] if not needed else [needed[0], *(name for name in needed[1:] if not replaced)]
    made = [name for name in made if name not in own]  # a copy that took another's place is no more ours to drop
    if new:
        snapshot = parts.add_derived(snapshot, registry, new)
    try:
        if stale:
            snapshot = parts.set_plan(snapshot, registry, None, {MADE: made + [n for n in stale if n in before]})
            snapshot = parts.drop_derived(snapshot, registry, stale)
        return parts.set_plan(snapshot, registry, str(plan), {**tuned, MADE: made})
    except BaseException:
        with suppress(NestlingError):
            if new:
                parts.drop_derived(snapshot, registry, new)
        raise


def needed_parts(snapshot: Snapshot, plan: Plan) -> tuple[list[str], list[str]]:
    """The parts of a plan, and the copies of others that its copy takes the place of."""
    made = _made(snapshot)
    needed = [] if plan.sketch is None else [sketch_name(*plan.sketch)]
    stops = {stage.dims for stage in plan.stages[1:] if stage.bits is not None}
    if stops:
        needed.append(copy_name(stops, snapshot.nesting))
    others = [part for name, part in snapshot.derived.items() if name not in made]
    return joined(needed, others, snapshot.nesting)


def _made(snapshot: Snapshot) -> list[str]:
    """The parts that earlier tunings made and that are still there."""
    tuned = snapshot.manifest.tuned or {}
    made: object = tuned.get(MADE)
    names = cast(list[object], made) if isinstance(made, list) else []
    return [name for name in snapshot.derived if name in names]
