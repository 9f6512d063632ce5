"""Edits values inside the text of a YAML or JSON file.

Only the characters of the values change. Comments, order, quoting and layout of everything else
stay byte for byte, which no round trip through a parser guarantees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.manifests.load import plain_value

_INDICATORS = tuple("-?:,[]{}#&*!|>'\"%@`=")
_UNSAFE = re.compile(r": |:$| #|^\s|\s$|[\n\t]|^(---|\.\.\.)")
_FLOW = re.compile(r"[,\[\]{}]")
_WORDS = frozenset(("yes", "no", "on", "off"))
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?")
_HEADER_COMMENT = re.compile(r"[|>][-+0-9]*([ \t]+#.*)")
_STEP = 2


class Uneditable(Exception):
    """A value whose text cannot be replaced safely. The message completes "…, because"."""


class Edit(Struct, frozen=True, order=True):
    """A replacement of the characters from `start` to before `end`."""

    start: int
    end: int
    text: str


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The text after all edits. Raises Uneditable where two overlap."""
    position, parts = 0, []
    for edit in sorted(set(edits)):
        if edit.start < position:
            raise Uneditable("two changes touch the same place")
        parts += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*parts, text[position:]])


class TextLayout(Struct, frozen=True):
    """Writes new values as text."""

    is_json: bool
    newline: str

    def flow(self, value: Any) -> str:
        """A value on one line."""
        if isinstance(value, Mapping):
            return "{" + self.flow_pairs(value) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(self.flow, value)) + "]"
        if not isinstance(value, str):
            return json.dumps(value)
        if self.is_json:
            return double_quoted(value, is_json=True)
        return _plain(value, in_flow=True) or double_quoted(value)

    def flow_pairs(self, pairs: Mapping[str, Any]) -> str:
        """The pairs of a map on one line, without braces."""
        return ", ".join(f"{self.key(key)}: {self.flow(value)}" for key, value in pairs.items())

    def block(self, value: Any, indent: int) -> list[str]:
        """A filled map or list as lines."""
        lines: list[str] = []
        if isinstance(value, Mapping):
            for name, element in value.items():
                lines += self.pair_lines(name, element, indent)
        else:
            for element in value:
                lines += self.item_lines(element, indent)
        return lines

    def pair_lines(self, name: str, value: Any, indent: int) -> list[str]:
        """A pair of a map as lines."""
        head = f"{' ' * indent}{self.key(name)}:"
        if _is_filled(value):
            return [head, *self.block(value, indent + _STEP)]
        return self._scalar_lines(head, value, indent)

    def item_lines(self, value: Any, indent: int) -> list[str]:
        """An item of a list as lines."""
        head = f"{' ' * indent}-"
        if _is_filled(value):
            first, *rest = self.block(value, indent + _STEP)
            return [f"{head} {first.lstrip(' ')}", *rest]
        return self._scalar_lines(head, value, indent)

    def _scalar_lines(self, head: str, value: Any, indent: int) -> list[str]:
        """A text or an empty value behind its key or dash."""
        if not _wants_block(value) or value.endswith("\n\n"):
            return [f"{head} {self.inline(value)}"]
        first, *rest = literal_block(value, indent + _STEP)
        return [f"{head} {first}", *rest]

    def inline(self, value: Any) -> str:
        """A text or an empty value, outside of brackets."""
        if isinstance(value, str):
            return _plain(value, in_flow=False) or double_quoted(value)
        return self.flow(value)

    def key(self, name: str) -> str:
        """A key of a map."""
        if self.is_json:
            return double_quoted(name, is_json=True)
        return _plain(name, in_flow=True) or double_quoted(name)


class TextEditor:
    """Edits one file. `text` is the decoded file; nodes are those of `load.compose`."""

    def __init__(self, text: str, *, is_json: bool = False) -> None:
        self.text = text
        self._is_json = is_json
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._layout = TextLayout(is_json, self._newline)

    # Scalars and whole values

    def replace(self, node: Any, value: Any, *, indent: int, in_flow: bool) -> Edit:
        """Replace a value. `indent` is the column of the key or dash that it belongs to."""
        start, end = node.start_mark.index, self.end_of(node)
        if self.text[start : start + 1] in ("&", "*", "!"):
            raise Uneditable("the value has an anchor, an alias or a tag")
        if node.id == "scalar":
            rendered = self._scalar(node, value, indent=indent, in_flow=in_flow)
        elif node.flow_style or in_flow:
            rendered = self._layout.flow(value)
        else:
            return self._replace_block(node, value, start, end, indent)
        # The node of an omitted value is empty, and begins right behind the colon or dash.
        if start == end and self.text[start - 1 : start] in (":", "-"):
            rendered = f" {rendered}"
        return Edit(start, end, rendered)

    def _replace_block(self, node: Any, value: Any, start: int, end: int, indent: int) -> Edit:
        """Replace a collection in block style, which may begin below its key or behind it."""
        column = node.start_mark.column
        owner = len(self.text[:start].rstrip())
        is_beside = "\n" not in self.text[owner:start]
        # Below its key, the text in between ends with the colon or dash, or with a comment.
        if is_beside or self.text[owner - 1] not in ":-":
            if column <= indent and not is_beside:
                raise Uneditable("a comment stands between the field and its value")
            if not _is_filled(value):
                return Edit(start, end, self._layout.inline(value))
            lines = self._layout.block(value, column)
            return Edit(start, end, self._newline.join(lines).lstrip(" "))
        if not _is_filled(value):
            return Edit(owner, end, f" {self._layout.inline(value)}")
        lines = self._layout.block(value, max(column, indent + _STEP))
        return Edit(owner, end, self._newline + self._newline.join(lines))

    def _scalar(self, node: Any, value: Any, *, indent: int, in_flow: bool) -> str:
        is_flow = in_flow or self._is_json
        if _is_filled(value):
            if is_flow:
                return self._layout.flow(value)
            lines = self._layout.block(value, indent + _STEP)
            return self._newline + self._newline.join(lines)
        if not isinstance(value, str):
            return self._layout.flow(value)
        style = node.style
        if style == '"' or self._is_json:
            return double_quoted(value, is_json=self._is_json)
        keeps_block = style in ("|", ">") and _fits_a_block(value)
        if not is_flow and (keeps_block or _wants_block(value)):
            return self._literal(node, value, indent)
        if style == "'" and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        line = _plain(value, in_flow=is_flow) or double_quoted(value)
        return line + self._comment_of_header(node)

    def _comment_of_header(self, node: Any) -> str:
        """The comment behind the indicator of a block of lines, with the space before it."""
        if node.style not in ("|", ">"):
            return ""
        header = self.text[node.start_mark.index : self.end_of(node)].split("\n", 1)[0]
        comment = _HEADER_COMMENT.match(header)
        return comment[1].rstrip() if comment else ""

    def _literal(self, node: Any, value: str, indent: int) -> str:
        """A block of lines, indented as the block before."""
        width = indent + _STEP
        if node.style in ("|", ">"):
            content = self.text[node.start_mark.index : self.end_of(node)].split("\n")[1:]
            widths = [len(line) - len(line.lstrip(" ")) for line in content if line.strip()]
            width = min(widths, default=width)
        # Only `|+` keeps such lines, and it would take the blank lines after the block too.
        if value.endswith("\n\n"):
            raise Uneditable("the text ends with empty lines")
        indicator, *lines = literal_block(value, width)
        return self._newline.join([f"{indicator}{self._comment_of_header(node)}", *lines])

    # Maps

    def delete_keys(self, mapping: Any, gone: Sequence[int]) -> list[Edit]:
        """Delete some pairs of a map, but not all, with the comments behind them."""
        pairs = mapping.value
        if mapping.flow_style:
            keys = [key for key, _ in pairs]
            return [self._delete_from_flow(keys, at, pairs[at][1]) for at in gone]
        edits = []
        rest = list(gone)
        start = pairs[0][0].start_mark.index
        # The first pair of a map in a list stands behind the dash, where the first kept pair moves.
        if 0 in gone and self.text[self._line_begin(start) : start].strip():
            first_kept = min(set(range(len(pairs))).difference(gone))
            edits.append(Edit(start, pairs[first_kept][0].start_mark.index, ""))
            rest = [at for at in gone if at > first_kept]
        for at in rest:
            key, value = pairs[at]
            begin = self._line_begin(key.start_mark.index)
            edits.append(Edit(begin, self._line_end(self.end_of(value)), ""))
        return edits

    def add_keys(self, mapping: Any, pairs: Mapping[str, Any], *, in_flow: bool) -> Edit:
        """Add pairs at the end of a map."""
        if mapping.flow_style or in_flow:
            values = [value for _, value in mapping.value]
            return self._add_to_flow(mapping, values, self._layout.flow_pairs(pairs))
        indent = mapping.value[0][0].start_mark.column
        lines: list[str] = []
        for name, value in pairs.items():
            lines += self._layout.pair_lines(name, value, indent)
        return self._after_line(mapping.value[-1][1], lines)

    # Lists

    def delete_item(self, sequence: Any, at: int) -> Edit:
        """Delete one of several items of a list, with the comment behind it."""
        node = sequence.value[at]
        if sequence.flow_style:
            return self._delete_from_flow(sequence.value, at, node)
        dash = self._dash_of(node)
        begin = self._line_begin(dash)
        if self.text[begin:dash].strip():
            raise Uneditable("the list begins inside another item")
        return Edit(begin, self._line_end(self.end_of(node)), "")

    def insert_items(self, sequence: Any, at: int, items: Sequence[Any], *, in_flow: bool) -> Edit:
        """Insert items before the item at an index; at the length of the list, behind the last."""
        nodes = sequence.value
        if sequence.flow_style or in_flow:
            text = ", ".join(map(self._layout.flow, items))
            if at == 0 and nodes:
                start = nodes[0].start_mark.index
                return Edit(start, start, f"{text}, ")
            return self._add_to_flow(sequence, nodes[:at], text)
        dash = self._dash_of(nodes[max(at - 1, 0)])
        begin = self._line_begin(dash)
        if self.text[begin:dash].strip():
            raise Uneditable("the list begins inside another item")
        lines = self._layout.block(items, dash - begin)
        if at == 0:
            return Edit(begin, begin, self._newline.join([*lines, ""]))
        return self._after_line(nodes[at - 1], lines)

    def _dash_of(self, node: Any) -> int:
        dash = self.text.rfind("-", 0, node.start_mark.index)
        if dash < 0 or self.text[dash + 1 : node.start_mark.index].strip():
            raise Uneditable("the item does not follow its dash")
        return dash

    # Positions

    def end_of(self, node: Any) -> int:
        """Where the text of a node ends, without the comments and blank lines behind it."""
        start, end = node.start_mark.index, node.end_mark.index
        if node.id == "scalar":
            if node.style not in ("|", ">"):
                return int(end)
            return int(start) + len(self.text[start:end].rstrip())
        if node.flow_style or not node.value:
            return int(end)
        # The parser ends a block where the next token begins, behind comments and blank lines.
        last = node.value[-1]
        if node.id == "mapping":
            last = last[1]
        end_of_last: int = self.end_of(last)
        return end_of_last

    def _line_begin(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        """The index behind the line break after a position."""
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end + 1

    def _after_line(self, node: Any, lines: Sequence[str]) -> Edit:
        at = self._line_end(self.end_of(node))
        block = self._newline.join(lines) + self._newline
        # The last line of a file may lack its line break.
        if at == len(self.text) and not self.text.endswith("\n"):
            block = self._newline + block.removesuffix(self._newline)
        return Edit(at, at, block)

    def _delete_from_flow(self, starts: Sequence[Any], at: int, last: Any) -> Edit:
        if at + 1 < len(starts):
            return Edit(starts[at].start_mark.index, starts[at + 1].start_mark.index, "")
        comma = self.text.rfind(",", 0, starts[at].start_mark.index)
        return Edit(comma, self.end_of(last), "")

    def _add_to_flow(self, collection: Any, values: Sequence[Any], text: str) -> Edit:
        if not values:
            at = collection.start_mark.index + 1
            return Edit(at, at, text)
        at = self.end_of(values[-1])
        return Edit(at, at, f", {text}")


def double_quoted(text: str, *, is_json: bool = False) -> str:
    """A text in double quotes; YAML and JSON escape characters beyond the first plane differently."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(_escaped(character, is_json=is_json) for character in quoted)


def _escaped(character: str, *, is_json: bool) -> str:
    if character.isprintable():
        return character
    if is_json:
        return json.dumps(character)[1:-1]
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def literal_block(text: str, width: int) -> list[str]:
    """A text as a block of lines: the indicator, and the lines with their indentation."""
    indicator = "|" if text.endswith("\n") else "|-"
    indentation = " " * width
    lines = text.removesuffix("\n").split("\n")
    return [indicator, *[indentation + line if line else "" for line in lines]]


def _wants_block(value: Any) -> bool:
    """Whether a value is a text of several lines that a block can hold."""
    return isinstance(value, str) and "\n" in value.rstrip("\n") and _fits_a_block(value)


def _is_filled(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _fits_a_block(text: str) -> bool:
    """Whether a literal block can hold a text: its first line must not begin with a blank."""
    lines = text.split("\n")
    is_printable = all(line.isprintable() or "\t" in line for line in lines)
    return is_printable and bool(lines[0]) and not lines[0].startswith((" ", "\t"))


def _plain(text: str, *, in_flow: bool) -> str:
    """The text without quotes; empty where it would be read as something else."""
    if not text or not text.isprintable() or plain_value(text) is not text:
        return ""
    # Other programs read YAML 1.1, where these are booleans and dates.
    if text.lower() in _WORDS or _DATE.match(text):
        return ""
    if text.startswith(_INDICATORS) or _UNSAFE.search(text):
        return ""
    if in_flow and _FLOW.search(text):
        return ""
    return text
