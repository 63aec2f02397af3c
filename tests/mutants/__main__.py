"""`make mutants [ARGS=part-of-a-path …]`: mutate every pure module, or the named ones, and say what survived.

The exit status is 1 where a module's tests kill less than 90% of its mutants. Survivors that are not in
`survivors.toml` are printed, for somebody to kill or to name.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.functions import try_functions
from tests.mutants.modules import LEAST_SHARE, MODULES
from tests.mutants.outcome import MutationFailed, Outcome, Survivor
from tests.mutants.survivors import FILE, named_survivors
from tests.mutants.values import try_values

WORKERS = 2


def main(wanted: list[str]) -> int:
    """Returns the exit status."""
    modules = [module for module in MODULES if not wanted or any(part in module for part in wanted)]
    if not modules:
        print(f"No module has {' or '.join(wanted)} in its path. Known: {', '.join(MODULES)}.", file=sys.stderr)
        return 2
    named = named_survivors()
    outcomes: dict[str, Outcome] = {}
    started = time.monotonic()
    for module in modules:
        print(f"{module} …", file=sys.stderr, flush=True)
        try:
            with TemporaryDirectory(prefix="evenskin-mutants-") as directory:
                outcomes[module] = try_functions(module, MODULES[module], Path(directory), workers=WORKERS)
                outcomes[module] += try_values(module, MODULES[module], Path(directory), workers=WORKERS)
        except MutationFailed as error:
            print(f"{module}: {error}", file=sys.stderr)
            return 1
        _print_differences(module, outcomes[module], named.get(module, {}))
    _print_table(outcomes)
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if any(outcome.share < LEAST_SHARE for outcome in outcomes.values()) else 0


def _print_differences(module: str, outcome: Outcome, named: Mapping[Survivor, str]) -> None:
    for survivor in outcome.survivors:
        if survivor not in named:
            print(f"{module}: a survivor without a name, in {survivor.place}")
            print(f"  - {survivor.was}\n  + {survivor.became}")
    for survivor in named.keys() - set(outcome.survivors):
        print(f"{module}: {FILE.name} names what does not survive, in {survivor.place}")
        print(f"  - {survivor.was}\n  + {survivor.became}")


def _print_table(outcomes: Mapping[str, Outcome]) -> None:
    width = max(len(module) for module in outcomes)
    print(f"\n{'module':<{width}}  mutants  killed  survived   share")
    for module, outcome in outcomes.items():
        note = "" if outcome.share >= LEAST_SHARE else f"  under {LEAST_SHARE:.0%}"
        survived = len(outcome.survivors)
        print(f"{module:<{width}}  {outcome.mutants:7}  {outcome.killed:6}  {survived:8}  {outcome.share:6.1%}{note}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
