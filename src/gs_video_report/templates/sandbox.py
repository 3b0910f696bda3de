"""Render Jinja2 text from a template file that nobody has vetted.

Truth: a template is data. It may print values, branch, loop and assign; it cannot define macros,
capture output, include files, call methods, reach Python objects, or run or grow without bound.
How: jinja2's immutable sandbox, minus everything in the grammar that stores or multiplies output,
plus a budget that every loop turn, filter and concatenation is charged to.
Never: reads files, imports, keeps state between two renderings.
Raises: TemplateError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from gs_video_report.errors import TemplateError

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT_CHARS = 64_000_000
MAX_WORK = 200_000_000
"""Loop turns and characters handled by one rendering."""
MAX_CPU_S = 5.0
MAX_RANGE = 10_000
MAX_INT = 10**12
MAX_TEXT = 8_000_000
"""Characters of one computed string, items of one computed list."""

_STATEMENTS = frozenset({"Template", "Output", "TemplateData", "For", "If", "Assign"})
_KEPT_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "first", "float", "int", "join", "last"),
    *("length", "list", "lower", "round", "string", "title", "trim", "truncate", "upper"),
)
_DICT_METHODS = frozenset({"items", "keys", "values", "get"})


@lru_cache(maxsize=32)
def undeclared(source: str, where: str) -> frozenset[str]:
    """Names that `source` needs from outside. Raises: TemplateError when it does not parse."""
    from jinja2 import meta

    env = _environment({})
    return frozenset(meta.find_undeclared_variables(_parse(env, source, where)))


def render(
    source: str,
    variables: Mapping[str, Any],
    where: str,
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """Render `source` with `variables` (plain data: str, numbers, bool, None, list, dict).

    Args:
        where: names the template and its part in error messages, such as "lesson (prompt)".
        filters: extra filters by name.

    Raises: TemplateError for syntax, unknown names, forbidden constructs, and exceeded bounds.
    """
    env = _environment(filters or {})
    tree = _parse(env, source, where)
    try:
        return _collect(env, env.from_string(tree).generate(dict(variables)))
    except TemplateError as error:  # a bound of ours, which does not know the template's name
        raise TemplateError(f"template {where}: {error.message}", hint=error.hint) from error
    except Exception as error:  # whatever a hostile template provokes is the template's error
        raise TemplateError(f"template {where}: {_reason(error)}") from error


def _collect(env: Any, pieces: Any) -> str:
    out: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_OUTPUT_CHARS:
            raise TemplateError("the template writes more text than is allowed")
        env.spend(len(piece) + 1)
        out.append(piece)
    return "".join(out)


def _parse(env: Any, source: str, where: str) -> Any:
    try:
        tree = env.parse(source)
        _restrict(tree, where)
        return _instrument(tree)
    except TemplateError:
        raise
    except Exception as error:
        raise TemplateError(f"template {where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    text = str(error).strip().splitlines()[:1] or [type(error).__name__]
    if isinstance(error, RecursionError):
        text = ["nested too deeply"]
    return text[0].rstrip(".") + (f" (line {line})" if line else "")


def _restrict(tree: nodes.Template, where: str) -> None:
    """Refuse statements that capture output and literals that nest computed values."""
    from jinja2 import nodes as n

    for node in tree.find_all(n.Stmt):
        if type(node).__name__ not in _STATEMENTS:
            name = type(node).__name__.lower()
            raise TemplateError(f"template {where}: {name} is not allowed (line {node.lineno})")
    for loop in tree.find_all(n.For):
        if loop.recursive:
            raise TemplateError(f"template {where}: recursive loops are not allowed")
    for literal in tree.find_all((n.List, n.Tuple, n.Dict)):
        if getattr(literal, "ctx", "load") == "load" and not _constant(literal):
            raise TemplateError(
                f"template {where}: lists in a template hold constants only (line {literal.lineno})"
            )


def _constant(literal: Any) -> bool:
    from jinja2 import nodes as n

    children = list(literal.iter_child_nodes())
    leaves = [leaf for c in children for leaf in (c.iter_child_nodes() if _pair(c) else (c,))]
    return all(isinstance(leaf, n.Const) for leaf in leaves)


def _pair(node: Any) -> bool:
    return type(node).__name__ == "Pair"


def _instrument(tree: Any) -> Any:
    """Make every loop turn and every `~` call the environment, where the budget is kept."""
    from jinja2 import nodes as n
    from jinja2.visitor import NodeTransformer

    def hook(name: str, args: list[Any], lineno: int) -> Any:
        call = n.Call(n.EnvironmentAttribute(name), args, [], None, None)
        return call.set_lineno(lineno)

    class Hooks(NodeTransformer):
        def visit_Concat(self, node: Any) -> Any:
            self.generic_visit(node)
            return hook("hook_concat", node.nodes, node.lineno)

        def visit_For(self, node: Any) -> Any:
            self.generic_visit(node)
            turn = n.Output([hook("hook_turn", [], node.lineno)]).set_lineno(node.lineno)
            node.body.insert(0, turn)
            return node

    return Hooks().visit(tree)


def _environment(filters: Mapping[str, Callable[..., Any]]) -> ImmutableSandboxedEnvironment:
    """A fresh environment, since the budget lives in it."""
    from jinja2 import StrictUndefined, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

        def __init__(self) -> None:
            super().__init__(
                undefined=StrictUndefined,
                finalize=_printable,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
            )
            self.work = 0
            self.deadline = time.thread_time() + MAX_CPU_S
            known = {name: self.filters[name] for name in _KEPT_FILTERS}
            self.filters = {name: self._charged(fn) for name, fn in {**known, **filters}.items()}
            self.filters["join"] = self._join
            self.filters["string"] = self._charged(_plain)
            self.globals = {"range": self._range}

        def spend(self, amount: int) -> None:
            self.work += amount
            if self.work > MAX_WORK or time.thread_time() > self.deadline:
                raise TemplateError("the template does more work than is allowed")

        def _charged(self, fn: Callable[..., Any]) -> Callable[..., Any]:
            import functools

            @functools.wraps(fn)  # keeps jinja2's pass_environment mark
            def charged(*args: Any, **kwargs: Any) -> Any:
                self.spend(1 + sum(len(a) for a in args if isinstance(a, (str, list, tuple))))
                return fn(*args, **kwargs)

            return charged

        def _range(self, *args: int) -> range:
            value = range(*args)
            if len(value) > MAX_RANGE:
                raise TemplateError(f"range() gives at most {MAX_RANGE} numbers")
            return value

        def _join(self, values: Any, separator: str = "", attribute: str | None = None) -> str:
            items = [v[attribute] if attribute else v for v in values]
            return self.hook_concat(*[p for v in items for p in (separator, v)][1:])

        def hook_turn(self) -> str:
            self.spend(1)
            return ""

        def hook_concat(self, *parts: Any) -> str:
            text = [_plain(part) for part in parts]
            size = sum(map(len, text))
            self.spend(size + len(text))
            if size > MAX_TEXT:
                raise TemplateError("the template builds a text that is too long")
            return "".join(text)

        def getattr(self, obj: Any, attribute: str) -> Any:
            if isinstance(obj, dict) and attribute in obj:
                return obj[attribute]  # before methods: a key named `copy` or `items` is data
            return super().getattr(obj, attribute)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, dict):
                return attr in _DICT_METHODS
            return type(obj).__name__ == "LoopContext" and not attr.startswith("_")

        def is_safe_callable(self, obj: Any) -> bool:
            owner = getattr(obj, "__self__", None)
            name = getattr(obj, "__name__", "")
            if owner is self:
                return name in {"hook_turn", "hook_concat", "_range"}
            return isinstance(owner, dict) and name in _DICT_METHODS

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            self.spend(1)
            if isinstance(left, Undefined) or isinstance(right, Undefined):
                str(left), str(right)  # raises the error that names the unknown variable
            if isinstance(left, str) and isinstance(right, str) and operator == "+":
                return self.hook_concat(left, right)
            if operator != "**" and _small(left) and _small(right):
                return super().call_binop(context, operator, left, right)
            raise TemplateError(f"'{operator}' works on moderate numbers only")

    return Bounded()


def _small(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= MAX_INT


def _plain(value: Any) -> str:
    """Text of a scalar. Raises: TemplateError for lists, dicts and objects."""
    from jinja2 import Undefined

    if value is None:
        return ""
    if isinstance(value, (str, int, float, Undefined)):
        return str(value)  # StrictUndefined raises here and names the variable
    raise TemplateError(f"a {type(value).__name__} cannot be printed; loop over it")


def _printable(value: Any) -> Any:
    return cast(Any, _plain(value))
