import numpy as np
import pandas as pd
import pytest

from context.evidence import Condition, EvidenceSpec, EvidenceTable, State
from context.known_bodies import solar_system

M, N, X = State.MEASURED, State.NONE, State.NOT_COVERED
SPEC = EvidenceSpec(
    "asteroid",
    "continuous",
    unit="arcsec",
    column="solar_system_separation_arcsec",
    covered=Condition("solar_system_covered", True),
)


def states(alerts):
    frame = solar_system(pd.DataFrame(alerts)).frame
    frame = frame.assign(object_id=[f"o{i}" for i in range(len(frame))])
    return EvidenceTable.from_frame(frame, [SPEC]).columns["asteroid"].state.tolist()


def test_ztf_alerts():
    alerts = pd.DataFrame(
        {
            "ssdistnr": [0.0, 12.0, -999.0, np.nan, 60.0, -999.0, -5.0],
            "ssmagnr": [19.5, -999.0, -999.0, np.nan, -999.0, 20.0, 18.0],
        },
        index=[5, 6, 7, 8, 9, 10, 11],
    )
    result = solar_system(alerts)
    assert result.frame.index.tolist() == alerts.index.tolist()
    frame = result.frame.reset_index(drop=True)
    assert frame["solar_system_covered"].tolist() == [True, True, True, False, False, False, False]
    assert frame["solar_system_found"].tolist() == [True, True, False, False, False, False, False]
    assert frame["solar_system_separation_arcsec"][:2].tolist() == [0.0, 12.0]
    assert frame["solar_system_separation_arcsec"][2:].isna().all()
    assert frame["solar_system_mag"][0] == 19.5
    assert frame["solar_system_mag"][1:].isna().all()
    assert result.set_aside.set_index("reason")["rows"].to_dict() == {
        "ssdistnr is neither -999 nor within 30 arcsec": 2,
        "ssmagnr of a body, but no ssdistnr": 1,
    }
    assert states(alerts) == [M, M, N, X, X, X, X]


def test_ztf_alerts_without_magnitudes_and_with_text():
    assert states({"ssdistnr": ["3.5", "-999.0", "", None]}) == [M, N, X, X]


def test_rubin_alerts():
    alerts = {
        "ssObjectId": [0, 21164715316492612, 5, None],
        "residualRa": [None, 3e-5, None, None],
        "residualDec": [None, -4e-5, None, None],
        "predictedVMagnitude": [None, 21.5, None, None],
    }
    result = solar_system(pd.DataFrame(alerts))
    assert states(alerts) == [N, M, X, X]
    assert result.frame["solar_system_separation_arcsec"][1] == pytest.approx(5e-5 * 3600)
    assert result.frame["solar_system_mag"][1] == 21.5
    assert result.set_aside["rows"].tolist() == [1]
    assert "residualRa" in result.set_aside["reason"][0]


def test_alerts_of_both_surveys_in_one_table():
    alerts = {"ssdistnr": [-999.0, None, 4.0, None], "ssObjectId": [None, 0, 0, None]}
    assert states(alerts) == [N, N, M, X]


def test_a_table_without_the_columns_is_not_covered():
    assert states({"mag": [1.0, 2.0]}) == [X, X]
    assert len(solar_system(pd.DataFrame({"ssdistnr": []})).frame) == 0


@pytest.mark.real_data
def test_real_packets(data_dir):
    fastavro = pytest.importorskip("fastavro")
    with (data_dir / "alerts" / "ztf.avro").open("rb") as file:
        ztf = pd.DataFrame([packet["candidate"] for packet in fastavro.reader(file)])
    result = solar_system(ztf)
    # Every packet is in one of the three states, and the odd value of this stream is counted.
    assert result.frame["solar_system_covered"].sum() + result.set_aside["rows"].sum() == len(ztf)
    found = result.frame["solar_system_found"].to_numpy()
    assert found.sum() > 20
    # Where a body is found it has a name, and where nothing is it has none.
    np.testing.assert_array_equal(
        ztf["ssnamenr"].ne("null").to_numpy()[result.frame["solar_system_covered"]],
        found[result.frame["solar_system_covered"]],
    )
    with (data_dir / "alerts" / "rubin_9_0.avro").open("rb") as file:
        rubin = [packet["diaSource"] | (packet["ssSource"] or {}) for packet in fastavro.reader(file)]
    result = solar_system(pd.DataFrame(rubin))
    assert result.frame["solar_system_covered"].all()
    assert result.frame["solar_system_found"].sum() == 2
    assert result.frame["solar_system_separation_arcsec"].max() < 1
