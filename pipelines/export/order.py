"""`pada export --out`: which options go together, and what each asks for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.export.alike import LEAST
from pada_agent.pipelines.export.data import WantedData, export_data
from pada_agent.pipelines.export.model import Wanted, export_model, fetch_model


@dataclass(frozen=True)
class Order:
    """The options of the command; empty ones are not wanted."""

    export_uri: str = ""
    run_dir: str = ""
    out: Path | None = None
    merge: bool = False
    gguf: str = ""
    least_equal: float | None = None
    data: Literal["", "chat", "alpaca", "parquet", "preference"] = ""
    push: str = ""
    public: bool = False
    name: str = ""


def carry_out(order: Order, say: Callable[[str], object]) -> None:
    """Write what is wanted into the folder `out`, if one is given. Raises InputError for options that do not fit."""
    _check(order)
    if order.out is None:
        return
    if order.data:
        export_data(order.run_dir, order.out, WantedData(order.data, order.push, order.public, order.name), say)
        return
    wanted = Wanted(
        order.merge, order.gguf, order.push, order.public, order.name, LEAST if order.least_equal is None else order.least_equal
    )
    if order.run_dir:
        export_model(order.run_dir, order.out, wanted, say)
    else:
        fetch_model(order.export_uri, order.out, wanted, say)


def _check(order: Order) -> None:
    """No option may be given in vain."""
    if order.out is None:
        for option in ("merge", "gguf", "data", "push", "public"):
            if getattr(order, option):
                raise InputError(f"--{option}: is for --out; give that too, or leave it out")
        if not order.export_uri:
            raise InputError("give --out for a folder here, or --export-uri for a place that a cluster takes the adapter from")
        return
    if ":/" in str(order.out):
        raise InputError(f"--out {order.out}: is a local folder; --export-uri is for a store")
    if not order.run_dir and (order.data or not order.export_uri):
        raise InputError("--out: give the run as --run-dir" + ("" if order.data else ", or an adapter's place as --export-uri"))
    if order.public and not order.push:
        raise InputError("--public: is for --push; give that too, or leave it out")
    if order.data and (order.merge or order.gguf):
        raise InputError("--data: exports rows in place of the model; leave --merge and --gguf out")
    if order.least_equal is not None and not (order.merge or order.gguf):
        raise InputError("--least-equal: is for --merge and --gguf; give one of them too, or leave it out")
