import gzip
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesclass import tables
from bayesclass.tables import (
    InputError,
    check_output,
    read_light_curves,
    read_objects,
    read_table,
    write_table,
)
from structurefn.light_curves import LightCurves

LONG_ID = "1001061320334228647"


def put(path, data):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def assert_one_sentence(error):
    message = str(error.value)
    assert message.endswith(".")
    assert ". " not in message
    assert "\n" not in message


# Reading


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz", "T.CSV"])
def test_a_table_comes_back_as_it_was_written(tmp_path, name):
    frame = pd.DataFrame(
        {"object_id": [LONG_ID, "7"], "x": [0.1, np.nan], "n": [1, 2], "word": ["a,b", 'c"d']}
    )
    write_table(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)
    assert os.listdir(tmp_path) == [name]


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_+ -]{0,20}[0-9]", fullmatch=True), min_size=1, unique=True
    ),
    value=st.floats(allow_nan=False),
)
def test_csv_keeps_text_and_numbers_exactly(tmp_path_factory, ids, value):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame = pd.DataFrame({"object_id": ids, "x": value})
    write_table(frame, path)
    back = read_table(path)
    assert back["object_id"].tolist() == ids
    assert back["x"].tolist() == [value] * len(ids)


@pytest.mark.parametrize("header", ["object_id,x", "object_id ,x", "\ufeffobject_id,x"])
def test_identifiers_of_nineteen_digits_survive_csv_with_a_gap(tmp_path, header):
    path = put(tmp_path / "t.csv", f"{header}\n{LONG_ID},1\n,2\n{int(LONG_ID) + 1},3\n")
    ids = read_table(path)["object_id"]
    assert ids[0] == LONG_ID
    assert ids[2] == str(int(LONG_ID) + 1)
    assert pd.isna(ids[1])


def test_decimals_of_whole_identifiers_are_removed_only_when_all_have_them(tmp_path):
    path = put(tmp_path / "t.csv", "object_id,x\n1001.0,1\n7.0,2\n")
    assert read_table(path)["object_id"].tolist() == ["1001", "7"]
    path = put(tmp_path / "u.csv", "object_id,x\n1001.0,1\nJ1.0,2\n")
    assert read_table(path)["object_id"].tolist() == ["1001.0", "J1.0"]


def test_sexagesimal_coordinates_and_dates_stay_text(tmp_path):
    path = put(tmp_path / "t.csv", "object_id,ra,night\n1,00:42:44,2020-01-01\n2,01:33:50,2020-01-02\n")
    frame = read_table(path)
    assert frame["ra"].tolist() == ["00:42:44", "01:33:50"]
    assert frame["night"].tolist() == ["2020-01-01", "2020-01-02"]


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("t.txt", "x", r"must end in one of \.parquet, \.csv, \.csv\.gz, but it ends in '\.txt': rename"),
        ("t", "x", "but it ends in 'nothing'"),
        ("t.csv", "", r"t\.csv must hold a table, but it is empty \(0 bytes\): write"),
        ("t.parquet", "", "but it is empty"),
        ("t.csv", " \n\n", "begin with the names of its columns, but it is empty"),
        ("t.csv", "object_id,x\n1,2\n1,2,3\n", "fields in every line as in its first, 2, but line 3 has 3"),
        (
            "t.csv",
            "object_id,x\n1,2\n1\n",
            "fields in every line as in its first, 2, but line 3 has 1: correct",
        ),
        ("t.csv.gz", gzip.compress(b"object_id,x\n1,2\n1\n", mtime=0), "but line 3 has 1: correct"),
        ("t.csv", "object_id,x\n1,é\n".encode("latin-1"), "must be UTF-8 text, but byte 15 is another"),
        ("t.csv", b"object_id,x\n" + b"1,2\n" * 40000 + b"1,\xe9\n", "UTF-8 text, but column x holds other"),
        ("t.csv", b"object_id,x\n" + b"1,2\n" * 40000 + b"\xe9,1\n", "UTF-8 text, but it holds other bytes"),
        ("t.csv", "object_id,x\n1,2\n".encode("utf-16"), "UTF-8 text, but it begins as UTF-16: convert"),
        ("t.csv", b"PAR1\x00\x01\x02", "must be CSV text, but it holds binary data: give the file its true"),
        ("t.csv", "object_id;x\n1;2\n", "separated by commas, but it is separated by semicolons: convert"),
        ("t.csv", "object_id\tx\n1\t2\n", "separated by commas, but it is separated by tabs"),
        ("t.csv.gz", "object_id,x\n1,2\n", "must be a whole gzip file, but it is damaged"),
        (
            "t.csv.gz",
            gzip.compress(b"object_id,x\n1,2\n", mtime=0)[:-9],
            "must be a whole gzip file, but it is damaged",
        ),
        ("t.parquet", "object_id,x\n1,2\n", "must be a whole Parquet file, but it is damaged"),
    ],
)
def test_an_unusable_file_is_refused_in_one_sentence(tmp_path, name, data, match):
    with pytest.raises(InputError, match=match) as caught:
        read_table(put(tmp_path / name, data))
    assert str(tmp_path / name) in str(caught.value)
    assert_one_sentence(caught)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv must be an existing file, but there is none: check"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"must be a file, but it is a directory: name a table"):
        read_table(tmp_path / "folder.csv")


@pytest.mark.parametrize("damage", ["cut", "garbage", "footer", "page"])
def test_a_damaged_parquet_file_is_refused(tmp_path, damage):
    rng = np.random.default_rng(3)
    path = tmp_path / "t.parquet"
    write_table(pd.DataFrame({"object_id": "a", "x": rng.normal(size=5000)}), path)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        where = {"garbage": slice(0, None), "footer": slice(-300, -100), "page": slice(500, 4000)}[damage]
        data[where] = rng.bytes(len(data[where]))
    with pytest.raises(InputError, match="must be a whole Parquet file, but it is damaged") as caught:
        read_table(put(path, bytes(data)))
    assert_one_sentence(caught)


def test_a_compressed_file_cut_late_is_refused(tmp_path):
    rows = np.random.default_rng(0).random(40000)
    write_table(pd.DataFrame({"object_id": "a", "x": rows}), tmp_path / "t.csv.gz")
    data = (tmp_path / "t.csv.gz").read_bytes()
    with pytest.raises(InputError, match=r"must be readable, but reading it failed .*copied whole") as caught:
        read_table(put(tmp_path / "t.csv.gz", data[:-2000]))
    assert_one_sentence(caught)


# Light curves and objects


def test_light_curves_are_the_same_from_every_format(tmp_path):
    frame = pd.DataFrame(
        {"object_id": [LONG_ID, "b", LONG_ID], "survey": "S", "band": ["g", "r", "r"],
         "mjd": [58000.123456789, 58001.0, 58002.0], "mag": [18.1, 19.0, 99.0], "mag_err": 0.1}
    )  # fmt: skip
    expected = LightCurves.from_frame(frame, channels=["S/r", "S/g"])
    for name in ("t.parquet", "t.csv", "t.csv.gz"):
        write_table(frame, tmp_path / name)
        batch = read_light_curves(tmp_path / name, channels=["S/r", "S/g"])
        for field in ("object_id", "offset", "time", "value", "error", "channel"):
            np.testing.assert_array_equal(getattr(batch, field), getattr(expected, field))
        pd.testing.assert_frame_equal(batch.set_aside, expected.set_aside)


def test_a_table_that_is_no_light_curve_is_refused_with_its_name(tmp_path):
    path = put(tmp_path / "t.csv", "object_id,survey,band,mjd,mag\n1,S,g,58000,18\n")
    with pytest.raises(
        InputError, match=r"t\.csv: A light-curve table needs .* mag_err is missing"
    ) as caught:
        read_light_curves(path)
    assert_one_sentence(caught)
    path = put(tmp_path / "u.csv", "object_id,survey,band,mjd,mag,mag_err\n")
    with pytest.raises(InputError, match="at least one row, but this one has none"):
        read_light_curves(path)
    path = put(tmp_path / "v.csv", "object_id,survey,band,mjd,mag,mag_err\n1,S,g,2458000.5,18,0.1\n")
    with pytest.raises(InputError, match=r"subtract 2400000\.5"):
        read_light_curves(path)


def test_objects_have_text_identifiers(tmp_path):
    write_table(pd.DataFrame({"object_id": [3, 1], "label": ["Ia", None]}), tmp_path / "t.parquet")
    frame = read_objects(tmp_path / "t.parquet")
    assert frame["object_id"].tolist() == ["3", "1"]
    assert frame["label"][0] == "Ia"
    path = put(tmp_path / "t.csv", f"object_id,label\n {LONG_ID},Ia\n")
    assert read_objects(path)["object_id"].tolist() == [LONG_ID]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("name,label\n1,Ia\n", "one column object_id, but it is missing; found name, label: rename"),
        ("object_id,object_id\n1,1\n", "one column object_id, but it appears more than once"),
        ("object_id,label\n", "one row an object, but it has no row"),
        ("object_id,label\n1,Ia\n,II\n", "object_id is empty in row 2: fill"),
        (
            "object_id,x\n7,1\n5,1\n5,2\n 5,3\n",
            r"object_id 5 appears 3 times \(1 objects are repeated\): keep",
        ),
    ],
)
def test_an_unusable_table_of_objects_is_refused(tmp_path, data, match):
    with pytest.raises(InputError, match=match) as caught:
        read_objects(put(tmp_path / "o.csv", data))
    assert_one_sentence(caught)


def test_identifiers_that_lost_digits_are_refused(tmp_path):
    write_table(pd.DataFrame({"object_id": [1.001061320334228e18], "x": [1]}), tmp_path / "o.parquet")
    with pytest.raises(InputError, match=r"o\.parquet: Column object_id .* read this column as text"):
        read_objects(tmp_path / "o.parquet")


# Writing


def test_equal_tables_make_equal_compressed_files(tmp_path):
    frame = pd.DataFrame({"object_id": ["a"], "x": [1.5]})
    write_table(frame, tmp_path / "a.csv.gz")
    write_table(frame, tmp_path / "b.csv.gz")
    one, two = (gzip.decompress((tmp_path / name).read_bytes()) for name in ("a.csv.gz", "b.csv.gz"))
    assert one == two == b"object_id,x\na,1.5\n"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, failure):
    path = tmp_path / name
    write_table(pd.DataFrame({"object_id": ["old"]}), path)
    before = path.read_bytes()

    def fail(*_):
        raise failure

    monkeypatch.setattr(tables.os, "fsync", fail)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_table(pd.DataFrame({"object_id": ["new"]}), path)
    if isinstance(failure, OSError):
        assert "must be writable, but writing failed (No space left on device): free space" in str(
            caught.value
        )
        assert_one_sentence(caught)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_an_output_that_cannot_be_written_is_refused_early(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"one of \.parquet, \.csv, \.csv\.gz, but it ends in '\.fits'"):
        check_output(tmp_path / "p.fits")
    with pytest.raises(InputError, match=r"an existing folder, but there is no .*absent: create it"):
        check_output(tmp_path / "absent" / "p.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InputError, match="must be a file, but it is a directory"):
        check_output(tmp_path / "d.csv")
    check_output(tmp_path / "p.csv")
    monkeypatch.setattr(tables.os, "access", lambda *_: False)
    with pytest.raises(
        InputError, match=r"a folder that you may write to, but .* is not one: choose"
    ) as caught:
        check_output(tmp_path / "p.csv")
    assert_one_sentence(caught)
    assert sorted(os.listdir(tmp_path)) == ["d.csv"]
