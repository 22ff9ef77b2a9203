# SPDX-License-Identifier: LGPL-2.1-or-later
"""The runs of a results file, and what can be said of several of them."""

import json
import statistics


class Figures:
    def __init__(self, path):
        text = json.loads(path.read_text(encoding="utf-8"))
        self.conditions = text["conditions"]
        self.all = text["runs"]
        # The warm-up's are kept in the file, and count nowhere.
        self.runs = [run for run in text["runs"] if run["round"] > 0]

    def of(self, group, where=None, subject=None, size=None):
        return [run for run in self.runs if run["group"] == group and where in (None, run["where"]) and
                subject in (None, run["subject"]) and size in (None, run.get("size"))]

    def subjects(self, group, where=None, size=None):
        return list(dict.fromkeys(run["subject"] for run in sorted(
            self.of(group, where, size=size), key=lambda run: run["round"])))

    def sizes(self, group, where):
        return sorted({run["size"] for run in self.of(group, where)})

    def values(self, key, *of, **more):
        return [run[key] for run in self.of(*of, **more)]

    def median(self, key, *of, **more):
        return statistics.median(self.values(key, *of, **more))

    def pairs(self, key, group, where, one, other, size=None):
        """The two subjects' values of each round in which both had a turn."""
        mine = {run["round"]: run[key] for run in self.of(group, where, one, size)}
        theirs = {run["round"]: run[key] for run in self.of(group, where, other, size)}
        return [(mine[number], theirs[number]) for number in sorted(mine.keys() & theirs.keys())]

    def ratios(self, *of, **more):
        return [one / other for one, other in self.pairs(*of, **more)]

    def parts(self, key, *of, **more):
        """Medians of a figure that is divided among the parts of a server."""
        runs = self.of(*of, **more)
        return {part: statistics.median(run[key][part] for run in runs) for part in runs[0][key]}


def number(value):
    """Three digits that mean something."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def spread(values):
    """Median, and the lowest and the highest."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def size_name(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
