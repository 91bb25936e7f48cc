"""How often the edges of a graph come again in bootstrap replicates of the galaxies."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from galmass.causality import marks as m
from galmass.causality.graph import search_correlation
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import Moments


def replicates(moments: Moments, n: int, seed: int) -> list[tuple[np.ndarray, float]]:
    """Correlations (d, d) and numbers of galaxies of bootstrap replicates."""
    return [moments.replicate(generator) for generator in map(np.random.default_rng, np.random.SeedSequence(seed).spawn(n))]


def _found(task) -> np.ndarray:
    """In a process of the pool."""
    from threadpoolctl import threadpool_limits

    (correlation, n), method, knowledge, options = task
    with threadpool_limits(1):
        return search_correlation(correlation, n, method, knowledge, **options).marks


def graphs(moments: Moments, method: str, knowledge: Knowledge, n: int, seed: int, threads: int = 1, limit_s: float = np.inf, advance=lambda: None, **options):
    """Marks (n_done, d, d) of the graphs of replicates; fewer than `n` where `limit_s` ends the work."""
    start, done = time.monotonic(), []
    tasks = [(replicate, method, knowledge, options) for replicate in replicates(moments, n, seed)]
    with ProcessPoolExecutor(threads, get_context("spawn")) if threads > 1 else _Here() as pool:
        for found in pool.map(_found, tasks):
            done.append(found)
            advance()
            if time.monotonic() - start > limit_s:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    return np.stack(done)


class _Here:
    """A pool of this process alone."""

    map = staticmethod(map)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def shutdown(self, **_):
        """Nothing waits."""


def frequencies(found) -> dict[str, np.ndarray]:
    """Shares (d, d) of graphs (n, d, d): ``adjacent`` [i, j], ``directed`` i -> j, ``bidirected`` i <-> j."""
    arrow, tail = found == m.ARROW, found == m.TAIL
    turned = np.swapaxes(arrow, 1, 2), np.swapaxes(tail, 1, 2)
    shares = {"adjacent": found != m.NONE, "directed": arrow & turned[1], "bidirected": arrow & turned[0]}
    return {name: share.mean(0) for name, share in shares.items()}


def edge_frequencies(moments: Moments, method: str, knowledge: Knowledge, n: int = 100, seed: int = 0, **options) -> dict[str, np.ndarray]:
    """`frequencies` of the graphs of `n` bootstrap replicates of the galaxies, as `graphs` finds them."""
    return frequencies(graphs(moments, method, knowledge, n, seed, **options))
