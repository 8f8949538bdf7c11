"""Run all measurements and print the tables of ``docs/benchmarks.md``.

    python -m benchmarks.failover [--smoke] [--only ours]

Loopback only; three to four minutes, stopped by itself after five. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

from benchmarks.failover import measure, ours, peers, report  # noqa: E402
from benchmarks.failover.contender import LOOP, Make  # noqa: E402
from benchmarks.failover.measure import SMOKE, Amount, Entrant  # noqa: E402
from benchmarks.failover.servers import Servers  # noqa: E402

LONGEST_RUN = 300.0
BARE: dict[str, Make] = {"requests": ours.BareRequests, "openai": peers.BareOpenAI}
ENTRANTS = {
    "zwaif_hooks": [Entrant("zwaif-fallback", ours.Ours, "requests")],
    "litellm": [
        Entrant("LiteLLM Router", peers.LiteLLM, "openai"),
        Entrant("LiteLLM Router, tuned", peers.tuned_litellm),
    ],
    "langchain_openai": [
        Entrant("LangChain with_fallbacks", peers.LangChain, "openai"),
        Entrant("LangChain, no retries", peers.tuned_langchain),
    ],
    "pydantic_ai": [
        Entrant("pydantic-ai FallbackModel", peers.PydanticAI, "openai"),
        Entrant("pydantic-ai, no retries", peers.tuned_pydantic_ai),
    ],
}
"""By the module that has to be installed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--smoke", action="store_true", help="a few of everything, to see that it runs")
    parser.add_argument("--only", choices=["ours"], help="without the peers")
    arguments = parser.parse_args()
    faulthandler.dump_traceback_later(LONGEST_RUN, exit=True)
    began = time.monotonic()
    entrants, missing = installed(only_ours=bool(arguments.only))
    with Servers() as servers:
        results = everything(servers, entrants, SMOKE if arguments.smoke else Amount())
    results.seconds = time.monotonic() - began
    LOOP.close()
    faulthandler.cancel_dump_traceback_later()
    for line in report.lines(results, missing):
        print(line)
    return 0


def installed(only_ours: bool) -> tuple[list[Entrant], list[str]]:
    """Who takes part, and the names of those who cannot."""
    entrants, missing = list[Entrant](), list[str]()
    for module, group in ENTRANTS.items():
        there = importlib.util.find_spec(module) is not None and (module == "zwaif_hooks" or not only_ours)
        if there:
            entrants += group
        else:
            missing += [entrant.name for entrant in group]
    return entrants, missing


def everything(servers: Servers, entrants: list[Entrant], amount: Amount) -> report.Results:
    bare = {name: make for name, make in BARE.items() if any(entrant.baseline == name for entrant in entrants)}
    makers = {**bare, **{entrant.name: entrant.make for entrant in entrants if entrant.baseline}}
    results = report.Results(entrants, amount)
    _tell("healthy overhead")
    results.healthy = measure.healthy(servers, makers, amount)
    _tell("first fallback text")
    results.direct = {name: measure.asked_directly(servers, make, amount) for name, make in bare.items()}
    for entrant in entrants:
        for row in measure.QUICK_FAULTS:
            results.first[entrant.name, row] = measure.first_text(servers, entrant, row, amount)
    _tell("deadlines")
    results.deadlines = measure.deadlines(servers, entrants)
    _tell("truncated replies")
    results.verdicts = {entrant.name: measure.verdicts(servers, entrant) for entrant in entrants}
    _tell("requests spent on a dead primary")
    results.spent = measure.spent(servers, entrants, amount)
    results.probes = measure.probes(servers)
    return results


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
