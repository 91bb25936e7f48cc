"""How often the edges of a graph come again in bootstrap replicates of the galaxies."""

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from threadpoolctl import threadpool_limits

from galmass.causality import marks as m
from galmass.causality.graph import DEFAULTS, Graph, order_dependence, search_correlation
from galmass.causality.knowledge import Knowledge
from galmass.causality.moments import Moments, moments
from galmass.causality.summaries import MASS


def replicates(moments: Moments, n: int, seed: int) -> list[tuple[np.ndarray, float]]:
    """Correlations (d, d) and numbers of galaxies of bootstrap replicates."""
    return [moments.replicate(generator) for generator in map(np.random.default_rng, np.random.SeedSequence(seed).spawn(n))]


def _found(task) -> np.ndarray:
    """In a process of the pool."""
    (correlation, n), method, knowledge, options = task
    return search_correlation(correlation, n, method, knowledge, **options).marks


def _one_thread() -> None:
    """For the life of a process of the pool."""
    threadpool_limits(1)


def graphs(moments: Moments, method: str, knowledge: Knowledge, n: int, seed: int, threads: int = 1, limit_s: float = np.inf, advance=lambda: None, **options):
    """Marks (n_done, d, d) of the graphs of replicates; fewer than `n` where `limit_s` ends the work."""
    start, done = time.monotonic(), []
    tasks = [(replicate, method, knowledge, options) for replicate in replicates(moments, n, seed)]
    with threadpool_limits(1), ProcessPoolExecutor(threads, get_context("spawn"), _one_thread) if threads > 1 else _Here() as pool:
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


def searched(values, method: str, known: Knowledge, options: Mapping, n: int, seed: int, threads: int = 1, advance=lambda: None) -> tuple[Graph, Moments, dict]:
    """A graph of columns (n_galaxy, d), their moments, and its JSON with frequencies, its dependence on the order of columns, and what touches the mass.

    Parameters
    ----------
    options : mapping
        ``transform``, ``blocks``, ``orders``, ``limit_s`` and those of `galmass.causality.graph.search_correlation`.
    n : int
        Replicates.
    """
    sums, own = moments(values, known.names, options["transform"], options["blocks"], seed), {key: options[key] for key in DEFAULTS}
    found = search_correlation(*sums.correlation(), method, known, **own)
    again = graphs(sums, method, known, n, seed, threads, options["limit_s"], advance, **own)
    shares = frequencies(again)
    order = order_dependence(*sums.correlation(), method, known, options["orders"], seed, **own)
    content = {"replicates": len(again), "order": order, "seed": seed, "touching": touching(shares["adjacent"], known.names)}
    return found, sums, found.to_json(shares) | content


def touching(adjacent, names, of: str = MASS) -> dict[str, float]:
    """How often each of the other variables is joined to one, from shares (d, d); empty where that is not among them."""
    if of not in names:
        return {}
    return {name: float(share) for name, share in zip(names, adjacent[names.index(of)], strict=True) if name != of}
