import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn.light_curves import LightCurveError, LightCurves, concatenate

FIELDS = ("object_id", "offset", "time", "value", "error", "channel", "upper_limit")


def table(**changes):
    """Two objects, three good rows."""
    columns = {
        "object_id": ["b", "a", "b"],
        "survey": ["ZTF"] * 3,
        "band": ["r", "g", "g"],
        "mjd": [58002.0, 58000.0, 58001.0],
        "mag": [18.0, 19.0, 17.5],
        "mag_err": [0.1, 0.2, 0.3],
    }
    return pd.DataFrame({**columns, **changes})


def many(**row):
    """A table with 60 good rows of object 'good' and one further row."""
    good = {"survey": "ZTF", "band": "g", "mag": 18.0, "mag_err": 0.1, "upper_limit": False}
    rows = [{**good, "object_id": "good", "mjd": 58000.0 + i} for i in range(60)]
    return pd.DataFrame([*rows, {**good, "object_id": "odd", "mjd": 58000.0, **row}])


def assert_same(one, two):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert one.channels == two.channels
    assert one.quantity == two.quantity
    pd.testing.assert_frame_equal(one.set_aside, two.set_aside)


def counts(light_curves):
    return {(row.object_id, row.reason): row.rows for row in light_curves.set_aside.itertuples()}


# What a batch holds


def test_points_are_sorted_within_objects_in_order_of_first_appearance():
    batch = LightCurves.from_frame(table())
    assert batch.object_id.tolist() == ["b", "a"]
    assert batch.offset.tolist() == [0, 2, 3]
    assert batch.time.tolist() == [58001.0, 58002.0, 58000.0]
    assert batch.value.tolist() == [17.5, 18.0, 19.0]
    assert batch.error.tolist() == [0.3, 0.1, 0.2]
    assert batch.channels == ("ZTF/g", "ZTF/r")
    assert batch.channel.tolist() == [0, 1, 0]
    assert batch.channel.dtype == np.int16
    assert batch.offset.dtype == np.int64
    assert batch.quantity == "mag"
    assert batch.n_objects == 2
    assert batch.n_points == 3
    assert batch.object_index.tolist() == [0, 0, 1]
    assert len(batch.set_aside) == 0
    assert list(batch.set_aside.columns) == ["object_id", "reason", "rows"]
    assert repr(batch) == (
        "LightCurves(2 objects, 3 points, quantity='mag', channels=('ZTF/g', 'ZTF/r'), 0 rows set aside)"
    )


def test_upper_limits_need_no_error_and_are_counted_apart():
    frame = table(mag_err=[np.nan, 0.2, 0.3], upper_limit=[True, False, False])
    batch = LightCurves.from_frame(frame)
    assert batch.n_detections.tolist() == [1, 1]
    assert batch.n_upper_limits.tolist() == [1, 0]
    np.testing.assert_array_equal(batch.error, [0.3, np.nan, 0.2])


@pytest.mark.parametrize(
    "words", [[1, 0, 0], ["True", "false", None], ["t", "F", "n"], [1.0, 0.0, np.nan], ["1", "0", "no"]]
)
def test_upper_limit_may_be_spelt_in_several_ways(words):
    assert LightCurves.from_frame(table(upper_limit=words)).n_upper_limits.tolist() == [1, 0]


def test_fluxes_may_be_of_any_size_and_sign():
    frame = table().rename(columns={"mag": "flux", "mag_err": "error", "mjd": "time"})
    frame["flux"] = [-50.0, 1e6, 99.0]
    batch = LightCurves.from_frame(frame)
    assert batch.quantity == "flux"
    assert batch.value.tolist() == [99.0, -50.0, 1e6]
    assert list(batch.to_frame().columns[-3:]) == ["flux", "flux_err", "upper_limit"]


def test_an_empty_flux_column_beside_magnitudes_is_no_conflict():
    assert LightCurves.from_frame(table(flux=np.nan)).quantity == "mag"
    assert LightCurves.from_frame(table(flux=1.0, flux_err=1.0, mag=np.nan)).quantity == "flux"


def test_times_from_another_origin_are_accepted():
    assert LightCurves.from_frame(table(mjd=[290.3, 291.0, 292.0])).n_points == 3


@pytest.mark.parametrize("kind", ["arrow", "arrow types", "object", "category", "text numbers"])
def test_the_type_of_the_table_changes_nothing(kind):
    frame = table()
    other = {
        "arrow": lambda: pa.Table.from_pandas(frame.assign(unused=[[1], [2], [3]])),
        "arrow types": lambda: pa.Table.from_pandas(frame).to_pandas(types_mapper=pd.ArrowDtype),
        "object": lambda: frame.astype(object),
        "category": lambda: frame.astype({"object_id": "category", "survey": "category", "band": "category"}),
        "text numbers": lambda: frame.astype({"mjd": str, "mag": str, "mag_err": str}),
    }[kind]()
    assert_same(LightCurves.from_frame(other), LightCurves.from_frame(frame))


@pytest.mark.parametrize(
    "ids",
    [
        [1001, 1001, 7],
        [1001.0, 1001.0, 7.0],
        ["1001", " 1001", "7"],
        [1001, "1001", 7.0],
        [b"1001", "1001", 7],
        pd.array([1001, 1001, 7], dtype="Int64"),
    ],
)
def test_objects_are_compared_as_text(ids):
    assert LightCurves.from_frame(table(object_id=ids)).object_id.tolist() == ["1001", "7"]


def test_long_identifiers_keep_all_their_digits():
    ids = [1001061320334228647, 1001061320334228648, 1001061320334228647]
    batch = LightCurves.from_frame(table(object_id=ids))
    assert batch.object_id.tolist() == ["1001061320334228647", "1001061320334228648"]


# Rows set aside


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"survey": None}, "channel missing"),
        ({"band": " "}, "channel missing"),
        ({"mjd": np.nan}, "time missing or not finite"),
        ({"mjd": np.inf}, "time missing or not finite"),
        ({"mjd": 2460300.7}, "Julian date among modified ones"),
        ({"mag": np.nan}, "value missing or not finite"),
        ({"mag": -np.inf}, "value missing or not finite"),
        ({"mag": "-"}, "value missing or not finite"),
        ({"mag": 99.0}, "sentinel magnitude"),
        ({"mag": np.float32(99.99)}, "sentinel magnitude"),
        ({"mag": -99}, "sentinel magnitude"),
        ({"mag": -999.0}, "sentinel magnitude"),
        ({"mag": -9999.0, "upper_limit": True}, "sentinel magnitude"),
        ({"mag": 35.1}, "magnitude outside -2 to 35"),
        ({"mag": -2.1}, "magnitude outside -2 to 35"),
        ({"mag_err": np.nan}, "error missing, not finite or not positive"),
        ({"mag_err": np.inf}, "error missing, not finite or not positive"),
        ({"mag_err": 0.0}, "error missing, not finite or not positive"),
        ({"mag_err": -0.1}, "error missing, not finite or not positive"),
        ({"mjd": np.nan, "mag": np.nan, "mag_err": np.nan}, "time missing or not finite"),
    ],
)
def test_an_unusable_row_is_counted_and_its_object_stays(row, reason):
    batch = LightCurves.from_frame(many(**row))
    assert batch.object_id.tolist() == ["good", "odd"]
    assert np.diff(batch.offset).tolist() == [60, 0]
    assert counts(batch) == {("odd", reason): 1}


@pytest.mark.parametrize("name", [None, "", np.nan])
def test_rows_without_an_object_are_counted_under_the_empty_name(name):
    batch = LightCurves.from_frame(many(object_id=name))
    assert batch.object_id.tolist() == ["good"]
    assert counts(batch) == {("", "object_id missing"): 1}


def test_edges_of_the_magnitude_range_are_inside():
    assert LightCurves.from_frame(table(mag=[-2.0, 35.0, 25.0])).n_points == 3


def test_channels_outside_the_model_are_set_aside_and_the_order_is_the_models():
    batch = LightCurves.from_frame(table(), channels=["ZTF/r", "PS1/i"])
    assert batch.channels == ("ZTF/r", "PS1/i")
    assert batch.channel.tolist() == [0]
    assert batch.object_id.tolist() == ["b", "a"]
    assert counts(batch) == {
        ("b", "channel ZTF/g not in the model"): 1,
        ("a", "channel ZTF/g not in the model"): 1,
    }


def test_aliases_rename_channels():
    frame = table(band=["zr", "zg", "g"])
    aliases = {"ZTF/zg": "ZTF/g", "ZTF/zr": "ZTF/r"}
    for channels in (["ZTF/g", "ZTF/r"], None):
        batch = LightCurves.from_frame(frame, channels=channels, aliases=aliases)
        assert_same(batch, LightCurves.from_frame(table()))


def test_asked_objects_come_in_their_order_also_without_rows():
    batch = LightCurves.from_frame(table(), object_ids=["nothing", "b"])
    assert batch.object_id.tolist() == ["nothing", "b"]
    assert batch.offset.tolist() == [0, 0, 2]
    assert counts(batch) == {("a", "object not among those asked for"): 1}
    by_number = LightCurves.from_frame(table(object_id=[1, 2, 1]), object_ids=pd.Series([2, 1]))
    assert by_number.object_id.tolist() == ["2", "1"]


def test_exact_duplicates_are_kept_once_and_others_at_equal_time_stay():
    frame = pd.concat([table(), table(), table(mag=[18.01, 19.0, 17.5], mag_err=[0.1, 0.4, 0.3])])
    batch = LightCurves.from_frame(frame)
    assert batch.value.tolist() == [17.5, 18.0, 18.01, 19.0]
    assert batch.error.tolist() == [0.3, 0.1, 0.1, 0.4]
    assert counts(batch) == {("b", "exact duplicate"): 3, ("a", "exact duplicate"): 2}


def test_of_a_measurement_and_a_limit_alike_the_measurement_is_kept():
    frame = pd.concat([table().assign(upper_limit=True), table().assign(upper_limit=False)])
    assert LightCurves.from_frame(frame).n_detections.tolist() == [2, 1]


# Invariants

ROW = st.fixed_dictionaries(
    {
        "object_id": st.sampled_from(["a", "b", "c", None]),
        "survey": st.sampled_from(["S", "T"]),
        "band": st.sampled_from(["g", "r", None]),
        "mjd": st.sampled_from([0.0, 1.0, 2.5, 7.0, np.nan]),
        "flux": st.sampled_from([-1.0, 0.0, 3.0, np.inf]),
        "flux_err": st.sampled_from([0.1, 0.2, 0.0]),
        "upper_limit": st.booleans(),
    }
)
FRAME = st.lists(ROW, min_size=1, max_size=40).map(pd.DataFrame)
CHANNELS = ("S/g", "S/r", "T/g")


def loop(frame, names):
    """The kept points of each object by a plain loop over rows."""
    points = {name: {} for name in names}
    for row in frame.itertuples():
        channel = f"{row.survey}/{row.band}"
        if row.object_id not in points or channel not in CHANNELS:
            continue
        if not np.isfinite(row.mjd) or not np.isfinite(row.flux):
            continue
        if not row.upper_limit and not row.flux_err > 0:
            continue
        key = (row.mjd, CHANNELS.index(channel), row.flux)
        rank = (not row.upper_limit, 0.0 if row.upper_limit else row.flux_err)
        points[row.object_id][key] = max(rank, points[row.object_id].get(key, rank))
    return {name: sorted((*key, *rank) for key, rank in own.items()) for name, own in points.items()}


@settings(max_examples=150, deadline=None)
@given(frame=FRAME, seed=st.integers(0, 2**16))
def test_agrees_with_a_loop_and_the_order_of_rows_changes_nothing(frame, seed):
    names = ["c", "a", "b"]
    batch = LightCurves.from_frame(frame, channels=CHANNELS, object_ids=names)
    expected = loop(frame, names)
    for i, name in enumerate(names):
        own = slice(batch.offset[i], batch.offset[i + 1])
        error = np.where(batch.upper_limit[own], 0.0, batch.error[own])
        columns = (batch.time[own], batch.channel[own], batch.value[own], ~batch.upper_limit[own], error)
        assert list(zip(*columns, strict=True)) == expected[name]
    assert batch.set_aside["rows"].sum() + batch.n_points == len(frame)
    shuffled = frame.sample(frac=1.0, random_state=seed)
    assert_same(LightCurves.from_frame(shuffled, channels=CHANNELS, object_ids=names), batch)


@settings(max_examples=60, deadline=None)
@given(frame=FRAME)
def test_repeating_the_table_changes_only_the_count_of_duplicates(frame):
    once = LightCurves.from_frame(frame)
    twice = LightCurves.from_frame(pd.concat([frame, frame]))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(once, name), getattr(twice, name), err_msg=name)
    assert twice.set_aside["rows"].sum() == once.set_aside["rows"].sum() + len(frame)


@settings(max_examples=60, deadline=None)
@given(frame=FRAME)
def test_a_batch_made_from_its_own_points_is_the_same(frame):
    batch = LightCurves.from_frame(frame, channels=CHANNELS)
    again = batch.to_frame()
    if len(again):
        again = LightCurves.from_frame(again, channels=CHANNELS, object_ids=batch.object_id)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(again, name), getattr(batch, name), err_msg=name)
        assert len(again.set_aside) == 0


@settings(max_examples=60, deadline=None)
@given(frame=FRAME, cut=st.integers(0, 3))
def test_splitting_and_joining_gives_the_batch_back(frame, cut):
    # Rows without an object belong to no part, so they would be missing from the joined count.
    batch = LightCurves.from_frame(frame.assign(object_id=frame["object_id"].fillna("d")))
    joined = concatenate([batch.take_objects(slice(0, cut)), batch.take_objects(slice(cut, None))])
    assert_same(joined, batch)


# Choosing and joining


def test_objects_are_taken_in_order_and_repeated():
    batch = LightCurves.from_frame(pd.concat([table(), table()[:1]]))
    taken = batch.take_objects([1, 0, -1, 1])
    assert taken.object_id.tolist() == ["a", "b", "a", "a"]
    assert taken.offset.tolist() == [0, 1, 3, 4, 5]
    assert taken.value.tolist() == [19.0, 17.5, 18.0, 19.0, 19.0]
    assert counts(taken) == {("b", "exact duplicate"): 1}
    assert batch.take_objects(np.array([False, True])).object_id.tolist() == ["a"]
    assert batch.take_objects([1]).set_aside.empty
    none = batch.take_objects(np.array([], dtype=int))
    assert none.n_objects == 0
    assert none.n_points == 0


def test_objects_stay_when_their_points_go():
    batch = LightCurves.from_frame(table())
    left = batch.keep_points(np.array([False, False, True]))
    assert left.object_id.tolist() == ["b", "a"]
    assert left.offset.tolist() == [0, 0, 1]
    assert left.value.tolist() == [19.0]
    with pytest.raises(
        LightCurveError, match=r"boolean array of shape \(3,\), but it is int64 of shape \(2,\)"
    ):
        batch.keep_points(np.array([0, 1]))


def test_joining_unites_channels():
    one = LightCurves.from_frame(table(band="r"))
    two = LightCurves.from_frame(table(band="g", object_id=["x", "y", "x"]))
    joined = concatenate([one, two])
    assert joined.channels == ("ZTF/g", "ZTF/r")
    assert joined.channel.tolist() == [1, 1, 1, 0, 0, 0]
    assert joined.object_id.tolist() == ["b", "a", "x", "y"]


def test_what_cannot_be_joined_is_refused():
    batch = LightCurves.from_frame(table())
    flux = LightCurves.from_frame(table().rename(columns={"mag": "flux", "mag_err": "flux_err"}))
    with pytest.raises(LightCurveError, match="At least one batch"):
        concatenate([])
    with pytest.raises(LightCurveError, match="same quantity, but both mag and flux"):
        concatenate([batch, flux])
    with pytest.raises(LightCurveError, match="different objects, but object a is in more than one"):
        concatenate([batch, batch.take_objects([1])])


def test_arrays_of_the_wrong_length_are_refused():
    batch = LightCurves.from_frame(table())
    fields = {name: getattr(batch, name) for name in (*FIELDS, "channels", "quantity", "set_aside")}
    with pytest.raises(LightCurveError, match=r"time\.shape=\(2,\) and offset ends at 3"):
        LightCurves(**{**fields, "time": batch.time[:2]})
    with pytest.raises(LightCurveError, match=r"offset\.shape=\(2,\)"):
        LightCurves(**{**fields, "offset": batch.offset[:2]})


# Tables refused


def without(*names):
    return table().drop(columns=list(names))


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (
            without("band"),
            r"mjd \(or time\), and either mag.* but band is missing; found object_id, survey, ",
        ),
        (without("mjd"), "but mjd is missing"),
        (without("mag", "survey"), "but survey, mag or flux are missing"),
        (without("mag_err"), "but mag_err is missing"),
        (without("mag_err").assign(flux_err=1.0), "but mag_err is missing; found .*flux_err: rename or add"),
        (pd.DataFrame(), "found no columns: rename or add"),
        (table()[:0], "at least one row, but this one has none: check"),
        (table(flux=1.0), "magnitudes or fluxes, not both, but the columns mag and flux both have values"),
        (table(mjd=2458000.5), r"median of mjd is 2458000\.5, which is a Julian date: subtract 2400000\.5"),
        (table(mag=[18.0, 412.0, 3.0]), "1 of 3 values of mag do not .*largest 412.* looks like flux: name"),
        (
            table(mag="faint"),
            "Column mag must be numeric, but 3 of its 3 entries are not, for example 'faint'",
        ),
        (table(mjd=pd.Timestamp("2018-01-01")), "Column mjd must be numeric, but its type is datetime64"),
        (table(mag_err=[[0.1]] * 3), "Column mag_err must be numeric, but"),
        (
            table(upper_limit=["<", "", ""]),
            "upper_limit must hold true or false .* but it holds '<': replace",
        ),
        (
            table(object_id=[1.5, 2.0, 3.0]),
            r"object_id must hold text or integers, but it holds the float 1\.5",
        ),
        (table(object_id=[1e18, 1.0, 2.0]), "the float 1e.18, whose digits as text are not certain: read"),
        (table(upper_limit=[[1], [0], [0]]), "upper_limit must hold true or false .* but it holds lists"),
        (table(object_id=[["a"], ["b"], ["c"]]), "object_id must hold text or integers, but it holds object"),
        (pd.concat([table(), table()[["mag"]]], axis=1), "may appear once in a .*, but mag appears 2 times"),
        ([1, 2], "must be a pandas DataFrame or an Arrow table .*, but a list was given: convert"),
    ],
)
def test_an_unusable_table_is_refused_in_one_sentence(frame, match):
    with pytest.raises(LightCurveError, match=match) as caught:
        LightCurves.from_frame(frame)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"channels": ["ZTF/g", "ZTF/g"]}, "listed once, but ZTF/g is repeated"),
        ({"channels": ["ZTF/g"], "aliases": {"ZTF/zr": "ZTF/r"}}, "ZTF/zr stands for ZTF/r: correct"),
        ({"object_ids": ["a", "b", "a"]}, "must be unique, but a is repeated"),
        ({"object_ids": ["a", None]}, "must be without gaps, but element 1 is empty"),
    ],
)
def test_contradictory_options_are_refused(options, match):
    with pytest.raises(LightCurveError, match=match):
        LightCurves.from_frame(table(), **options)


def test_sentinels_are_no_sign_of_fluxes():
    batch = LightCurves.from_frame(table(mag=[99.0, -999.0, 18.0]))
    assert batch.n_points == 1
    assert batch.set_aside["rows"].sum() == 2


def test_one_outlier_in_many_is_set_aside_not_refused():
    assert LightCurves.from_frame(many(mag=4000.0)).n_points == 60
