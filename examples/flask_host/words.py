"""The work: in a module of its own, so that a worker process can import it without the application."""

import csv
import re
from collections import Counter
from pathlib import Path

from socketprogress import Reporter, task


@task(steps={"Read": 1, "Count": 8, "Write": 1}, title="Count words")
def count_words(progress: Reporter, file: Path) -> dict[str, int]:
    progress.step("Read")
    lines = file.read_text(errors="replace").splitlines()

    progress.step("Count", total=len(lines))
    found: Counter[str] = Counter()
    for line in progress.track(lines):
        found.update(word.lower() for word in re.findall(r"\w+", line))

    progress.step("Write")
    table = progress.output_dir / "words.csv"
    with table.open("w", newline="") as out:
        csv.writer(out).writerows(found.most_common())
    progress.add_file(table)
    file.unlink()
    return {"words": found.total(), "different": len(found)}
