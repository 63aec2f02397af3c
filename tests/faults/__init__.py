"""Faults: the five services as real processes on real servers, a campaign of 60 slots, and something that breaks.

Each test ends with `end_state.check`, which looks from outside: nothing lost, nothing twice, nothing left over.
The ledger's deadlines are longer than any test, so that the reconciler cannot mend what was lost.
`EVENSKIN_TEST_FAULT_ROUNDS` (default 1; `make faults` takes 10) repeats the tests whose moments are random,
each with a seed of its own, from `EVENSKIN_TEST_FAULT_SEED` (default 1) on; a failing test's name holds its seed.
"""

import pytest

pytest.register_assert_rewrite(
    "tests.faults.deployment", "tests.faults.end_state", "tests.integration.labeler_api.recount"
)
