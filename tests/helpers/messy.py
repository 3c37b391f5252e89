"""Small tables as people export them, and what a person would take each column to hold."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 120
_DAYS = np.datetime64("2022-03-01") + np.arange(ROWS) * 5
_RNG = np.random.default_rng(27)


@dataclass(frozen=True)
class Messy:
    """A table: the kind that each column has, and its cells."""

    name: str
    columns: dict[str, tuple[str, list[str]]]
    separator: str = ","
    task: str = "classification"  # its target is the last column

    def write(self, folder: Path) -> Path:
        """Write the table as a text file."""
        path = folder / f"{self.name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            writer.writerow(self.columns)
            writer.writerows(zip(*(cells for _, cells in self.columns.values()), strict=True))
        return path

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds of the features."""
        return {name: kind for name, (kind, _) in list(self.columns.items())[:-1]}


def _each(write: Callable[[Any], str], values: Any) -> list[str]:
    return [write(value) for value in values]


def _numbers(
    write: Callable[[float], str] = "{:.2f}".format, low: float = 1, high: float = 5000
) -> tuple[str, list[str]]:
    return "number", _each(write, _RNG.uniform(low, high, ROWS))


def _whole(low: int, high: int, write: Callable[[int], str] = str) -> tuple[str, list[str]]:
    return "number", _each(write, _RNG.integers(low, high, ROWS).tolist())


def _pick(*words: str, kind: str = "category") -> tuple[str, list[str]]:
    # Each of them occurs.
    cells = [*words, *_RNG.choice(words, ROWS - len(words)).tolist()]
    return kind, [cells[i] for i in _RNG.permutation(ROWS)]


def _dates(pattern: str, shuffled: bool = True) -> tuple[str, list[str]]:
    moments = _DAYS.astype("datetime64[s]") + _RNG.integers(0, 86400, ROWS)
    order = _RNG.permutation(ROWS) if shuffled else range(ROWS)
    return "date", [moments[i].item().strftime(pattern) for i in order]


def _ids(pattern: str) -> tuple[str, list[str]]:
    return "identifier", [pattern.format(n) for n in _RNG.choice(10**6, ROWS, replace=False)]


def _lists(between: str, *words: str) -> tuple[str, list[str]]:
    counts = _RNG.integers(1, len(words), ROWS)
    return "list", [between.join(_RNG.choice(words, n, replace=False)) for n in counts]


def _sentences() -> tuple[str, list[str]]:
    words = [
        "the",
        "parcel",
        "was",
        "late",
        "again",
        "but",
        "support",
        "helped",
        "quickly",
        "and",
        "well",
        "so",
        "thanks",
    ]
    return "text", [" ".join(_RNG.choice(words, n)) for n in _RNG.integers(6, 15, ROWS)]


def _gaps(column: tuple[str, list[str]], word: str, every: int = 7) -> tuple[str, list[str]]:
    kind, cells = column
    return kind, [word if i % every == 3 else cell for i, cell in enumerate(cells)]


def _german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def _french(value: float) -> str:
    return f"{value:,.2f}".replace(",", "\u202f").replace(".", ",")


def _account(value: float) -> str:
    return f"({value:,.2f})" if value > 2500 else f"{value:,.2f}"


def tables() -> list[Messy]:
    """Return the tables; they are the same at every call."""
    global _RNG
    _RNG = np.random.default_rng(27)
    yes, level = _pick("yes", "no"), _pick("low", "mid", "high")
    always, empty = ("constant", ["EUR"] * ROWS), ("empty", [""] * ROWS)
    count = ("row number", [str(i) for i in range(1, ROWS + 1)])
    price = _numbers(lambda v: f"${v:,.2f}")
    made = {
        "bank_us": {
            "Date": _dates("%m/%d/%Y", False),
            "Description": _sentences(),
            "Amount": _numbers(_account),
            "Balance": price,
            "Check Number": _gaps(_ids("{}"), "", 3),
            "fraud": yes,
        },
        "bank_de": {
            "Buchungstag": _dates("%d.%m.%Y"),
            "Betrag": _numbers(_german),
            "Saldo": _numbers(lambda v: f"{_german(v)} €"),
            "Währung": always,
            "BLZ": _pick("01234567", "70150000"),
            "betrug": _pick("ja", "nein"),
        },
        "bank_fr": {
            "date": _dates("%d/%m/%Y"),
            "montant": _numbers(_french),
            "solde": _numbers(lambda v: f"{_french(v)} €"),
            "pointé": _pick("oui", "non", kind="boolean"),
            "risque": level,
        },
        "bank_ch": {
            "Datum": _dates("%Y-%m-%d"),
            "Betrag": _numbers(lambda v: f"CHF {v:,.2f}".replace(",", "'")),
            "Filiale": _pick("001", "012", "107"),
            "grade": level,
        },
        "loans": {
            "loan_id": _ids("LP{:06d}"),
            "Married": _gaps(_pick("Yes", "No", kind="boolean"), ""),
            "Dependents": _pick("0", "1", "2", "3+"),
            "Income": _whole(1000, 90000, "{:,}".format),
            "Rate": _numbers("{:.1f}%".format, 1, 20),
            "Term": _pick("36 months", "60 months", kind="number"),
            "status": _pick("Y", "N"),
        },
        "credit": {
            "ID": count,
            "limit": _whole(10, 900, "{}k".format),
            "util": _numbers("{:.0%}".format, 0, 1),
            "late": _pick("TRUE", "FALSE", kind="boolean"),
            "opened": _dates("%b %Y"),
            "default": yes,
        },
        "orders": {
            "order_no": _ids("A-{:07d}"),
            "placed": _dates("%Y-%m-%dT%H:%M:%SZ"),
            "total": price,
            "items": _whole(1, 9),
            "ship_zip": _pick("02134", "10001", "94105"),
            "coupon": _gaps(_pick("SAVE10", "VIP"), "", 2),
            "returned": yes,
        },
        "products": {
            "sku": _ids("{:06d}-BLK"),
            "weight": _pick("1.5 kg", "500 g", "2 kg", "750 g", kind="number"),
            "dims_cm": _numbers("{:.1f} cm".format, 1, 90),
            "tags": _lists("|", "new", "sale", "eco", "gift"),
            "EAN": ("identifier", [f"40{n:011d}" for n in range(7, 10**6, 8000)][:ROWS]),
            "size": _pick("S", "M", "L", "XL"),
            "sold": yes,
        },
        "reviews": {
            "user": _ids("user{}"),
            "stars": _pick("1 star", "2 stars", "5 stars"),
            "text": _sentences(),
            "helpful": _pick("0", "1", "12", "3", kind="number"),
            "verified": _pick("Y", "N", kind="boolean"),
            "good": yes,
        },
        "shop_de": {
            "Preis": _numbers(lambda v: f"{_german(v)} EUR"),
            "Gewicht": _numbers(lambda v: f"{v:.3f}".replace(".", ","), 1, 9),
            "Stück": _whole(1000, 9999, lambda v: f"{v:,}".replace(",", ".")),
            "PLZ": _pick("01067", "10115", "80331"),
            "Neu": _pick("ja", "nein", kind="boolean"),
            "retoure": yes,
        },
        "clinic": {
            "PatientID": _ids("{}"),
            "sex": _pick("M", "F"),
            "birth": _dates("%d-%b-%Y"),
            "temp": _numbers("{:.1f}°C".format, 36, 40),
            "chol": _gaps(_numbers("{:.0f} mg/dL".format, 90, 300), "n/a"),
            "smoker": _pick("never", "former", "current"),
            "icd": _pick("E11", "I10", "J45"),
            "ill": yes,
        },
        "lab": {
            "barcode": _ids("{:012d}"),
            "glucose": _gaps(_numbers("{:.1f}".format, 60, 300), "-"),
            "sodium": _gaps(_numbers("{:.1f}".format, 120, 160), "NA"),
            "taken": _dates("%Y%m%d"),
            "at": ("time", [f"{i % 24:02}:{i % 60:02}" for i in range(ROWS)]),
            "flag": _pick("N", "H", "L"),
        },
        "ward": {
            "admitted": _dates("%m/%d/%Y %I:%M %p"),
            "stay": _pick("2 days", "1 day", "9 days", kind="number"),
            "surgery": _pick("1h 30m", "45m", "2h", "3h 5m", kind="duration"),
            "allergies": _lists(", ", "nuts", "latex", "dust", "milk"),
            "note": _sentences(),
            "readmitted": yes,
        },
        "sensor": {
            "timestamp": ("date", [str(1_700_000_000 + 600 * i) for i in _RNG.permutation(ROWS)]),
            "temp_c": _gaps(_numbers("{:.2f}".format, 15, 25), "-999"),
            "hum": _numbers("{:.1f} %".format, 20, 90),
            "firmware": always,
            "battery": _numbers("{:.3f}V".format, 3, 4),
            "fault": yes,
        },
        "sensor_ms": {
            "ts": ("date", [str(1_700_000_000_000 + 777 * i) for i in _RNG.permutation(ROWS)]),
            "x": _numbers("{:.5e}".format, -1, 1),
            "y": _numbers("{:+.4f}".format, -1, 1),
            "device": _pick("0a3f", "1b20", "77c1"),
            "alarm": level,
        },
        "weather": {
            "dt": _dates("%Y-%m-%d %H:%M:%S"),
            "wind": _numbers("{:.0f} km/h".format, 0, 90),
            "dir": _pick("N", "E", "S", "W"),
            "rain": _gaps(_numbers("{:.1f}".format, 0, 20), "."),
            "pressure": _numbers("{:,.1f}".format, 980, 1040),
            "storm": yes,
        },
        "car": {
            "vin": _ids("WVW{:014d}"),
            "year": _whole(1990, 2023),
            "mileage": _whole(10_000, 200_000, "{:,} km".format),
            "engine": _numbers("{:.1f} L".format, 1, 5),
            "fuel": _pick("petrol", "diesel", "electric"),
            "horn": always,
            "sold": yes,
        },
        "survey": {
            "respondent": count,
            "age": _pick("18-25", "26-40", "41+"),
            "agree": _pick("strongly agree", "neutral", "disagree"),
            "langs": _lists("; ", "Python", "R", "C", "Go", "Rust"),
            "salary": _gaps(_whole(20, 200, "{}k".format), ""),
            "comments": _sentences(),
            "remote": yes,
        },
        "survey_likert": {
            "start": _dates("%d/%m/%Y %H:%M"),
            "q1": _pick("1", "2", "3", "4", "5", kind="number"),
            "q2": _pick("1 - bad", "5 - good", "3"),
            "minutes": (
                "duration",
                ["25:00:00", *(f"0:{i % 60:02}:{7 * i % 60:02}" for i in range(1, ROWS))],
            ),
            "consent": _pick("True", "False", kind="boolean"),
            "again": yes,
        },
        "hr": {
            "employee_id": _ids("{:05d}"),
            "hired": _dates("%A, %d %B %Y"),
            "salary": _numbers(lambda v: f"£{v:,.0f}"),
            "team": _pick("R&D", "Ops", "ops"),
            "gap": empty,
            "left": yes,
        },
        "housing": {
            "price": _numbers(lambda v: f"${v / 1000:.2f}M" if v > 2500 else f"${v / 10:.0f}k"),
            "garage": _gaps(_pick("Attached", "Detached"), "None", 3),
            "sqft": _whole(600, 4000, "{:,} sqft".format),
            "zip": _pick("10001", "10005", "94105"),
            "year built": _whole(1900, 2020),
            "sale": level,
        },
        "realty_value": {
            "area": _numbers("{:.0f} m²".format, 20, 200),
            "rooms": _whole(1, 9),
            "rent": _numbers(lambda v: f"{v:,.0f}"),
            "ad": _sentences(),
            "value": price,
        },
        "movies": {
            "title": ("identifier", [f"Film {i}" for i in _RNG.permutation(ROWS)]),
            "genres": _lists("|", "Drama", "War", "Noir", "Action"),
            "runtime": _numbers("{:.0f} min".format, 60, 200),
            "votes": _whole(1000, 90000, "{:,}".format),
            "gross": _gaps(_numbers(lambda v: f"${v:.2f}M"), ""),
            "hit": yes,
        },
        "json_tags": {
            "id": _ids("{:08x}"),
            "labels": (
                "list",
                [
                    str(_RNG.choice(["a", "b", "c"], n, replace=False).tolist())
                    for n in _RNG.integers(1, 4, ROWS)
                ],
            ),
            "score": _numbers("{:.3f}".format, 0, 1),
            "ok": yes,
        },
        "web_log": {
            "ip": ("category", [f"10.0.0.{i % 9}" for i in range(ROWS)]),
            "time": _dates("%d %b %Y %H:%M:%S"),
            "status": _pick("200", "404", "500", kind="number"),
            "bytes": _pick("1.2 KB", "3 MB", "512 B", "9 KB", kind="number"),
            "agent": _pick("curl/8.1", "Mozilla/5.0"),
            "bot": yes,
        },
        "social": {
            "handle": _ids("@u{}"),
            "followers": _pick("1.2k", "900", "3M", "45k", kind="number"),
            "joined": _dates("%B %d, %Y"),
            "verified": _pick("✓", "✗"),
            "lang": _pick("en", "EN", "de"),
            "spam": yes,
        },
        "sales_sap": {
            "Kunde": _pick("0000010012", "0000010077"),
            "Netto": _numbers(lambda v: f"{_german(v)}-" if v > 2500 else _german(v)),
            "Datum": _dates("%Y/%m/%d"),
            "Einheit": _pick("ST", "KG"),
            "Kopie": ("duplicate", []),
            "stufe": level,
        },
        "excel": {
            "Unnamed: 0": count,
            "amount": _numbers(lambda v: f" {v:,.2f} "),
            "pct": _numbers("{:.2%}".format, 0, 1),
            "date": _dates("%d-%m-%Y"),
            "err": _gaps(_numbers("{:.1f}".format, 0, 9), "#N/A"),
            "mixed": _gaps(_whole(100, 999), "see below", 40),
            "done": yes,
        },
        "codes": {
            "part": ("identifier", [f"{i % 90 + 10}e{300 + i}" for i in range(ROWS)]),
            "dept": _pick("007", "012", "101"),
            "postal": _pick("K1A 0B1", "M5V 2T6"),
            "phone": _ids("+49 30 {:07d}"),
            "version": _pick("1.2.3", "1.10.0"),
            "ratio": _pick("1:2", "3:4"),
            "stat": level,
        },
        "flights": {
            "dep": (
                "time",
                [f"{(i * 7) % 12 + 1}:{i % 60:02} {'AM' if i % 2 else 'PM'}" for i in range(ROWS)],
            ),
            "carrier": _pick("AA", "NA", "LH", "B6"),
            "delay": _gaps(_whole(-20, 200), "NA"),
            "flight": _pick("AA10", "LH400", "B61"),
            "air": _pick("PT1H30M", "PT45M", "PT2H", kind="duration"),
            "late": yes,
        },
        "energy": {
            "month": _dates("%Y-%m"),
            "kwh": _numbers("{:,.1f} kWh".format),
            "tariff": _pick("day", "night"),
            "cost": _numbers(lambda v: f"{v:,.2f} kr"),
            "meter_id": _pick("10442", "10443", "20001"),
            "paid": _numbers(lambda v: f"₹{v:,.2f}"),
        },
        "school": {
            "student no": _ids("{}"),
            "grade": _pick("A", "B+", "C-"),
            "score": _whole(0, 100, "{}/100".format),
            "absent": _pick("0", "1", "2", "7", kind="number"),
            "dob": _dates("%d %B %Y"),
            "passed": yes,
        },
    }
    made["sales_sap"]["Kopie"] = ("duplicate", made["sales_sap"]["Netto"][1])
    regressions = {"realty_value", "energy"}
    semicolons = {"bank_de", "bank_fr", "shop_de", "sales_sap"}
    return [
        Messy(
            name,
            columns,
            ";" if name in semicolons else ",",
            "regression" if name in regressions else "classification",
        )
        for name, columns in made.items()
    ]
