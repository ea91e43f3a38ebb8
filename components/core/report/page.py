"""The report of a run as a page: one HTML file that needs nothing from outside.

Everything a model or a data set wrote is hostile here: it reaches the page through jinja2's autoescaping only.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pada_agent.components.core import figures
from pada_agent.components.core.report.browsing import browse
from pada_agent.components.core.report.excerpts import LENGTH, excerpt, visible
from pada_agent.components.core.report.facts import Facts, Lead
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.report.losses import path
from pada_agent.components.core.report.shown_rows import PLACES, ShownRow
from pada_agent.components.core.state import State

LIMIT = 1_900_000  # bytes of the page
SHRINKINGS = 7  # times that less may be shown, half as much each time
SHORTEST = 60  # characters that are left of any text


def render(state: State, rows: Sequence[ShownRow] = (), facts: Facts | None = None, lead: Lead | None = None) -> str:
    """The page, below 2 MB. It has no side effects: the same state and rows give the same bytes.

    `facts` are the state's, if the caller has gathered them already; `lead` stands above all else.
    If that is too small for all, fewer rows and samples are shown, drawn by the seed, and less of long texts; the page says so.
    """
    facts, page = facts or gather(state), ""
    labels = {m.name: m.label for m in facts.models}
    half = 0
    while half < SHRINKINGS:
        shown = browse(state, rows, labels, PLACES >> half)
        page = _template("report.html").render(**dict(facts), lead=lead, browse=shown, length=max(LENGTH >> half, SHORTEST))
        excess = len(page.encode()) // LIMIT
        if not excess:
            break
        half += max(1, excess.bit_length() // 2)  # one halving shortens both the lists and the texts in them
    return page


def render_lead(lead: Lead) -> str:
    """The page of a run that left nothing to report but how it ended."""
    return _template("lead_only.html").render(lead=lead)


def environment(*packages: str) -> Environment:
    """Templates from the folders `templates` of other packages and of this one: escaped, and with the filters of the report."""
    found = Environment(
        loader=ChoiceLoader(
            [PackageLoader(package, "templates") for package in (*packages, "pada_agent.components.core.report")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("percent", "points", "signed", "p_value", "bare", "duration", "count", "plural")
    found.filters |= {**{name: getattr(figures, name) for name in names}, "cut": excerpt, "loss_path": path}
    return found


@cache
def _template(name: str) -> Template:
    found = environment()
    script = str(found.get_template("report.js").render())
    found.globals |= {"script": Markup(script), "script_hash": b64encode(sha256(script.encode()).digest()).decode()}
    return found.get_template(name)
