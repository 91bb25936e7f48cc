"""The picture of the rules: what flows, once, from left to right."""

from galmass.figures import rules, style

DOT = """digraph snakemake_dag {
    edge[penwidth=2, color=grey];
	0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
	1[label = "plot_b", color = "0.1 0.6 0.85", style="rounded"];
	2[label = "make_a", color = "0.1 0.6 0.85", style="rounded"];
	3[label = "make_b", color = "0.1 0.6 0.85", style="rounded"];
	4[label = "record_provenance", color = "0.1 0.6 0.85", style="rounded"];
	5[label = "alone", color = "0.1 0.6 0.85", style="rounded"];
	6[label = "late", color = "0.1 0.6 0.85", style="rounded"];
	1 -> 0
	2 -> 0
	4 -> 0
	2 -> 3
	2 -> 1
	3 -> 1
	6 -> 1
	2 -> 4
}
"""


def test_what_another_path_says_is_left_out():
    graph = rules.parsed(DOT)
    assert set(graph.edges) == {("make_a", "make_b"), ("make_b", "plot_b"), ("late", "plot_b")}
    assert set(graph) == {"make_a", "make_b", "plot_b", "late", "alone"}


def test_all_flows_from_left_to_right_and_no_box_lies_on_another():
    graph = rules.parsed(DOT)
    at = rules.places(graph)
    assert all(at[a][0] < at[b][0] for a, b in graph.edges)
    assert at["late"][0] == at["make_b"][0]  # next to what it feeds
    apart = [(abs(x - u), abs(y - v)) for (x, y) in at.values() for (u, v) in at.values() if (x, y) != (u, v)]
    assert len(set(at.values())) == len(graph)
    assert all(dx > 1 or dy > 0.2 for dx, dy in apart)


def test_the_same_rules_give_the_same_bytes(tmp_path):
    for name in "ab":
        style.save(rules.drawn(DOT), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
