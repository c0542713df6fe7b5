"""A persistent cache of compiled programs, one directory per version and kind of machine."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

from lmmjax import __version__


def cache_directory() -> Path:
    """Where compiled programs are kept.

    Programs are compiled for the processor at hand and, on a cluster, home directories are shared
    between several kinds of them: the name of the directory therefore depends on the
    processor's instruction sets, as well as on the versions of lmmjax and jaxlib.
    """
    import platformdirs

    processor = f"{platform.machine()} {platform.processor()} {_instruction_sets()}"
    machine = hashlib.sha256(processor.encode()).hexdigest()[:12]
    name = f"lmmjax-{__version__}-jaxlib-{version('jaxlib')}-{machine}"
    return platformdirs.user_cache_path("lmmjax", appauthor=False) / name


def use_compilation_cache(directory: str | Path | None = None) -> Path | None:
    """Let JAX keep compiled programs on disk, for this process and for later ones.

    The command line does this by itself.  From Python it is a choice, because the setting
    holds for everything the process compiles with JAX; call it before the first fit.

    Parameters
    ----------
    directory
        Default: one per user, machine and version (:func:`cache_directory`), unless
        ``JAX_COMPILATION_CACHE_DIR`` names one already.

    Returns
    -------
    Path or None
        The directory, ``None`` if it cannot be written.

    Examples
    --------
    >>> import lmmjax
    >>> lmmjax.use_compilation_cache()  # doctest: +SKIP
    PosixPath('/home/me/.cache/lmmjax/lmmjax-0.1.0-jaxlib-0.12.0-3f2a...')
    """
    if directory is None:
        if own := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            return Path(own)
        directory = cache_directory()
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(directory, os.W_OK):
        return None
    import jax

    jax.config.update("jax_compilation_cache_dir", str(directory))
    # Many programs here are small; together they take as long as the large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory


def _instruction_sets() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            return next((line for line in stream if line.startswith(("flags", "Features"))), "")
    except OSError:
        return ""
