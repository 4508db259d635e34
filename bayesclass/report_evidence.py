"""The sections of an evaluation's page about its evidence and its mistakes."""

from __future__ import annotations

from html import escape

from bayesclass import plots
from bayesclass.evaluation import Evaluation
from bayesclass.report_html import cell, panels, paragraph, section, table

WITHOUT_REASONS = (
    "Classify with --reasons, or pass a Posterior, to see this: these posteriors have no columns "
    "reason_<class>_<piece>."
)

__all__ = ["evidence_section", "mistakes_section"]


def evidence_section(found: Evaluation) -> tuple[str, str]:
    """Return the section on the scores without each piece of evidence."""
    title = "Each piece of evidence removed"
    if found.evidence.empty:
        return section(title, paragraph(WITHOUT_REASONS))
    rows = [
        (
            escape(row.removed),
            str(row.n_objects),
            cell(row.change, row.lower, row.upper, sign="+"),
            cell(row.log_loss),
            cell(row.accuracy),
            cell(row.ece),
            cell(row.ece_null),
        )
        for row in found.evidence.itertuples()
    ]
    heading = (
        "removed",
        "objects with it",
        "change of log-loss",
        "log-loss",
        "accuracy",
        "calibration error",
    )
    return section(
        title,
        paragraph(
            "What the sum of the other pieces says, with a paired interval of the change: above zero the "
            "piece helps. Nothing is fitted again, so a model made without the piece would lose less."
        ),
        panels(
            [(plots.evidence_removed(found.evidence), "Change of log-loss without each piece")], wide=True
        ),
        table((*heading, "... if right"), rows),
    )


def mistakes_section(found: Evaluation) -> tuple[str, str]:
    """Return the section on the objects that are most confidently wrong, with their reasons."""
    first = ("object_id", "label", "allowed", "best_class", "p_best", "p_allowed", "log_loss", "reasons")
    names = [name for name in first if name in found.mistakes]
    frame = found.mistakes[names + [name for name in found.mistakes if name not in names]]
    if frame.empty:
        return section(
            "Worst mistakes", paragraph("None: the best class is always one that the label allows.")
        )
    heading = [str(name).replace("_", " ") for name in frame.columns]
    rows = [
        [cell(value) if isinstance(value, float) else escape(str(value)) for value in row]
        for row in frame.itertuples(index=False)
    ]
    words = "The objects whose label was given least, of those whose best class the label does not allow."
    parts = [paragraph(words)]
    if "reasons" in frame:
        parts.append(
            paragraph(
                "Reasons are log-odds [nat] of the best class against the labelled one: the pieces that "
                "spoke most for the mistake, and the one that spoke most against it. One nat is a factor 2.7."
            )
        )
    else:
        parts.append(paragraph("Reasons: " + WITHOUT_REASONS[0].lower() + WITHOUT_REASONS[1:]))
    long = [i for i, name in enumerate(frame.columns) if name in ("warnings", "reasons")]
    text = [i for i, name in enumerate(frame.columns) if name in ("label", "allowed", "best_class")]
    return section("Worst mistakes", *parts, table(heading, rows, text=text, long=long))
