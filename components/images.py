"""The only table of image names: which image each stage runs in. Registry and tag are chosen when a package is compiled."""

REPOSITORY = "pada-agent"
TAG = "0.1.0"
ROLES = {
    "agents": ("generate_data", "control_quality", "update_state"),  # CPU, no torch
    "analysis": ("prepare_data", "analyze_patterns"),  # CPU, Parquet, embeddings
    "slm": ("train_lora", "evaluate_slm"),  # CUDA
}


def role_of(stage: str) -> str:
    """The role of the image that `stage` runs in."""
    return next(role for role, stages in ROLES.items() if stage in stages)


def image(stage: str, registry: str = "", tag: str = TAG) -> str:
    """`registry/pada-agent/role:tag`; without a registry the name alone, as `make images` tags it."""
    name = f"{REPOSITORY}/{role_of(stage)}:{tag}"
    return f"{registry.rstrip('/')}/{name}" if registry else name
