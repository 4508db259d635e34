"""From one table to the values, errors and states of evidence, remembering what could not be used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from context.coordinates import ecliptic, galactic, on_sky
from context.evidence_matches import MatchColumn, read_match
from context.evidence_spec import EvidenceSpec, State
from context.evidence_values import categories, holds, numbers
from context.nearest_table import match_columns


class EvidenceReader:
    """Reads columns of one frame (indexed by object) and remembers what could not be used."""

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame
        self.absent: dict[str, tuple[str, ...]] = {}
        self._rows: list[pd.DataFrame] = []
        self._latitudes: dict[str, np.ndarray] = {}

    def set_aside(self) -> pd.DataFrame:
        """All values set aside, in the order of the specs."""
        empty = pd.DataFrame({key: pd.Series(dtype=object) for key in ("object_id", "column", "reason")})
        return pd.concat(self._rows, ignore_index=True) if self._rows else empty

    def _refuse(self, spec: EvidenceSpec, bad: np.ndarray, reason: str):
        self._set_aside(spec.name, bad, reason)

    def _set_aside(self, name: str, bad: np.ndarray, reason: str):
        if bad.any():
            ids = self.frame.index.to_numpy(dtype=object)[bad]
            row = pd.DataFrame({"object_id": ids, "column": name, "reason": reason}, dtype=object)
            self._rows.append(row)

    def _note_absent(self, spec: EvidenceSpec, *columns: str):
        lacking = tuple(column for column in columns if column not in self.frame)
        self.absent[spec.name] = tuple(dict.fromkeys(self.absent.get(spec.name, ()) + lacking))
        if not self.absent[spec.name]:
            del self.absent[spec.name]

    def read_match(self, name: str) -> MatchColumn:
        """Return the nearest source of a catalogue, setting aside what can't be used."""
        lacking = tuple(column for column in match_columns(name) if column not in self.frame)
        if lacking:
            self.absent[name] = lacking
            nothing, never = np.full(len(self.frame), np.nan), np.zeros(len(self.frame), dtype=bool)
            return MatchColumn(nothing, nothing.copy(), never, never.copy(), np.zeros(len(self.frame)))
        column, set_aside = read_match(self.frame, name)
        for bad, reason in set_aside:
            self._set_aside(name, bad, reason)
        return column

    def read(self, spec: EvidenceSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return value, error and state of one evidence, setting aside what can't be used."""
        n = len(self.frame)
        # Without its column nobody's state is known, also where a rule would call a missing value "none".
        if self._lacks_essentials(spec):
            nothing = np.full(n, np.nan)
            return nothing, nothing.copy(), np.full(n, State.NOT_COVERED, dtype=np.int8)
        none = np.zeros(n, dtype=bool) if spec.none is None else holds(spec.none, self.frame)
        covered = np.zeros(n, dtype=bool) if spec.covered is None else holds(spec.covered, self.frame)
        conditions = [rule.column for rule in (spec.none, spec.covered) if rule is not None]
        self._note_absent(spec, *conditions)
        # Where the state is "none" by rule the value is not looked at, so it can't be set aside either.
        value, missing, bad = self._values(spec, ~none)
        self._refuse(spec, bad, "unknown category" if spec.kind == "categorical" else "not a number")
        usable = ~missing & ~bad
        error = np.zeros(n)
        for reason, failed in self._checks(spec, value, error):
            failed = failed & usable
            self._refuse(spec, failed, reason)
            usable &= ~failed
        if spec.kind == "angle":
            # np.mod of a tiny negative angle rounds to 360 itself.
            value = np.mod(value, 360.0)
            value = np.where(value >= 360.0, 0.0, value)
        elif spec.kind != "categorical":
            with np.errstate(invalid="ignore"):
                error = spec.forward_error(value, error)
                value = spec.forward(value)
        state = np.where(usable, State.MEASURED, State.NOT_COVERED)
        state = np.where(none | (missing & covered), State.NONE, state).astype(np.int8)
        hidden = state != State.MEASURED
        return np.where(hidden, np.nan, value), np.where(hidden, np.nan, error), state

    def _lacks_essentials(self, spec: EvidenceSpec) -> bool:
        """Return whether columns are absent without which no value can be read, and note which."""
        needed = [] if spec.error is None else [spec.error]
        if spec.derive is None:
            needed.append(spec.column)
        elif spec.column not in self.frame:
            needed += ["ra", "dec"]
        self._note_absent(spec, *needed)
        return spec.name in self.absent

    def _values(self, spec: EvidenceSpec, read: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values, where missing, and where unreadable, in the rows to `read`."""
        n = len(self.frame)
        value, missing, bad = np.full(n, np.nan), np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
        if spec.column is not None and spec.column in self.frame:
            series = self.frame[spec.column]
            value, missing, bad = categories(spec, series) if spec.kind == "categorical" else numbers(series)
        if spec.derive is not None and missing.any():
            latitude, off_sky = self._latitude(spec)
            self._refuse(spec, off_sky & missing & read, "position not on the sky")
            # A value in the column comes first, also one that is then set aside.
            value = np.where(missing, latitude, value)
            missing = np.isnan(value) & ~bad
        return np.where(read, value, np.nan), missing | ~read, bad & read

    def _checks(self, spec: EvidenceSpec, value: np.ndarray, error: np.ndarray):
        """Yield (reason, rows that fail); fills `error` where the evidence has an error column."""
        if spec.kind == "categorical":
            return
        yield "not finite", ~np.isfinite(value)
        if spec.valid_range is not None:
            low, high = spec.valid_range
            yield f"out of range [{low:g}, {high:g}]", (value < low) | (value > high)
        if spec.kind == "count":
            yield "not a whole number of zero or more", (value < 0) | (value != np.floor(value))
        if spec.transform == "log10":
            yield "log10 of a value that is not positive", value <= 0
        if spec.error is not None:
            error[:] = numbers(self.frame[spec.error])[0]
            yield f"no positive finite error in {spec.error}", ~(np.isfinite(error) & (error > 0))

    def _latitude(self, spec: EvidenceSpec) -> tuple[np.ndarray, np.ndarray]:
        """Return the derived latitude [deg], NaN without a position, and where that is off the sky."""
        lacking = [name for name in ("ra", "dec") if name not in self.frame]
        if lacking:
            self._note_absent(spec, *lacking)
            return np.full(len(self.frame), np.nan), np.zeros(len(self.frame), dtype=bool)
        (ra, ra_missing, _), (dec, dec_missing, _) = numbers(self.frame["ra"]), numbers(self.frame["dec"])
        usable = on_sky(ra, dec)
        off_sky = ~usable & ~ra_missing & ~dec_missing
        system = "ecliptic" if "ecliptic" in spec.derive else "galactic"
        if system not in self._latitudes:
            transform = ecliptic if system == "ecliptic" else galactic
            ra, dec = np.where(usable, ra, np.nan), np.where(usable, dec, np.nan)
            self._latitudes[system] = transform(ra, dec)[1]
        latitude = self._latitudes[system]
        return (np.abs(latitude) if spec.derive.startswith("abs_") else latitude), off_sky
