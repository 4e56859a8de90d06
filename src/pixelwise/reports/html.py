"""Rendering of HTML reports with a common style. Imports no torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: str, **content: Any) -> str:
    """Fill a template of `reports/templates/`; text is escaped, and templates mark SVG as safe."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"number": number, "percent": lambda share: f"{share:.1%}"}
    return environment.get_template(template).render(**content)


def number(value: float | None) -> str:
    """A score with four decimals, or a dash if it is undefined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"
