import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from context import Condition, EvidenceError, EvidenceSpec, EvidenceTable, State, galactic

M, N, X = State.MEASURED, State.NONE, State.NOT_COVERED


def frame(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"object_id": [f"o{i}" for i in range(n)], **columns})


def read(spec, **columns):
    table = EvidenceTable.from_frame(frame(**columns), [spec])
    return table.columns[spec.name], table


def reasons(table):
    return list(table.set_aside[["object_id", "column", "reason"]].itertuples(index=False, name=None))


MAG = EvidenceSpec("mag", "continuous", unit="mag", column="m", valid_range=(10, 30))


@pytest.mark.parametrize("missing", [np.nan, None, "", "-", " - ", "NaN", pd.NA])
def test_missing_is_not_covered_and_not_set_aside(missing):
    column, table = read(MAG, m=[20.5, missing])
    assert column.state.tolist() == [M, X]
    assert column.value[0] == 20.5
    assert np.isnan(column.value[1])
    assert np.isnan(column.error[1])
    assert column.error[0] == 0
    assert table.set_aside.empty


def test_text_numbers_are_read():
    column, _ = read(MAG, m=["20.5", " 21 "])
    assert column.value.tolist() == [20.5, 21]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.inf, "not finite"),
        (-np.inf, "not finite"),
        (-999.0, "out of range [10, 30]"),
        (30.1, "out of range [10, 30]"),
        (">21.4", "not a number"),
    ],
)
def test_values_set_aside_with_a_reason(bad, reason):
    column, table = read(MAG, m=[10.0, bad, 30.0, bad])
    assert column.state.tolist() == [M, X, M, X]
    assert reasons(table) == [("o1", "mag", reason), ("o3", "mag", reason)]
    assert table.counts().to_dict("records") == [{"column": "mag", "reason": reason, "values": 2}]


def test_transforms_and_first_order_errors():
    x, s = np.array([0.01, 2.0, 300.0]), np.array([0.001, 0.1, 3.0])
    for name, function in (("log10", np.log10), ("asinh", np.arcsinh), ("identity", np.array)):
        spec = EvidenceSpec("x", "continuous", column="x", error="s", transform=name)
        column, _ = read(spec, x=x, s=s)
        np.testing.assert_allclose(column.value, function(x), rtol=1e-14)
        h = 1e-6 * x
        slope = (function(x + h) - function(x - h)) / (2 * h)
        np.testing.assert_allclose(column.error, s * slope, rtol=1e-6)
        np.testing.assert_allclose(column.in_units(), x, rtol=1e-12)


def test_log10_sets_zero_aside():
    spec = EvidenceSpec("x", "continuous", column="x", transform="log10")
    column, table = read(spec, x=[0.0, -1.0, 10.0])
    assert column.state.tolist() == [X, X, M]
    assert set(table.set_aside["reason"]) == {"log10 of a value that is not positive"}


def test_a_value_needs_its_error():
    spec = EvidenceSpec("z", "continuous", column="z", error="s")
    column, table = read(spec, z=[0.1, 0.2, 0.3, np.nan], s=[0.01, np.nan, 0.0, np.nan])
    assert column.state.tolist() == [M, X, X, X]
    assert table.counts()["values"].tolist() == [2]
    column, table = read(spec, z=[0.1])
    assert column.state.tolist() == [X]
    assert table.absent_columns == {"z": ("s",)}


def test_categories():
    spec = EvidenceSpec("c", "categorical", column="c", states=("spiral", "elliptical", "3"))
    column, table = read(spec, c=["elliptical", " spiral", "irregular", None, 3.0])
    assert column.state.tolist() == [M, M, X, X, M]
    assert column.value[[0, 1, 4]].tolist() == [1, 0, 2]
    assert reasons(table) == [("o2", "c", "unknown category")]
    assert column.in_units().tolist() == ["elliptical", "spiral", None, None, "3"]


@pytest.mark.parametrize("yes", [True, "True", "true", 1, 1.0, "1"])
@pytest.mark.parametrize("no", [False, "False", "false", 0, 0.0, "0"])
def test_booleans_however_stored(yes, no):
    spec = EvidenceSpec("m", "continuous", column="m", covered=Condition("seen", True))
    column, _ = read(spec, m=[np.nan] * 3, seen=pd.Series([yes, no, None], dtype=object))
    assert column.state.tolist() == [N, X, X]
    if isinstance(yes, bool | str) and not str(yes).isdigit():
        spec = EvidenceSpec("b", "categorical", column="b", states=("false", "true"))
        column, _ = read(spec, b=pd.Series([yes, no, None], dtype=object))
        assert column.value[0] == 1


def test_none_and_covered_rules():
    spec = EvidenceSpec(
        "m",
        "continuous",
        column="m",
        valid_range=(0, 30),
        covered=Condition("survey", "SDSS"),
        none=Condition("limit", True),
    )
    column, table = read(
        spec,
        m=[20, 20, np.nan, np.nan, 99, 99],
        survey=["SDSS", "SDSS", "SDSS", "none", "SDSS", "SDSS"],
        limit=[False, True, False, False, False, True],
    )
    # A value that is there but can't be used is not "none", even where the object was searched.
    assert column.state.tolist() == [M, N, N, X, X, N]
    assert reasons(table) == [("o4", "m", "out of range [0, 30]")]


def test_numeric_condition():
    spec = EvidenceSpec("m", "continuous", column="m", transform="log10", none=Condition("m", 0))
    column, table = read(spec, m=["0.0", 10, np.nan, "0"])
    assert column.state.tolist() == [N, M, X, N]
    assert table.set_aside.empty


def test_absent_columns_are_said_once():
    specs = [
        EvidenceSpec("a", "continuous", column="host_mag"),
        EvidenceSpec("b", "continuous", derive="galactic_latitude"),
        EvidenceSpec("c", "continuous", column="x", covered=Condition("searched", True)),
    ]
    table = EvidenceTable.from_frame(frame(x=[1.0, np.nan]), specs)
    assert table.absent_columns == {"a": ("host_mag",), "b": ("ra", "dec"), "c": ("searched",)}
    assert table.set_aside.empty
    assert [column.state.tolist() for column in table.columns.values()] == [[X, X], [X, X], [M, X]]


def test_an_absent_column_is_never_none():
    rules = {"covered": Condition("searched", True), "none": Condition("limit", True)}
    for spec in (
        EvidenceSpec("c", "continuous", column="x", **rules),
        EvidenceSpec("c", "continuous", column="m", error="s", **rules),
        EvidenceSpec("c", "continuous", derive="galactic_latitude", **rules),
    ):
        column, table = read(spec, m=[1.0, np.nan], searched=[True, True], limit=[True, False])
        assert column.state.tolist() == [X, X]
        assert np.isnan(column.value).all()
        assert list(table.absent_columns) == ["c"]
        assert table.set_aside.empty


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_angles_are_wrapped(degrees):
    column, _ = read(EvidenceSpec("a", "angle", column="a"), a=degrees)
    assert ((column.value >= 0) & (column.value < 360)).all()
    difference = np.deg2rad(column.value - np.array(degrees))
    np.testing.assert_allclose(np.cos(difference), 1, atol=1e-8)


def test_an_angle_just_below_zero():
    column, _ = read(EvidenceSpec("a", "angle", column="a"), a=[-1e-20, 360.0, 720.5])
    assert column.value.tolist() == [0, 0, 0.5]


def test_counts_are_whole():
    column, table = read(EvidenceSpec("n", "count", column="n"), n=[0, 3.0, 2.5, -1])
    assert column.state.tolist() == [M, M, X, X]
    assert len(table.set_aside) == 2


def test_derived_latitudes():
    ra, dec = [10.0, 200.0, np.nan, 400.0, 10.0], [20.0, -30.0, 5.0, 5.0, -91.0]
    specs = [
        EvidenceSpec("b", "continuous", derive="galactic_latitude"),
        EvidenceSpec("absb", "continuous", derive="abs_galactic_latitude"),
    ]
    table = EvidenceTable.from_frame(frame(ra=ra, dec=dec), specs)
    expected = galactic(ra[:2], dec[:2])[1]
    np.testing.assert_allclose(table.columns["b"].value[:2], expected)
    np.testing.assert_allclose(table.columns["absb"].value[:2], np.abs(expected))
    assert table.columns["b"].state.tolist() == [M, M, X, X, X]
    assert reasons(table)[:2] == [
        ("o3", "b", "position not on the sky"),
        ("o4", "b", "position not on the sky"),
    ]


def test_a_column_comes_before_its_derivation():
    spec = EvidenceSpec("b", "continuous", column="b", derive="galactic_latitude", valid_range=(-90, 90))
    column, table = read(spec, b=[1.5, np.nan, 200.0], ra=[10.0] * 3, dec=[20.0] * 3)
    assert column.state.tolist() == [M, M, X]
    assert column.value[0] == 1.5
    assert column.value[1] == pytest.approx(float(galactic(10, 20)[1]))
    assert reasons(table) == [("o2", "b", "out of range [-90, 90]")]
    # Without the column nothing is lost, so nothing is said.
    column, table = read(spec, ra=[10.0], dec=[20.0])
    assert column.state.tolist() == [M]
    assert table.absent_columns == {}


def test_identifiers_reorder_and_add():
    data = pd.DataFrame({"object_id": [3, 1, 2], "m": [13, 11, 12]})
    table = EvidenceTable.from_frame(data, [MAG], object_ids=["1", 7, "3"])
    assert table.object_id.tolist() == ["1", "7", "3"]
    assert table.columns["mag"].state.tolist() == [M, X, M]
    assert table.columns["mag"].value[[0, 2]].tolist() == [11, 13]
    assert table.n_not_requested == 1


def test_added_objects_keep_booleans_readable():
    data = pd.DataFrame({"object_id": ["a", "b"], "m": [np.nan, np.nan], "seen": [True, False]})
    spec = EvidenceSpec("m", "continuous", column="m", covered=Condition("seen", True))
    table = EvidenceTable.from_frame(data, [spec], object_ids=["b", "new", "a"])
    assert table.columns["m"].state.tolist() == [X, X, N]


def test_identifier_errors():
    with pytest.raises(EvidenceError, match="'b' twice"):
        EvidenceTable.from_frame(pd.DataFrame({"object_id": ["a", "b", "b"]}), [])
    with pytest.raises(EvidenceError, match="needs a column object_id, found name, m"):
        EvidenceTable.from_frame(pd.DataFrame({"name": ["a"], "m": [1]}), [])
    with pytest.raises(EvidenceError, match="1 rows without"):
        EvidenceTable.from_frame(pd.DataFrame({"object_id": ["a", None]}), [])
    with pytest.raises(EvidenceError, match="'mag' twice"):
        EvidenceTable.from_frame(frame(m=[1]), [MAG, MAG])


def test_columns_of_one_name():
    data = pd.DataFrame([["a", 1, 2]], columns=["object_id", "m", "m"])
    with pytest.raises(EvidenceError, match="found 'm' twice"):
        EvidenceTable.from_frame(data, [MAG])


def test_no_table_at_all():
    table = EvidenceTable.from_frame(None, [MAG], object_ids=["a", "b"])
    assert table.columns["mag"].state.tolist() == [X, X]
    assert table.absent_columns == {"mag": ("m",)}
    assert EvidenceTable.from_frame(None, [MAG]).n_objects == 0


def test_arrow_table():
    table = EvidenceTable.from_frame(pa.table({"object_id": ["a"], "m": [20.0]}), [MAG])
    assert table.columns["mag"].value.tolist() == [20]


@given(st.permutations(range(6)))
def test_order_of_rows_changes_nothing(order):
    data = frame(m=[20, np.nan, "x", 99, 21, 22])
    ids = data["object_id"].tolist()
    first = EvidenceTable.from_frame(data, [MAG])
    again = EvidenceTable.from_frame(data.iloc[list(order)], [MAG], object_ids=ids)
    np.testing.assert_array_equal(first.columns["mag"].value, again.columns["mag"].value)
    np.testing.assert_array_equal(first.columns["mag"].state, again.columns["mag"].state)
    pd.testing.assert_frame_equal(first.set_aside, again.set_aside)


def test_take_and_without():
    table = EvidenceTable.from_frame(frame(m=[20, 99, 21]), [MAG])
    taken = table.take([2, 0, 2])
    assert taken.object_id.tolist() == ["o2", "o0", "o2"]
    assert taken.columns["mag"].value.tolist() == [21, 20, 21]
    assert taken.set_aside.empty
    assert table.take(np.array([False, True, False])).set_aside["object_id"].tolist() == ["o1"]
    assert table.without("mag").columns["mag"].state.tolist() == [X, X, X]
    half = table.without(["mag"], where=[True, False, False]).columns["mag"]
    assert half.state.tolist() == [X, X, M]
    assert np.isnan(half.value[0])
    assert table.columns["mag"].state.tolist() == [M, X, M]
    with pytest.raises(EvidenceError, match="no evidence 'magg'; known: mag"):
        table.without("magg")


def test_to_frame():
    spec = EvidenceSpec("x", "continuous", column="x", transform="log10")
    out = EvidenceTable.from_frame(frame(x=[100.0, np.nan]), [spec]).to_frame()
    assert out.columns.tolist() == ["object_id", "x", "x_state"]
    assert out["x"].iloc[0] == pytest.approx(100)
    assert out["x_state"].tolist() == ["measured", "not covered"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "ordinal", "column": "x"}, "kind must be one of categorical, count"),
        ({"kind": "continuous"}, "needs a column"),
        ({"kind": "continuous", "column": "x", "transform": "sqrt"}, "transform must be one of"),
        ({"kind": "continuous", "derive": "redshift"}, "derive must be one of abs_galactic"),
        ({"kind": "categorical", "column": "x", "states": ("a",)}, "two or more different states"),
        ({"kind": "categorical", "column": "x", "states": ("a", "b"), "error": "s"}, "neither range, error"),
        ({"kind": "count", "column": "x", "states": ("a", "b")}, "states belong to kind categorical"),
        ({"kind": "count", "column": "x", "error": "s"}, "kind count takes no error"),
        ({"kind": "angle", "column": "x", "transform": "log10"}, "takes no transform"),
        ({"kind": "continuous", "column": "x", "valid_range": (3, 1)}, r"low < high, found \[3, 1\]"),
        (
            {"kind": "continuous", "column": "x", "valid_range": (0, 1), "transform": "log10"},
            "range above zero",
        ),
    ],
)
def test_specs_without_meaning(arguments, message):
    with pytest.raises(EvidenceError, match=f"Evidence 'e': .*{message}"):
        EvidenceSpec("e", **arguments)


HOST = EvidenceSpec("host", "continuous", column="h", covered=Condition("seen", True))


def alternatives(**changes):
    """Object b in three rows, a in one, c in two; the last of b and c without a host."""
    columns = {
        "object_id": ["b", "a", "b", "c", "b", "c"],
        "alternative_probability": [0.2, 1.0, 0.5, 0.4, 0.3, 0.6],
        "h": [1.0, 2.0, 3.0, 4.0, np.nan, np.nan],
        "m": [20.0, 21.0, 20.0, 22.0, 20.0, 22.0],
        "seen": True,
    }
    return pd.DataFrame(columns | changes)


def test_alternatives_are_one_object_each():
    table = EvidenceTable.from_frame(alternatives(), [HOST, MAG])
    assert table.object_id.tolist() == ["b", "a", "c"]
    assert table.n_objects == 3
    # The table itself shows the most probable row of each object.
    np.testing.assert_array_equal(table.columns["host"].value, [3.0, 2.0, np.nan])
    assert table.columns["host"].state.tolist() == [M, M, N]
    every = table.alternatives
    assert every.owner.tolist() == [0, 0, 0, 1, 2, 2]
    np.testing.assert_allclose(every.probability, [0.2, 0.5, 0.3, 1.0, 0.4, 0.6])
    np.testing.assert_array_equal(every.rows.columns["host"].value, [1, 3, np.nan, 2, 4, np.nan])
    # What all rows of an object repeat is the object's; one row shares everything with itself.
    assert every.shared["mag"].tolist() == [True] * 6
    assert every.shared["host"].tolist() == [False] * 3 + [True] + [False] * 2
    own = every.own_rows.columns
    assert own["mag"].state.tolist() == [X] * 6
    assert own["host"].state.tolist() == [M, M, N, X, M, N]


def test_alternatives_follow_the_objects():
    table = EvidenceTable.from_frame(alternatives(), [HOST], object_ids=["c", "new", "b"])
    assert table.columns["host"].state.tolist() == [N, X, M]
    assert table.n_not_requested == 1
    assert table.alternatives.owner.tolist() == [0, 0, 1, 2, 2, 2]
    np.testing.assert_allclose(table.alternatives.probability, [0.4, 0.6, 1.0, 0.2, 0.5, 0.3])
    taken = table.take([2, 0, 2]).alternatives
    assert taken.owner.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(taken.probability, [0.2, 0.5, 0.3, 0.4, 0.6, 0.2, 0.5, 0.3])
    assert taken.rows.object_id.tolist() == ["b"] * 3 + ["c"] * 2 + ["b"] * 3
    assert taken.total.tolist() == [1.0, 1.0, 1.0]
    assert table.take(np.array([False, True, False])).alternatives.owner.tolist() == [0]
    assert table.take([]).alternatives.owner.tolist() == []
    hidden = table.without("host", where=[True, False, False]).alternatives.rows.columns["host"]
    assert hidden.state.tolist() == [X, X, X, M, M, N]
    empty = EvidenceTable.from_frame(alternatives().iloc[:0], [HOST], object_ids=["a"])
    assert empty.alternatives.owner.tolist() == [0]


def test_less_than_one_is_normalised_and_known():
    table = EvidenceTable.from_frame(
        alternatives(alternative_probability=["0.1", 0.5, 0.25, 0.4, 0.15, 0.6]), [HOST]
    )
    np.testing.assert_allclose(table.alternatives.total, [0.5, 0.5, 1.0])
    np.testing.assert_allclose(table.alternatives.probability, [0.2, 0.5, 0.3, 1.0, 0.4, 0.6])


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        ([0.2, 1.0, 0.5, 0.4, np.nan, 0.6], r"in \[0, 1\] in every row, found nan for object 'b'"),
        ([0.2, "x", 0.5, 0.4, 0.3, 0.6], r"found x for object 'a' \(1 such rows"),
        ([-0.2, 1.0, 0.5, 0.4, 0.3, 0.6], r"found -0.2 for object 'b'"),
        ([0.2, 1.1, 0.5, 0.4, 0.3, 0.6], r"found 1.1 for object 'a'"),
        ([0.2, 1.0, 0.5, 0.5, 0.3, 0.6], r"sum to one .* found 1.1 for object 'c'"),
        ([0.2, 0.0, 0.5, 0.4, 0.3, 0.6], r"sum to one .* found 0 for object 'a'"),
        ([0.2, 1.0, 0.5, 0.4 + 1e-5, 0.3, 0.6], r"found 1.00001 for object 'c'"),
    ],
)
def test_probabilities_that_are_none(probability, message):
    with pytest.raises(EvidenceError, match=message):
        EvidenceTable.from_frame(alternatives(alternative_probability=probability), [HOST])


def test_rounding_of_probabilities_is_forgiven():
    probability = [0.2, 1.0, 0.5, 0.4 + 5e-7, 0.3, 0.6]
    table = EvidenceTable.from_frame(alternatives(alternative_probability=probability), [HOST])
    assert np.bincount(table.alternatives.owner, table.alternatives.probability) == pytest.approx(1.0)


def test_repeated_objects_need_probabilities():
    with pytest.raises(EvidenceError, match=r"'b' twice .* column alternative_probability"):
        EvidenceTable.from_frame(alternatives().drop(columns="alternative_probability"), [HOST])


def test_a_bad_value_that_rows_repeat_is_said_once():
    table = EvidenceTable.from_frame(alternatives(m=[99.0, 21.0, 99.0, 22.0, 99.0, 22.0]), [MAG])
    assert reasons(table) == [("b", "mag", "out of range [10, 30]")]


@given(st.permutations(range(6)))
def test_order_of_alternatives_changes_no_object(order):
    ids = ["a", "b", "c"]
    first = EvidenceTable.from_frame(alternatives(), [HOST, MAG], object_ids=ids)
    again = EvidenceTable.from_frame(alternatives().iloc[list(order)], [HOST, MAG], object_ids=ids)
    np.testing.assert_array_equal(first.columns["host"].value, again.columns["host"].value)
    for key in ("host", "mag"):
        np.testing.assert_array_equal(first.alternatives.shared[key], again.alternatives.shared[key])
    one, two = (
        sorted(zip(t.alternatives.owner, t.alternatives.probability, strict=True)) for t in (first, again)
    )
    np.testing.assert_allclose(one, two)


def nearest(**changes):
    columns = {
        "object_id": list("abcde"),
        "x_separation_arcsec": [0.5, np.nan, 7.0, 1.0, np.nan],
        "x_density_arcmin2": [1.0, 2.0, 0.0, 1.0, np.nan],
        "x_found": [True, False, True, True, None],
        "x_covered": [True, True, True, None, False],
    }
    return pd.DataFrame(columns | changes)


def test_matches_are_read_with_their_states():
    ids = ["c", "a", "e", "b", "d", "new"]
    table = EvidenceTable.from_frame(nearest(), [], matches=["x"], object_ids=ids)
    match = table.matches["x"]
    assert match.state.tolist() == [M, M, X, N, M, X]
    np.testing.assert_array_equal(match.separation[[0, 1, 4]], [7.0, 0.5, 1.0])
    assert table.set_aside.empty
    # A source beyond a smaller radius is none within it.
    assert match.within(5.0).state.tolist() == [N, M, X, N, M, X]
    assert table.take([1, 4]).matches["x"].separation.tolist() == [0.5, 1.0]
    assert table.without("x", where=np.arange(6) < 2).matches["x"].state.tolist() == [X, X, X, N, M, X]
    with pytest.raises(EvidenceError, match="'y'; known: x"):
        table.without("y")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x_separation_arcsec": [np.nan, np.nan, 7, 1, np.nan]}, "without a separation of zero or more"),
        ({"x_separation_arcsec": [-1, np.nan, 7, 1, np.nan]}, "without a separation of zero or more"),
        ({"x_density_arcmin2": [np.nan, 2, 0, 1, 1]}, "no density of zero or more"),
        ({"x_density_arcmin2": ["few", 2, 0, 1, 1]}, "no density of zero or more"),
        ({"x_position_error_arcsec": [-1.0, 1, 1, 1, 1]}, "position error is not a number of zero or more"),
        ({"x_position_error_arcsec": ["?", 1, 1, 1, 1]}, "position error is not a number of zero or more"),
    ],
)
def test_matches_that_cannot_be_used_are_set_aside(changes, reason):
    table = EvidenceTable.from_frame(nearest(**changes), [], matches=["x"])
    ((object_id, name, said),) = reasons(table)
    assert (object_id, name) == ("a", "x")
    assert said.endswith(reason)
    assert table.matches["x"].state.tolist() == [X, N, M, M, X]


def test_matches_without_their_columns():
    table = EvidenceTable.from_frame(nearest().drop(columns=["x_found"]), [], matches=["x", "y"])
    assert table.absent_columns["x"] == ("x_found",)
    assert len(table.absent_columns["y"]) == 4
    assert table.matches["x"].state.tolist() == [X] * 5
    with pytest.raises(EvidenceError, match="'x' twice"):
        EvidenceTable.from_frame(nearest(), [], matches=["x", "x"])


def test_rows_of_an_object_agree_on_a_match():
    doubled = pd.concat([nearest().assign(alternative_probability=0.5)] * 2, ignore_index=True)
    table = EvidenceTable.from_frame(doubled, [], matches=["x"])
    assert table.matches["x"].state.tolist() == [M, N, M, M, X]
    doubled.loc[7, "x_separation_arcsec"] = 6.0
    with pytest.raises(EvidenceError, match="those of 'c' differ"):
        EvidenceTable.from_frame(doubled, [], matches=["x"])
