"""PaDA-Agent (arXiv 2510.18143): against the patterns of validation failures, and around training errors.

Its plan is drafted in analyze_patterns; how a strategy becomes batches is in generate_data.
"""

from typing import ClassVar

from pada_agent.components.core.methods.method import Method


class Pada(Method):
    """See the module."""

    finds_patterns: ClassVar[bool] = True
