from hypothesis import given, settings

from service.fusion.parser import parse
from service.fusion.tree import Call, Name, Number, fold, postorder
from tests.fusion import trees


@settings(deadline=None)
@given(trees.numbers())
def test_text_of_a_number_parses_back_to_the_same_tree(tree):
    assert parse(str(tree)) == tree
    assert str(parse(str(tree))) == str(tree)


@settings(deadline=None)
@given(trees.booleans())
def test_text_of_a_comparison_parses_back_to_the_same_tree(tree):
    assert parse(str(tree)) == tree


def test_trees_differ_when_their_numbers_names_or_brackets_do():
    texts = [
        "a - b - c",
        "a - (b - c)",
        "a + b",
        "b + a",
        "a",
        "1",
        "f(a)",
        "f(a, a)",
        "-a",
        "2 ^ -a",
    ]
    parsed = [parse(text) for text in texts]
    assert len(set(parsed)) == len(texts)
    assert all(
        (one == other) == (i == j) for i, one in enumerate(parsed) for j, other in enumerate(parsed)
    )
    assert parse("a") != "a"


def test_where_a_tree_stands_does_not_matter():
    assert parse("(a)+ b**2 # boost") == parse("a + b ^ 2")
    assert hash(parse("(a)+b")) == hash(parse("a + b"))


def test_walks_visit_arguments_first_and_left_to_right():
    assert [str(n) for n in postorder(parse("a + b * c"))] == ["a", "b", "c", "b * c", "a + b * c"]
    assert fold(parse("a + b * c"), lambda node, below: 1 + sum(below)) == 5


def test_a_very_deep_tree_is_written_compared_and_shown():
    tree = Number(1.0)
    for _ in range(5000):
        tree = Call("-x", (tree,))
    other = Number(1.0)
    for _ in range(5000):
        other = Call("-x", (other,))
    assert tree == other
    assert str(tree) == "-" * 5000 + "1"
    assert repr(tree).startswith("<Call ---")


def test_numbers_are_written_shortest():
    texts = ["30", "0.1", "1e-07", "1e+22", "0", "123456789012345"]
    assert [str(parse(text)) for text in texts] == texts
    assert str(Name("ctr")) == "ctr"


def test_brackets_are_kept_where_they_are_needed_only():
    texts = ["(a < b) == (c < d)", "(a + b) * c", "(a ^ b) ^ c", "(-a) ^ b", "not (a < b or c < d)"]
    assert [str(parse(text)) for text in texts] == texts
    assert str(parse("((a) * (b)) + ((c) ^ (-(d)))")) == "a * b + c ^ -d"
