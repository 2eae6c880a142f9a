"""The kinds of values that fields of a deployment take, and how strictly they are read."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints

STRICT = ConfigDict(extra="forbid", strict=True)

DeploymentId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
VariableName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
"""The name of an environment variable, never what it holds."""
Address: TypeAlias = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
DataPair: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^/@\s]+/[^/@\s]+(@[^/@\s]+)?$")]
"""BASE/QUOTE, or BASE/QUOTE@venue."""
Minutes: TypeAlias = Annotated[float, Field(ge=0, le=525_600, allow_inf_nan=False)]
WholeMinutes: TypeAlias = Annotated[int, Field(ge=0, le=1440)]
PositiveMinutes: TypeAlias = Annotated[float, Field(gt=0, le=525_600, allow_inf_nan=False)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Usd: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
