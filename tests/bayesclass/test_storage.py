import hashlib
import io
import json
import os
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesclass import storage
from bayesclass.containers import pack_arrays, unpack_arrays
from bayesclass.storage import (
    ModelError,
    check_model_output,
    load_model,
    resolve_model,
    save_model,
    shipped_models,
)

MANIFEST = {"classes": ["Ia", "II"], "n": 3, "nested": {"x": 0.5, "none": None, "flag": True}}


def arrays():
    return {
        "file": np.arange(6.0).reshape(2, 3),
        "names": np.array(["a", "bé"]),
        "empty": np.zeros((0, 2), int),
    }


def replace_arrays(path, blob):
    """Put other arrays into a model, with the hash that belongs to them."""
    (path / "arrays.npz").write_bytes(blob)
    document = json.loads((path / "model.json").read_text())
    document["arrays_sha256"] = hashlib.sha256(blob).hexdigest()
    (path / "model.json").write_text(json.dumps(document))


def test_a_model_comes_back_as_it_was_saved(tmp_path):
    save_model(tmp_path / "m", MANIFEST, arrays())
    manifest, back = load_model(tmp_path / "m")
    assert manifest == MANIFEST
    assert list(back) == list(arrays())
    for name, array in arrays().items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    assert os.listdir(tmp_path) == ["m"]
    assert sorted(os.listdir(tmp_path / "m")) == ["arrays.npz", "model.json"]
    document = json.loads((tmp_path / "m" / "model.json").read_text())
    assert document["format"] == 1
    assert (
        document["arrays_sha256"] == hashlib.sha256((tmp_path / "m" / "arrays.npz").read_bytes()).hexdigest()
    )


KINDS = st.one_of(
    hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes(), hnp.unicode_string_dtypes()
)


@settings(max_examples=50, deadline=None)
@given(array=hnp.arrays(KINDS, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3)))
def test_arrays_of_every_plain_type_survive_and_equal_ones_give_equal_bytes(array):
    blob = pack_arrays({"x": array})
    np.testing.assert_array_equal(unpack_arrays(blob)["x"], array)
    assert pack_arrays({"x": array.copy()}) == blob


def test_scalars_of_numpy_and_tuples_become_json(tmp_path):
    manifest = {"a": np.float32(0.5), "b": np.int64(2**40), "c": (np.bool_(True), np.str_("x"))}
    save_model(tmp_path / "m", manifest, {})
    assert load_model(tmp_path / "m") == ({"a": 0.5, "b": 2**40, "c": [True, "x"]}, {})


@pytest.mark.parametrize(
    ("manifest", "match"),
    [
        (
            {"a": {"b": np.zeros(2)}},
            r"manifest\.a\.b must be a value of JSON, but it is of type ndarray: convert",
        ),
        ({"a": [1, {2}]}, r"manifest\.a\[1\] must be .* of type set"),
        ({"a": float("nan")}, r"must be finite, but manifest\.a is nan: use None"),
        ({"a": np.float64("inf")}, r"must be finite, but manifest\.a is inf"),
        ({"a": {1: 2}}, r"Keys of manifest\.a must be text, but one is 1: convert"),
    ],
)
def test_values_that_json_cannot_hold_are_refused(tmp_path, manifest, match):
    with pytest.raises(ModelError, match=match):
        save_model(tmp_path / "m", manifest, {})
    assert os.listdir(tmp_path) == []


def test_arrays_of_objects_are_not_written(tmp_path):
    with pytest.raises(ModelError, match="must hold numbers or text, but bad is of type object: convert"):
        save_model(tmp_path / "m", {}, {"bad": np.array([{}], dtype=object)})
    assert os.listdir(tmp_path) == []


def test_arrays_of_objects_are_not_loaded(tmp_path):
    save_model(tmp_path / "m", MANIFEST, {})
    buffer = io.BytesIO()
    np.savez(buffer, bad=np.array([{}], dtype=object))
    replace_arrays(tmp_path / "m", buffer.getvalue())
    with pytest.raises(ModelError, match=r"m cannot be used: .* Python objects were found, .*do not load it"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("blob", [b"", b"no zip", pack_arrays({"x": np.arange(99)})[:-30]])
def test_a_container_that_is_no_npz_is_refused(tmp_path, blob):
    save_model(tmp_path / "m", MANIFEST, {})
    replace_arrays(tmp_path / "m", blob)
    with pytest.raises(ModelError, match=r"must be .*, but .*: "):
        load_model(tmp_path / "m")


def test_a_single_array_instead_of_a_container_is_refused():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    with pytest.raises(ModelError, match="must be an npz file, but this is none"):
        unpack_arrays(buffer.getvalue())


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="m must be a directory, but there is none: check"):
        load_model(tmp_path / "m")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="must be a directory, but it is a file"):
        load_model(tmp_path / "file")
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelError, match=r"must be a model directory .* it has no model\.json of one: name"):
        load_model(tmp_path / "other")
    (tmp_path / "other" / "model.json").write_text('{"format": 1}')
    with pytest.raises(ModelError, match=r"it has no model\.json of one"):
        load_model(tmp_path / "other")


def test_a_newer_format_is_refused(tmp_path):
    save_model(tmp_path / "m", MANIFEST, {})
    document = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps({**document, "format": 2, "version": "9.0"}))
    with pytest.raises(
        ModelError, match=r"of format 1 or older, but it is of format 2, written by bayesclass 9\.0"
    ):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("arrays.npz", b"changed", r"arrays\.npz is not the one that model\.json was written with: copy"),
        ("arrays.npz", None, r"arrays\.npz cannot be read \(No such file or directory\): copy"),
        ("model.json", b'{"format": 1, "pack', r"model\.json is not JSON"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path, name, data, match):
    save_model(tmp_path / "m", MANIFEST, arrays())
    (tmp_path / "m" / name).unlink()
    if data is not None:
        (tmp_path / "m" / name).write_bytes(data)
    with pytest.raises(ModelError, match=match):
        load_model(tmp_path / "m")


def test_a_model_is_replaced_and_an_empty_directory_filled(tmp_path):
    (tmp_path / "m").mkdir()
    save_model(tmp_path / "m", {"v": 1}, arrays())
    save_model(tmp_path / "m", {"v": 2}, {"x": np.arange(2)})
    manifest, back = load_model(tmp_path / "m")
    assert manifest == {"v": 2}
    assert list(back) == ["x"]
    assert os.listdir(tmp_path) == ["m"]


def test_a_link_to_a_model_stays_a_link(tmp_path):
    save_model(tmp_path / "m", {"v": 1}, {})
    (tmp_path / "link").symlink_to(tmp_path / "m")
    save_model(tmp_path / "link", {"v": 2}, {})
    assert (tmp_path / "link").is_symlink()
    assert load_model(tmp_path / "m")[0] == {"v": 2}


def test_what_is_no_model_is_not_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for save in (check_model_output, lambda path: save_model(path, {}, {})):
        with pytest.raises(
            ModelError, match="only if it is empty or a model, but it holds other files: choose"
        ):
            save(tmp_path / "thesis")
        with pytest.raises(ModelError, match="must be a directory, but a file is there: choose"):
            save(tmp_path / "file")
        with pytest.raises(ModelError, match=r"an existing folder, but there is no .*absent: create"):
            save(tmp_path / "absent" / "m")
    assert (tmp_path / "thesis" / "text.tex").read_text() == "years of work"


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.os, "access", lambda *_: False)
    with pytest.raises(
        ModelError, match=r"a folder that you may write to, but .* is not one: choose another"
    ):
        check_model_output(tmp_path / "m")


@pytest.mark.parametrize("step", ["fsync", "first rename", "second rename"])
def test_a_failure_leaves_the_old_model_and_nothing_else(tmp_path, monkeypatch, step):
    save_model(tmp_path / "m", {"v": 1}, arrays())
    rename, calls = pathlib.Path.rename, []

    def failing_rename(self, target):
        calls.append(target)
        if len(calls) == {"first rename": 1, "second rename": 2}.get(step):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    def failing_fsync(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "rename", failing_rename)
    if step == "fsync":
        monkeypatch.setattr(storage.os, "fsync", failing_fsync)
    with pytest.raises(ModelError, match=r"must be writable, but writing failed \(.*\): free space"):
        save_model(tmp_path / "m", {"v": 2}, arrays())
    assert load_model(tmp_path / "m")[0] == {"v": 1}
    assert os.listdir(tmp_path) == ["m"]


def test_shipped_models_are_found_by_name_and_a_local_one_comes_first(tmp_path, monkeypatch):
    (tmp_path / "package" / "models").mkdir(parents=True)
    monkeypatch.setattr(storage.resources, "files", lambda _: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    assert shipped_models() == ()
    with pytest.raises(ModelError, match=r"shipped one \(there is none\), but 'two' is neither: check"):
        resolve_model("two")
    for name in ("two", "one"):
        save_model(tmp_path / "package" / "models" / name, {"from": "package"}, {})
    assert shipped_models() == ("one", "two")
    assert load_model(resolve_model("two"))[0] == {"from": "package"}
    with pytest.raises(ModelError, match=r"shipped one \(one, two\), but 'tow' is neither"):
        resolve_model("tow")
    save_model(tmp_path / "two", {"from": "here"}, {})
    assert load_model(resolve_model("two"))[0] == {"from": "here"}
    (tmp_path / "other").mkdir()
    assert resolve_model("other") == pathlib.Path("other")


def test_the_installed_package_is_asked_for_its_models():
    for name in shipped_models():
        assert (resolve_model(name) / "model.json").is_file()
