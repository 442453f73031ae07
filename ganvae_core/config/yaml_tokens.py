"""A look at YAML before it is read: what could take all memory or time is refused. Imports nothing heavy."""

from __future__ import annotations

import yaml

MOST_NESTED = 64
"""Configurations need four or five levels; PyYAML's time grows with the square of the depth."""

_BEGINS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def check_tokens(text: str) -> None:
    """Refuse aliases, with which a few lines make more than any memory holds, and deep nesting.

    Raises:
        yaml.YAMLError: there are such, or the text is no YAML.
    """
    depth = 0
    for token in yaml.scan(str(text), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(token, yaml.AliasToken):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not used in configurations", problem_mark=token.start_mark
            )
        depth += isinstance(token, _BEGINS) - isinstance(token, _ENDS)
        if depth > MOST_NESTED:
            raise yaml.MarkedYAMLError(
                problem=f"lists and mappings are nested more than {MOST_NESTED} deep",
                problem_mark=token.start_mark,
            )
