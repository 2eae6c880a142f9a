"""Rewrites calls whose arguments are given in another way here."""

from __future__ import annotations

import libcst as cst

SINGLE_PAIR = "create_single_pair_universe"
BINANCE = "create_binance_universe"


def pack_description(call: cst.Call) -> cst.Call:
    """Turn (dataset, chain, venue, base, quote) into (dataset, (chain, venue, base, quote))."""
    if len(call.args) != 5 or any(argument.keyword is not None or argument.star for argument in call.args):
        return call
    parts = call.args[1:]
    elements = [
        cst.Element(argument.value, comma=argument.comma if place < 3 else cst.MaybeSentinel.DEFAULT)
        for place, argument in enumerate(parts)
    ]
    packed = parts[-1].with_changes(value=cst.Tuple(elements))
    return call.with_changes(args=[call.args[0], packed])


def add_client(call: cst.Call, client: str) -> cst.Call:
    """Give a call the client its function was given, as the last argument and laid out like the others."""
    if any(a.star or (a.keyword is not None and a.keyword.value == "client") for a in call.args) or not call.args:
        return call
    last = call.args[-1]
    between = call.args[-2].comma if len(call.args) > 1 else cst.Comma(whitespace_after=_first_space(call))
    added = cst.Arg(
        cst.parse_expression(client),
        keyword=cst.Name("client"),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        comma=last.comma,
        whitespace_after_arg=last.whitespace_after_arg,
    )
    end = last.with_changes(comma=_without_comment(between), whitespace_after_arg=cst.SimpleWhitespace(""))
    return call.with_changes(args=[*call.args[:-1], end, added])


def _first_space(call: cst.Call) -> cst.BaseParenthesizableWhitespace:
    space = call.whitespace_before_args
    return space if isinstance(space, cst.ParenthesizedWhitespace) else cst.SimpleWhitespace(" ")


def _without_comment(comma: cst.Comma | cst.MaybeSentinel) -> cst.Comma | cst.MaybeSentinel:
    """Return a comma as a model for another one: the comment behind it belongs to its own argument."""
    if not isinstance(comma, cst.Comma) or not isinstance(comma.whitespace_after, cst.ParenthesizedWhitespace):
        return comma
    space = comma.whitespace_after
    line = space.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))
    return comma.with_changes(whitespace_after=space.with_changes(first_line=line, empty_lines=()))
