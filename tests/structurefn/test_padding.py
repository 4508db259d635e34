import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structurefn import padding
from structurefn.light_curves import LightCurves
from structurefn.padding import LANES, LENGTHS, PaddedGroup, flat_points, pad_groups, strip_blocks


def batch_of(counts, rng):
    """Light curves with the given numbers of points, made without from_frame."""
    n = int(np.sum(counts))
    owner = np.repeat(np.arange(len(counts)), counts)
    time = 55000.0 + rng.uniform(0.0, 3000.0, n)
    limit = rng.random(n) < 0.2
    return LightCurves(
        object_id=np.array([f"o{i}" for i in range(len(counts))], dtype=str),
        offset=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        time=time[np.lexsort((time, owner))],
        value=rng.uniform(15.0, 22.0, n),
        error=np.where(limit, np.nan, rng.uniform(0.01, 0.5, n)),
        channel=rng.integers(0, 3, n).astype(np.int16),
        upper_limit=limit,
        channels=("A/g", "A/i", "A/r"),
        quantity="mag",
        set_aside=pd.DataFrame({"object_id": [], "reason": [], "rows": np.array([], dtype=np.int64)}),
    )


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), max_size=30),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    block=st.integers(1, 300),
    seed=st.integers(0, 2**16),
)
def test_every_object_comes_once_and_unchanged(counts, lengths, block, seed):
    batch = batch_of(counts, np.random.default_rng(seed))
    seen = []
    for group in pad_groups(batch, lengths, block):
        n, length = group.valid.shape
        assert n * length <= block or n == 1
        assert all(field.shape[0] == n for field in group)
        assert not group.valid[group.index < 0].any()
        assert all(np.isfinite(field).all() for field in (group.time, group.value, group.error))
        np.testing.assert_array_equal(group.channel == -1, ~group.valid)
        for row, index in enumerate(group.index):
            if index < 0:
                continue
            seen.append(index)
            own = slice(batch.offset[index], batch.offset[index + 1])
            valid = group.valid[row]
            assert valid.sum() == counts[index]
            assert not valid[counts[index] :].any()
            fitting = [size for size in lengths if size >= counts[index]]
            if fitting:
                assert length == min(fitting)
            else:
                assert length & (length - 1) == 0
                assert counts[index] <= length < 2 * counts[index]
            if counts[index]:
                expected = (batch.time[own] - batch.time[own][0]).astype(np.float32)
                np.testing.assert_array_equal(group.time[row][valid], expected)
            np.testing.assert_array_equal(group.value[row][valid], batch.value[own].astype(np.float32))
            error = np.where(batch.upper_limit[own], 1.0, batch.error[own]).astype(np.float32)
            np.testing.assert_array_equal(group.error[row][valid], error)
            np.testing.assert_array_equal(group.channel[row][valid], batch.channel[own])
            np.testing.assert_array_equal(group.upper_limit[row][valid], batch.upper_limit[own])
    assert sorted(seen) == list(range(len(counts)))


def test_shapes_are_few():
    rng = np.random.default_rng(5)
    shapes = set()
    for n_objects in (1, 30, 500, 3000):
        batch = batch_of(rng.integers(0, 64, n_objects), rng)
        shapes |= {group.valid.shape for group in pad_groups(batch, block=2**14)}
    # Four lengths; rows of 16, 64, 256, 1024 or the block's limit.
    assert {length for _, length in shapes} == {8, 16, 32, 64}
    assert len(shapes) <= 4 * 5


def test_short_lags_survive_float32():
    batch = batch_of([2], np.random.default_rng(0))
    times = np.array([58000.0, 58000.0 + 30.0 / 86400.0])
    batch.time[:] = times
    (group,) = pad_groups(batch)
    assert group.time[0, 1] * 86400.0 == pytest.approx(30.0, rel=1e-5)


def test_a_batch_without_objects_gives_no_group():
    assert list(pad_groups(batch_of([], np.random.default_rng(0)))) == []


def test_dtypes_are_those_of_the_kernels():
    (group,) = pad_groups(batch_of([3], np.random.default_rng(0)))
    assert isinstance(group, PaddedGroup)
    assert [field.dtype for field in group] == [np.int64, *3 * [np.float32], np.int16, bool, bool]
    assert group.valid.shape == (16, LENGTHS[0])


@pytest.mark.parametrize(("lengths", "block"), [((), 8), ((0, 4), 8), ((4,), 0)])
def test_unusable_shapes_are_refused(lengths, block):
    with pytest.raises(ValueError, match=r"must be positive, but lengths=.*give at least one positive"):
        list(pad_groups(batch_of([1], np.random.default_rng(0)), lengths, block))


def n_pairs(n):
    return n * (n - 1) // 2


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), max_size=80),
    rows=st.sampled_from([16, 64, 128]),
    pairs=st.sampled_from([1, 200, 5000]),
    seed=st.integers(0, 2**16),
)
def test_every_object_with_a_pair_stands_in_one_lane(counts, rows, pairs, seed):
    batch = batch_of(counts, np.random.default_rng(seed))
    batch.error[batch.upper_limit] = 0.25
    batch.upper_limit[:] = False
    seen, previous = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padding, "BLOCK_ROWS", rows)
        patch.setattr(padding, "BLOCK_PAIRS", pairs)
        blocks = list(strip_blocks(flat_points(batch), n_pairs))
    for block in blocks:
        index = block.index.reshape(-1, LANES)
        n_rows = len(block.time)
        assert n_rows == rows or (n_rows > rows and len(block.length) == 1)
        assert len(block.length) == 1 or sum(map(n_pairs, block.length)) <= pairs
        for leaf in (block.time, block.value, block.error, block.channel):
            assert leaf.shape == (n_rows, LANES)
        used = np.zeros((n_rows, LANES), bool)
        for strip, first, length in zip(index, block.first_row, block.length, strict=True):
            assert previous <= length
            previous = length
            assert length == max(counts[i] for i in strip if i >= 0)
            for lane, i in enumerate(strip):
                if i < 0:
                    continue
                seen.append(i)
                own = slice(batch.offset[i], batch.offset[i + 1])
                place = slice(first, first + counts[i]), lane
                used[place] = True
                time = (batch.time[own] - batch.time[own][0]).astype(np.float32)
                np.testing.assert_array_equal(block.time[place], time)
                np.testing.assert_array_equal(block.value[place], batch.value[own].astype(np.float32))
                np.testing.assert_array_equal(block.error[place], batch.error[own].astype(np.float32))
                np.testing.assert_array_equal(block.channel[place], batch.channel[own])
        assert not used[-1].any()
        np.testing.assert_array_equal(block.channel == -1, ~used)
        assert (block.error[~used] == 1).all()
        assert not block.time[~used].any()
        assert not block.value[~used].any()
    assert sorted(seen) == [i for i, n in enumerate(counts) if n > 1]


def test_flat_points_end_with_none():
    batch = batch_of([2, 0, 1], np.random.default_rng(0))
    points = flat_points(batch)
    assert [leaf.dtype for leaf in points] == [np.int64, *3 * [np.float32], np.int32]
    assert [leaf[-1] for leaf in points[1:]] == [0, 0, 1, -1]
    np.testing.assert_array_equal(points.time[[0, 2]], 0.0)
    assert points.time[1] == np.float32(batch.time[1] - batch.time[0])
