"""``embtune check``: planted faults that are found in real data, and the time of 100,000 rows."""

from __future__ import annotations

import itertools
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

from paddlenlp_embtune.data import ReadOptions
from paddlenlp_embtune.data.checks import CheckedRows, CheckReport, check_rows, read_checked_rows
from paddlenlp_embtune.text import CharTokenizer, Vocabulary

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("finfe", "waimai", "thucnews_titles10", "chnsenticorp", "fin_news_pn")
SEEDS = (0, 1, 2)
PLANTED = 200
FLIPPED = 0.05
CHANGED = 0.1
LARGE = 100_000

Rows = list[tuple[str, str]]


def main() -> None:
    """Print found shares for each set, then the time of a large file."""
    print(
        f"{'set':18} {'leaks':>7} {'dupl.':>7} {'confl.':>7} {'near':>13} {'flips found':>13} {'precision':>13}  seconds of CPU"
    )
    for name in SETS:
        lines = [planted(name, seed) for seed in SEEDS]
        leaks, duplicates, conflicts, near, flips, precision, seconds = map(list, zip(*lines, strict=True))
        print(
            f"{name:18} {min(leaks):7.1%} {min(duplicates):7.1%} {min(conflicts):7.1%} {spread(near):>13} {spread(flips):>13} "
            f"{spread(precision):>13}  {statistics.median(seconds):.1f}"
        )
    large()


def planted(name: str, seed: int) -> tuple[float, ...]:
    """Plant faults of each kind among the rows of a set, apart from each other; return the shares that are found."""
    generator = random.Random(seed)
    train, dev = read(name, "train"), read(name, "dev")
    labels = sorted({label for _, label in train})
    order = generator.sample(range(len(train)), len(train))
    numbers = iter(order)
    leaked, doubled, torn, near = ([*itertools.islice(numbers, min(PLANTED, len(train) // 20))] for _ in range(4))
    near = [number for number in near if len(train[number][0]) >= 10]
    flipped = set(generator.sample(order, int(FLIPPED * len(train))))
    for number in flipped:
        train[number] = (train[number][0], other(train[number][1], labels, generator))
    first = len(train)
    train += [train[number] for number in doubled]
    train += [(train[number][0], other(train[number][1], labels, generator)) for number in torn]
    train += [(changed(train[number][0], generator), train[number][1]) for number in near]
    rows = written({"train": train, "dev": [*dev, *(train[number] for number in leaked)]})
    started = time.process_time()
    report = checked(rows)
    seconds = time.process_time() - started
    pairs = {frozenset(place.row for place in each.rows) for each in report.near_duplicates}
    groups = {place.row for each in report.duplicates for place in each.rows}
    conflicts = {place.row for each in report.conflicts for place in each.rows}
    exact = {each.row.row for each in report.leaks if each.kind == "exact"}
    edited = first + len(doubled) + len(torn)
    suspects = [each.row - 1 for each in report.suspects if each.file.endswith("train.tsv")]
    own = [number for number in suspects if number < first]
    hit = sum(number in flipped for number in own)
    return (
        share(len(dev) + 1 + number in exact for number in range(len(leaked))),
        share(first + 1 + number in groups for number in range(len(doubled))),
        share(first + len(doubled) + 1 + number in conflicts for number in range(len(torn))),
        share(frozenset((number + 1, edited + 1 + at)) in pairs for at, number in enumerate(near)),
        hit / len(flipped),
        hit / max(1, len(own)),
        seconds,
    )


def large() -> None:
    """Check 100,000 rows of unlabelled texts, whose labels are the collections that they come from."""
    texts: Rows = []
    for path in sorted((DATA / "unlabelled").glob("*.txt")):
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        texts += [(" ".join(line.split())[:400], path.stem) for line in lines]
    generator = random.Random(0)
    rows = texts[:LARGE]
    # What is missing are rows with a tenth of their characters changed.
    rows += [(changed(text, generator), label) for text, label in generator.choices(texts, k=LARGE - len(rows))]
    characters = statistics.mean(len(text) for text, _ in rows)
    wall, used = time.perf_counter(), time.process_time()
    read_rows = written({"train": rows})
    report = checked(read_rows)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    print(f"{len(rows):,} rows of {characters:.0f} characters, {len(report.labels)} labels: {used:.1f} s of CPU, {wall:.1f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def checked(rows: CheckedRows) -> CheckReport:
    """Check rows with the characters of the first file as tokens."""
    own = rows.texts[: rows.files[0].rows]
    tokenizer = CharTokenizer(Vocabulary.from_counts(CharTokenizer.count(own, lowercase=True)))
    return check_rows(rows, tokenizer=tokenizer, max_length=256)


def written(splits: dict[str, Rows]) -> CheckedRows:
    """Write splits as files, and read them as the command does."""
    with tempfile.TemporaryDirectory() as folder:
        files = [(name, Path(folder) / f"{name}.tsv") for name in splits]
        for (_, path), rows in zip(files, splits.values(), strict=True):
            path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
        return read_checked_rows(files, text_column="text", label_column="label", options=ReadOptions(quoting="none"))


def read(name: str, split: str) -> Rows:
    """The rows of a set."""
    lines = (DATA / name / f"{split}.tsv").read_text(encoding="utf-8").split("\n")[1:]
    return [(text, label) for text, label in (line.split("\t") for line in lines if line)]


def changed(text: str, generator: random.Random) -> str:
    """Change a tenth of the characters: six of ten are replaced, two removed, two doubled."""
    characters = list(text)
    for at in generator.sample(range(len(text)), max(1, int(CHANGED * len(text)))):
        kind, found = generator.random(), chr(generator.randrange(0x4E00, 0x9FA5))
        characters[at] = found if kind < 0.6 else "" if kind < 0.8 else characters[at] + found
    return "".join(characters)


def other(label: str, labels: list[str], generator: random.Random) -> str:
    """Another label."""
    return generator.choice([each for each in labels if each != label])


def share(found: object) -> float:
    """Share of what was found."""
    values = list(found)  # type: ignore[call-overload]
    return sum(values) / max(1, len(values))


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{statistics.mean(values):.1%} ({min(values):.0%}-{max(values):.0%})"


if __name__ == "__main__":
    main()
