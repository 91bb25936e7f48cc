"""Neighbours against brute force and scipy's tree; oneself dropped, twins kept; recall measured."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from galmass.causality import neighbours
from galmass.causality.neighbours import nearest
from galmass.causality.search import among_training, nearest_approximate, recall
from galmass.errors import InputError
from galmass.provenance import reached_modules


def brute_force(train, query, k, drop_self=False):
    """Sorted differences, galaxy by galaxy."""
    rows, distances = [], []
    for i, point in enumerate(query):
        distance = np.sqrt(((train - point) ** 2).sum(1))
        if drop_self:
            distance[i] = np.inf
        order = np.argsort(distance, kind="stable")[:k]
        rows.append(order)
        distances.append(distance[order])
    return np.array(rows), np.array(distances)


@pytest.fixture
def points():
    generator = np.random.default_rng(1)
    return generator.normal(size=(400, 3)), generator.normal(size=(150, 3))


@pytest.mark.parametrize("k", [1, 7, 400])
def test_nearest_agrees_with_brute_force(points, k):
    rows, distances = nearest(*points, k)
    expected_rows, expected_distances = brute_force(*points, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-12)
    assert (rows.dtype, distances.dtype) == (np.int64, np.float64)


def test_nearest_agrees_with_the_tree_of_scipy(points):
    rows, distances = nearest(*points, 12)
    expected_distances, expected_rows = cKDTree(points[0]).query(points[1], 12)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-12)


@pytest.mark.parametrize(("offset", "scatter"), [(1e4, 1.0), (1e4, 1e-3), (-1e6, 1e-2)])
def test_nearest_is_exact_far_from_the_origin(points, offset, scatter):
    """|x|^2 + |y|^2 - 2xy near 1e8 knows squares of distances to 1e-8: worse than the distances of neighbours at 1e-3."""
    train, query = (offset + scatter * p for p in points)
    rows, distances = nearest(train, query, 10)
    expected_rows, expected_distances = brute_force(train, query, 10)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)  # the coordinates themselves have 1e-16 of the offset


def test_distances_of_close_pairs_are_exact():
    """Twins 1e-9 apart among points of size 1: the expanded square would say 0 or 1e-8."""
    train = np.random.default_rng(2).normal(size=(50, 4))
    _, distances = nearest(train, train + np.array([1e-9, 0, 0, 0]), 1)
    np.testing.assert_allclose(distances[:, 0], 1e-9, rtol=1e-5)  # 1e-16 of the coordinates


def test_oneself_is_dropped(points):
    train, _ = points
    rows, distances = nearest(train, train, 9, drop_self=True)
    expected_rows, expected_distances = brute_force(train, train, 9, drop_self=True)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-12)
    np.testing.assert_array_equal(nearest(train, train, 9)[0][:, 0], np.arange(400))  # without, one is one's own nearest


@pytest.mark.parametrize("search", [nearest, nearest_approximate])
@pytest.mark.parametrize("copies", [2, 6])
def test_twins_are_kept_and_oneself_never(points, search, copies):
    """Every point several times: k = 3 neighbours are twins first. With 6 copies oneself is not even always among the k + 1 found."""
    train = np.repeat(points[0][:60], copies, axis=0)
    rows, distances = search(train, train, 3, drop_self=True)
    own = np.arange(len(train))
    assert not (rows == own[:, None]).any()
    twins = min(3, copies - 1)
    np.testing.assert_array_equal(rows[:, :twins] // copies, np.repeat(own[:, None] // copies, twins, axis=1))
    assert (distances[:, :twins] == 0).all()
    assert (distances[:, twins:] > 0).all()
    assert all(len(set(row)) == 3 for row in rows)


def test_all_neighbours_but_oneself(points):
    rows, _ = nearest(points[0][:20], points[0][:20], 19, drop_self=True)
    for i, row in enumerate(rows):
        assert sorted(row) == [j for j in range(20) if j != i]


@pytest.mark.parametrize("search", [nearest, nearest_approximate])
@pytest.mark.parametrize("k", [0, -1, 41])
def test_a_k_that_cannot_be_had_is_refused(points, search, k):
    with pytest.raises(InputError, match=rf"k = {k} neighbours are asked of 40 galaxies"):
        search(points[0][:40], points[1], k)


def test_dropping_oneself_leaves_one_galaxy_less(points):
    with pytest.raises(InputError, match=r"k = 40 .* of 40 galaxies \(less oneself\)"):
        nearest(points[0][:40], points[0][:40], 40, drop_self=True)


@pytest.mark.parametrize("search", [nearest, nearest_approximate])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted(points, search, bad):
    spoilt = points[0].copy()
    spoilt[[3, 3, 9], [0, 1, 2]] = bad
    with pytest.raises(InputError, match="2 rows of train hold NaN or infinity"):
        search(spoilt, points[1], 3)
    with pytest.raises(InputError, match="2 rows of query hold NaN or infinity"):
        search(points[0], spoilt, 3)


@pytest.mark.parametrize("search", [nearest, nearest_approximate])
def test_dimensions_that_do_not_fit_are_refused(points, search):
    for train, query in ((points[0], points[1][:, :2]), (points[0][0], points[1]), (points[0], points[1][0])):
        with pytest.raises(InputError, match="one n_main"):
            search(train, query, 3)


def test_drop_self_needs_the_same_galaxies(points):
    with pytest.raises(InputError, match="row for row; got 150 and 400"):
        nearest(*points, 3, drop_self=True)


def test_the_arguments_are_left_alone(points):
    before = [p.copy() for p in points]
    nearest(*points, 3)
    for now, then in zip(points, before, strict=True):
        np.testing.assert_array_equal(now, then)


# --- approximate ---------------------------------------------------------------------------------------------------


@pytest.fixture
def many():
    generator = np.random.default_rng(3)
    return generator.normal(size=(2000, 4)), generator.normal(size=(300, 4))


def test_searching_all_cells_is_exact(many):
    rows, distances = nearest_approximate(*many, 10, n_list=16, n_probe=16)
    expected_rows, expected_distances = brute_force(*many, 10)
    # float32 decides only between neighbours whose distances agree to 1e-7: none here
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-12)


def test_few_cells_find_less_and_what_they_find_is_sorted_and_true(many):
    train, query = many
    rows, distances = nearest_approximate(train, query, 10, n_list=40, n_probe=2)
    exact, _ = brute_force(train, query, 10)
    found = recall(rows, exact)
    assert found == pytest.approx(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact, strict=True)]), abs=1e-12)
    assert 0.2 < found < 0.99
    assert recall(nearest_approximate(train, query, 10, n_list=40, n_probe=8)[0], exact) > found
    assert (np.diff(distances, axis=1) >= 0).all()
    np.testing.assert_allclose(distances, np.linalg.norm(train[rows] - query[:, None], axis=-1), atol=1e-12)


def test_cells_that_hold_too_few_are_refused(many):
    with pytest.raises(InputError, match="fewer than k = 300 galaxies for some query; raise n_probe"):
        nearest_approximate(*many, 300, n_list=40, n_probe=1)


def test_few_training_galaxies_get_fewer_cells(points):
    """256 cells of the default cannot be placed with 400 galaxies: ten can, and all of them are searched."""
    rows, _ = nearest_approximate(*points, 5, n_list=256, n_probe=256)
    np.testing.assert_array_equal(rows, brute_force(*points, 5)[0])


def test_approximate_search_is_the_same_each_time(many):
    first, second = (nearest_approximate(*many, 10, n_list=40, n_probe=2)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_recall_counts_shared_neighbours():
    assert recall([[1, 2, 3, 4], [5, 6, 7, 8]], [[4, 3, 2, 1], [1, 2, 3, 8]]) == (1 + 0.25) / 2


# --- among galaxies ---------------------------------------------------------------------------------------


@pytest.fixture
def latent():
    generator = np.random.default_rng(4)
    points = generator.normal(size=(900, 3))
    points[500:505] = points[0]  # twins in both parts, fewer than k: no tie at the last neighbour
    return points, generator.random(900) < 0.6


def expected_among(latent, training, k):
    members = np.flatnonzero(training)
    distances = np.linalg.norm(latent[:, None] - latent[members], axis=-1)
    distances[members, np.arange(len(members))] = np.inf
    return np.sort(distances, axis=1)[:, :k]


def test_neighbours_among_training_galaxies_are_exact(latent):
    points, training = latent
    found = among_training(points, training, 8, {"method": "exact"}, 50)
    assert training[found.rows].all()
    assert not (found.rows == np.arange(900)[:, None]).any()
    np.testing.assert_allclose(found.distances, expected_among(points, training, 8), atol=1e-12)
    np.testing.assert_allclose(found.distances, np.linalg.norm(points[found.rows] - points[:, None], axis=-1), atol=1e-12)
    assert (found.recall, found.recall_queries) == (1.0, 0)


def test_approximate_neighbours_come_with_the_recall_of_the_others(latent):
    points, training = latent
    found = among_training(points, training, 8, {"method": "approximate", "n_list": 12, "n_probe": 2}, 30)
    assert training[found.rows].all()
    assert not (found.rows == np.arange(900)[:, None]).any()
    others = np.flatnonzero(~training)
    probes = others[np.linspace(0, len(others) - 1, 30).astype(int)]
    members = np.flatnonzero(training)
    exact = members[brute_force(points[members], points[probes], 8)[0]]
    assert found.recall_queries == len(probes) == 30
    assert found.recall == pytest.approx(recall(found.rows[probes], exact))
    assert 0.3 < found.recall < 0.99


def test_all_cells_give_full_recall(latent):
    """Without twins: which of two at the same distance is the last neighbour is nobody's choice."""
    points, training = np.random.default_rng(5).normal(size=(900, 3)), latent[1]
    found = among_training(points, training, 8, {"method": "approximate", "n_list": 8, "n_probe": 8}, 10_000)
    assert found.recall == 1.0
    assert found.recall_queries == np.sum(~training)
    np.testing.assert_allclose(found.distances, expected_among(points, training, 8), atol=1e-12)


@pytest.mark.parametrize("index", [{"method": "exact"}, {"method": "approximate", "n_list": 4, "n_probe": 4}], ids=lambda i: i["method"])
def test_a_sample_of_training_galaxies_alone(latent, index):
    points = latent[0]
    found = among_training(points, np.ones(900, bool), 5, index, 10)
    np.testing.assert_allclose(found.distances, expected_among(points, np.ones(900, bool), 5), atol=1e-12)


def test_too_few_training_galaxies_are_refused(latent):
    points, _ = latent
    with pytest.raises(InputError, match=r"k = 8 .* of 8 galaxies \(less oneself\)"):
        among_training(points, np.arange(900) < 8, 8, {"method": "exact"}, 10)
    with pytest.raises(InputError, match="of 0 galaxies"):
        among_training(points, np.zeros(900, bool), 8, {"method": "exact"}, 10)


@pytest.mark.parametrize("module", sorted(p.name for p in Path(neighbours.__file__).parent.glob("*.py")))
def test_the_room_knows_no_other(module):
    library = Path(neighbours.__file__).parents[1]
    reached = {p.relative_to(library).parts[0] for p in reached_modules(library / "causality" / module, library)}
    assert reached <= {"__init__.py", "errors.py", "stores.py", "causality"}
