"""On a process's PYTHONPATH: what it reads from `time.time`, as claims do, is 90 s ahead of the machine's clock."""

import json
import sys
import time

AHEAD_S = 90.0

_true_time = time.time
time.time = lambda: _true_time() + AHEAD_S
print(json.dumps({"event": "clock_is_ahead", "by_s": AHEAD_S}), file=sys.stderr, flush=True)
