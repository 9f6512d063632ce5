"""Parses an expression of the Common Expression Language (CEL) into a syntax tree.

The grammar and the macros are those of the language's specification, without protocol buffer
messages, bytes and unsigned integers, which no manifest or API answer contains.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.cel.errors import ExpressionError
from reconciler.cel.lexer import Token, problem, tokens_of
from reconciler.cel.nodes import (
    All,
    Any_,
    Comprehension,
    Condition,
    Constant,
    FunctionCall,
    Index,
    ListLiteral,
    MapLiteral,
    Name,
    Node,
    Select,
)

MAX_DEPTH = 32
MAX_CHAIN = 200
"""The most operators of one kind in a row, and the most items of one list."""

MACROS = ("all", "exists", "exists_one", "filter", "map")
_WORDS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset((
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
))  # fmt: skip
_RELATIONS = ("<", "<=", ">", ">=", "==", "!=")


def parse(source: str) -> Node:
    """The syntax tree. Raises ExpressionError."""
    try:
        return _Parser(source).whole()
    except RecursionError:
        raise problem(source, 0, "the expression is nested too deeply") from None


class _Parser:
    """A parser by recursive descent, with a method per level of precedence.

    Its depth is bounded by `MAX_DEPTH`, and the length of each series by `MAX_CHAIN`, so that no
    expression can exhaust the stack of the parser or of a later evaluation.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokens_of(source)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._next.kind == "end":
            raise self._problem(self._next, "the expression is empty")
        node = self._expression()
        if self._next.kind != "end":
            raise self._problem(self._next, f"unexpected {_shown(self._next)}")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, *kinds: str) -> Token | None:
        return self._take() if self._next.kind in kinds else None

    def _expect(self, kind: str) -> Token:
        if self._next.kind != kind:
            wanted = "a name" if kind == "name" else f'"{kind}"'
            raise self._problem(self._next, f"expected {wanted}, found {_shown(self._next)}")
        return self._take()

    def _problem(self, token: Token | Node, message: str) -> ExpressionError:
        return problem(self._source, token.at, message)

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._problem(self._next, "the expression is nested too deeply")
        test = self._alternatives()
        if mark := self._accept("?"):
            then = self._alternatives()
            self._expect(":")
            test = Condition(mark.at, test, then, self._expression())
        self._depth -= 1
        return test

    def _alternatives(self) -> Node:
        terms = self._series("||", self._conjunction)
        return terms[0] if len(terms) == 1 else Any_(terms[0].at, terms)

    def _conjunction(self) -> Node:
        terms = self._series("&&", self._relation)
        return terms[0] if len(terms) == 1 else All(terms[0].at, terms)

    def _series(self, operator: str, part: Callable[[], Node]) -> tuple[Node, ...]:
        terms = [part()]
        while self._accept(operator):
            terms.append(part())
            self._bounded(len(terms))
        return tuple(terms)

    def _bounded(self, length: int) -> None:
        if length > MAX_CHAIN:
            raise self._problem(self._next, f"more than {MAX_CHAIN} parts in a row")

    def _relation(self) -> Node:
        return self._binary(self._sum, lambda: self._accept(*_RELATIONS) or self._word("in"), "@in")

    def _word(self, word: str) -> Token | None:
        if self._next.kind == "name" and self._next.value == word:
            return self._take()
        return None

    def _sum(self) -> Node:
        return self._binary(self._product, lambda: self._accept("+", "-"))

    def _product(self) -> Node:
        return self._binary(self._unary, lambda: self._accept("*", "/", "%"))

    def _binary(
        self, part: Callable[[], Node], operator: Callable[[], Token | None], word: str = ""
    ) -> Node:
        node = part()
        count = 0
        while token := operator():
            name = word if token.kind == "name" else token.kind
            node = FunctionCall(token.at, name, (node, part()))
            count += 1
            self._bounded(count)
        return node

    def _unary(self) -> Node:
        signs: list[Token] = []
        while token := self._accept("!", "-"):
            if signs and token.kind != signs[0].kind:
                raise self._problem(token, "mixed signs: use parentheses")
            signs.append(token)
            self._bounded(len(signs))
        # A negative constant, not the negation of one: the smallest integer has no positive
        # counterpart.
        if signs and signs[0].kind == "-" and len(signs) == 1:
            value = self._next.value
            if self._next.kind == "value" and isinstance(value, int | float):
                token = self._take()
                return self._members(Constant(signs[0].at, -value))
        node = self._members(self._primary())
        for token in reversed(signs):
            node = FunctionCall(token.at, "!" if token.kind == "!" else "-_", (node,))
        return node

    def _members(self, node: Node) -> Node:
        count = 0
        while token := self._accept(".", "["):
            count += 1
            self._bounded(count)
            is_optional = self._accept("?") is not None
            if token.kind == "[":
                key = self._expression()
                self._expect("]")
                node = Index(token.at, node, key, is_optional)
                continue
            name = self._expect("name")
            if not is_optional and self._next.kind == "(":
                node = self._member_call(node, name)
            else:
                node = Select(name.at, node, name.value, is_optional)
        return node

    def _member_call(self, target: Node, name: Token) -> Node:
        self._expect("(")
        arguments = self._list(")")
        # The syntax of a call in a namespace is that of a member call.
        if isinstance(target, Name) and target.name in ("math", "optional", "cel"):
            return self._of_namespace(target.name, name, arguments)
        if name.value in MACROS:
            return self._macro(target, name, arguments)
        return FunctionCall(name.at, name.value, (target, *arguments), is_member=True)

    def _of_namespace(self, space: str, name: Token, arguments: tuple[Node, ...]) -> Node:
        if space == "cel" and name.value == "bind":
            if len(arguments) != 3:
                raise self._problem(name, "cel.bind takes a name, a value and an expression")
            variable = self._variable(arguments[0])
            return Comprehension(name.at, "bind", arguments[1], variable, arguments[2])
        return FunctionCall(name.at, f"{space}.{name.value}", arguments)

    def _macro(self, target: Node, name: Token, arguments: tuple[Node, ...]) -> Node:
        most = 3 if name.value == "map" else 2
        if not 2 <= len(arguments) <= most:
            raise self._problem(name, f"{name.value} takes a name and an expression")
        where = arguments[1] if len(arguments) == 3 else None
        variable = self._variable(arguments[0])
        return Comprehension(name.at, name.value, target, variable, arguments[-1], where)

    def _variable(self, node: Node) -> str:
        if not isinstance(node, Name):
            raise self._problem(node, "expected the name of a variable")
        return node.name

    def _list(self, end: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while self._next.kind != end:
            items.append(self._expression())
            self._bounded(len(items))
            if not self._accept(","):
                break
        self._expect(end)
        return tuple(items)

    def _primary(self) -> Node:
        token = self._take()
        match token.kind:
            case "value":
                if token.value == 2**63 and isinstance(token.value, int):
                    raise self._problem(token, "the integer does not fit into 64 bits")
                return Constant(token.at, token.value)
            case "(":
                node = self._expression()
                self._expect(")")
                return node
            case "[":
                return ListLiteral(token.at, self._list("]"))
            case "{":
                return self._map(token)
            case "name":
                return self._named(token)
        if token.kind == "end":
            raise self._problem(token, "the expression ends too early")
        raise self._problem(token, f"unexpected {_shown(token)}")

    def _named(self, token: Token) -> Node:
        if token.value in _WORDS:
            return Constant(token.at, _WORDS[token.value])
        if token.value in _RESERVED:
            raise self._problem(token, f'"{token.value}" is a reserved word')
        if not self._accept("("):
            return Name(token.at, token.value)
        arguments = self._list(")")
        if token.value != "has":
            return FunctionCall(token.at, token.value, arguments)
        match arguments:
            case (Select(is_optional=False) as tested,):
                return Select(tested.at, tested.target, tested.field, is_test=True)
        raise self._problem(token, "has takes one field, such as has(resource.spec.name)")

    def _map(self, brace: Token) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while self._next.kind != "}":
            key = self._expression()
            self._expect(":")
            pairs.append((key, self._expression()))
            self._bounded(len(pairs))
            if not self._accept(","):
                break
        self._expect("}")
        return MapLiteral(brace.at, tuple(pairs))


def _shown(token: Token) -> str:
    if token.kind == "end":
        return "the end"
    if token.kind == "name":
        return f'"{token.value}"'
    if token.kind != "value":
        return f'"{token.kind}"'
    if isinstance(token.value, str):
        return repr(token.value[:40])
    return str(token.value)
