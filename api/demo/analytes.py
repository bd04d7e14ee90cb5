"""Tests of the made-up laboratory by panel: codes, units, ranges, how values run over the years. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Analyte(NamedTuple):
    """Test with one number as its result."""

    loinc: str
    name: str
    unit: str
    ucum: str
    digits: int
    low: float | None
    high: float | None
    course: Callable[[float], float]
    noise: float
    critical: float | None = None
    """Value from which it is flagged as critically high."""


class Panel(NamedTuple):
    """Tests that are reported together."""

    loinc: str
    name: str
    category: tuple[str, str]
    specimen: str
    analytes: tuple[Analyte, ...]
    every: int
    """Visits from one to the next."""


def flat(value: float) -> Callable[[float], float]:
    """The same value all along."""
    return lambda _: value


def line(start: float, end: float) -> Callable[[float], float]:
    """A straight way from one value to another."""
    return lambda share: start + (end - start) * share


def peak(start: float, top: float, end: float, at: float) -> Callable[[float], float]:
    """Up to `top` until a share of the years has gone, and down again."""

    def course(share: float) -> float:
        if share < at:
            return start + (top - start) * (share / at) * (share / at)
        return top + (end - top) * min(1.0, (share - at) / (1 - at) * 1.5)

    return course


CHEMISTRY: Final = ("CH", "Chemistry")
HEMATOLOGY: Final = ("HM", "Hematology")

PANELS: Final[tuple[Panel, ...]] = (
    Panel(
        "24323-8",
        "Comprehensive metabolic panel",
        CHEMISTRY,
        "Serum",
        (
            Analyte("2345-7", "Glucose", "mg/dL", "mg/dL", 0, 70, 99, peak(92, 164, 112, 0.62), 7),
            Analyte("3094-0", "Urea nitrogen", "mg/dL", "mg/dL", 0, 7, 20, line(13, 21), 2),
            Analyte("2160-0", "Creatinine", "mg/dL", "mg/dL", 2, 0.50, 1.10, line(0.78, 1.12), 0.05),
            Analyte(
                "98979-8",
                "eGFR (CKD-EPI 2021)",
                "mL/min/1.73 m²",
                "mL/min/{1.73_m2}",
                0,
                60,
                None,
                line(88, 56),
                3,
            ),
            Analyte("2951-2", "Sodium", "mmol/L", "mmol/L", 0, 136, 145, flat(140), 1.6),
            Analyte("2823-3", "Potassium", "mmol/L", "mmol/L", 1, 3.5, 5.1, flat(4.3), 0.25, 6.0),
            Analyte("2075-0", "Chloride", "mmol/L", "mmol/L", 0, 98, 107, flat(102), 1.8),
            Analyte("17861-6", "Calcium", "mg/dL", "mg/dL", 1, 8.6, 10.3, flat(9.4), 0.25),
            Analyte("1751-7", "Albumin", "g/dL", "g/dL", 1, 3.5, 5.0, flat(4.2), 0.15),
            Analyte(
                "1742-6", "Alanine aminotransferase", "U/L", "U/L", 0, None, 35, peak(22, 58, 27, 0.4), 4
            ),
            Analyte("1920-8", "Aspartate aminotransferase", "U/L", "U/L", 0, None, 32, flat(24), 4),
        ),
        1,
    ),
    Panel(
        "58410-2",
        "Complete blood count",
        HEMATOLOGY,
        "Whole blood, EDTA",
        (
            Analyte("718-7", "Hemoglobin", "g/dL", "g/dL", 1, 12.0, 15.5, peak(13.6, 10.4, 13.2, 0.5), 0.3),
            Analyte("4544-3", "Hematocrit", "%", "%", 1, 36.0, 46.0, peak(40.5, 32, 39.8, 0.5), 0.8),
            Analyte("787-2", "Mean corpuscular volume", "fL", "fL", 0, 80, 100, peak(90, 77, 88, 0.5), 1.4),
            Analyte("6690-2", "Leukocytes", "10³/µL", "10*3/uL", 1, 4.0, 10.5, flat(6.8), 0.9),
            Analyte("777-3", "Platelets", "10³/µL", "10*3/uL", 0, 150, 400, flat(265), 22),
        ),
        1,
    ),
    Panel(
        "4548-4",
        "Hemoglobin A1c",
        CHEMISTRY,
        "Whole blood, EDTA",
        (Analyte("4548-4", "Hemoglobin A1c", "%", "%", 1, 4.0, 5.6, peak(5.5, 8.6, 6.4, 0.62), 0.12),),
        1,
    ),
    Panel(
        "57698-3",
        "Lipid panel with direct LDL",
        CHEMISTRY,
        "Serum",
        (
            Analyte("2093-3", "Cholesterol", "mg/dL", "mg/dL", 0, None, 200, line(238, 172), 8),
            Analyte("2085-9", "HDL cholesterol", "mg/dL", "mg/dL", 1, 50, None, line(48, 56), 2.5),
            Analyte("18262-6", "LDL cholesterol, direct", "mg/dL", "mg/dL", 0, None, 116, line(158, 92), 8),
            Analyte("2571-8", "Triglycerides", "mg/dL", "mg/dL", 0, None, 150, line(176, 128), 16),
        ),
        2,
    ),
    Panel(
        "3016-3",
        "Thyrotropin",
        CHEMISTRY,
        "Serum",
        (Analyte("3016-3", "Thyrotropin (TSH)", "mIU/L", "m[IU]/L", 2, 0.40, 4.50, flat(2.1), 0.5),),
        4,
    ),
)

ANTIBIOTICS: Final[Mapping[str, tuple[str, str, str]]] = {
    "18864-9": ("Ampicillin", "R", ">= 32"),
    "18878-9": ("Cefazolin", "S", "<= 4"),
    "18895-3": ("Ceftriaxone", "S", "<= 1"),
    "18906-8": ("Ciprofloxacin", "I", "2"),
    "18955-5": ("Nitrofurantoin", "S", "<= 16"),
    "18998-5": ("Trimethoprim + sulfamethoxazole", "R", ">= 320"),
}
"""LOINC code of a susceptibility → name, interpretation, minimal inhibitory concentration in µg/mL."""
