"""The table of checks, and how they are run. A check that crashes does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from zwaif_fallback.doctor import env_file, libraries, local_model, log_file, pictures, plugins, restart, servers, zwaif
from zwaif_fallback.doctor.findings import Finding
from zwaif_fallback.doctor.situation import Situation


class Check(NamedTuple):
    """One check."""

    name: str
    """For scripts."""
    title: str
    """For people."""
    look: Callable[[Situation], Finding]


CHECKS: tuple[Check, ...] = (
    Check("zwaif", "Z-Waif", zwaif.check_tree),
    Check("parts", "Parts of Z-Waif", zwaif.check_parts),
    Check("environment", "Environment", zwaif.check_environment),
    Check("hook", "Start-up line", zwaif.check_hook),
    Check("switches", "Switches", zwaif.check_switches),
    Check("plugins", "Plugins", plugins.check_plugins),
    Check("primary", "LLM server", servers.check_primary),
    Check("restart", "Restart", restart.check_restart),
    Check("fallback_host", "Second server", servers.check_fallback_host),
    Check("model_name", "Model name", local_model.check_model_name),
    Check("model_files", "Model files", local_model.check_model_files),
    Check("found_models", "Found models", local_model.check_found_models),
    Check("pictures", "Pictures", pictures.check_pictures),
    Check("memory", "Memory", local_model.check_memory),
    Check("speed", "Speed", local_model.check_speed),
    Check("disk", "Disk", local_model.check_disk),
    Check("torch", "PyTorch", libraries.check_torch),
    Check("bitsandbytes", "bitsandbytes", libraries.check_bitsandbytes),
    Check("accelerate", "accelerate", libraries.check_accelerate),
    Check("llama", "llama.cpp", libraries.check_llama),
    Check("llama_server", "llama-server", libraries.check_llama_server),
    Check("transformers", "transformers", libraries.check_transformers),
    Check("huggingface_hub", "huggingface_hub", libraries.check_hub),
    Check("gradio", "Gradio", libraries.check_gradio),
    Check("env_values", "Settings", env_file.check_env_values),
    Check("env_names", "Names in .env", env_file.check_env_names),
    Check("log", "Log file", log_file.check_log_folder),
    Check("errors", "Last errors", log_file.check_last_errors),
)


def examine(here: Situation, checks: Sequence[Check] = CHECKS) -> Iterator[tuple[Check, Finding]]:
    """Run all checks, and yield each with its finding in the order of the table, as soon as it is known.

    They run in parallel: most of the time they wait for a server, or for a library that is imported in a child process.
    """
    _ = here.store  # imports the plugins, which must be done in one thread
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="zwaif-doctor") as pool:
        running = [pool.submit(_look, check, here) for check in checks]
        try:
            for check, future in zip(checks, running, strict=True):
                yield check, future.result()
        finally:
            for future in running:
                future.cancel()


def _look(check: Check, here: Situation) -> Finding:
    try:
        return check.look(here)
    except Exception as error:  # one broken check must not stop the others
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Finding(
            "warning",
            f"this check failed ({type(error).__name__}: {error})",
            "Nothing is known about this.",
            "Report it, with this line and the next.",
            (f"in {where.name}, line {where.lineno} of {Path(where.filename).name}",),
        )
