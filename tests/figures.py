"""Figures of readability by folder: a thermometer for a reader, not a gate. `make figures` prints them.

Counts per file: lines over 100 characters, lines that hold only a comment, comprehensions, conditional expressions
(`a if b else c`), and the largest classes. The emulator is left out. `engine` also shows how many lines of tests stand
against a line of its code.
"""

import ast
import io
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "reconciler"
WIDTH = 100
LARGEST = 12
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Figures:
    """The counts of one folder, or of the whole package."""

    lines: int = 0
    long: int = 0
    comments: int = 0
    comprehensions: int = 0
    conditionals: int = 0
    nested: int = 0
    classes: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, other: "Figures") -> None:
        """Add the counts of a file."""
        self.lines += other.lines
        self.long += other.long
        self.comments += other.comments
        self.comprehensions += other.comprehensions
        self.conditionals += other.conditionals
        self.nested += other.nested
        self.classes += other.classes

    def row(self, name: str) -> str:
        """One line of the table."""
        percent = 100 / max(self.lines, 1)
        return (
            f"{name:<20} {self.lines:>6} {self.long * percent:>7.1f} %"
            f" {self.comments * percent:>7.1f} % {self.comprehensions * percent:>9.2f}"
            f" {self.conditionals * percent:>9.2f} {self.nested:>7}"
        )


def figures_of(path: Path) -> Figures:
    """The counts of one file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    conditionals = [node for node in nodes if isinstance(node, ast.IfExp)]
    return Figures(
        lines=len(lines),
        long=sum(len(line) > WIDTH for line in lines),
        comments=sum(1 for _ in comment_lines(text)),
        comprehensions=sum(isinstance(node, COMPREHENSIONS) for node in nodes),
        conditionals=len(conditionals),
        nested=sum(has_conditional_inside(node) for node in conditionals),
        classes=[class_size(node, path) for node in nodes if isinstance(node, ast.ClassDef)],
    )


def comment_lines(text: str) -> Iterator[int]:
    """The numbers of the lines that hold a comment and nothing else."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
            yield token.start[0]


def has_conditional_inside(node: ast.IfExp) -> bool:
    """Whether a branch or the test of a conditional expression holds another one."""
    inner = [child for child in ast.walk(node) if child is not node]
    return any(isinstance(child, ast.IfExp) for child in inner)


def class_size(node: ast.ClassDef, path: Path) -> tuple[int, int, str]:
    """Lines, methods, and where a class stands."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    methods = sum(isinstance(child, functions) for child in node.body)
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    return length, methods, f"{node.name} ({path.relative_to(PACKAGE)})"


def main() -> None:
    """Print the table, the largest classes, and the ratio of the engine's tests."""
    folders: dict[str, Figures] = defaultdict(Figures)
    total = Figures()
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if parts[0] == "emulator":
            continue
        folder = "(top)"
        if len(parts) > 1:
            folder = parts[0]
        figures = figures_of(path)
        folders[folder].add(figures)
        total.add(figures)
    out = sys.stdout.write
    out(
        f"{'':<20} {'lines':>6} {'> 100':>9} {'comments':>9} {'compr/100':>9} {'cond/100':>9} {'nested':>7}\n"
    )
    for name in sorted(folders):
        out(folders[name].row(name) + "\n")
    out(total.row("all") + "\n\nLargest classes (lines, methods):\n")
    for length, methods, place in sorted(total.classes, reverse=True)[:LARGEST]:
        out(f"  {length:>4} {methods:>3}  {place}\n")
    tests = sum(
        len(path.read_text().splitlines()) for path in (ROOT / "tests/engine").rglob("*.py")
    )
    out(f"\nLines of tests/engine per line of engine: {tests / folders['engine'].lines:.2f}\n")


if __name__ == "__main__":
    main()
