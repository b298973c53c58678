"""Tables of a study in Markdown."""
from collections.abc import Sequence

Rows = Sequence[Sequence[str]]


def markdown(rows: Rows) -> str:
    """A table, of which the first row is the head."""
    head, *body = (f'| {" | ".join(row)} |' for row in rows)
    return '\n'.join([head, f'| {" | ".join(["---"] * len(rows[0]))} |', *body])


def without_empty_columns(rows: Rows) -> Rows:
    """The rows without columns that have an entry in the head alone."""
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    return [[row[place] for place in kept] for row in rows]
