"""The methods by name, each with its class in the file of that name; `load_method` is in method.py."""

METHODS = {
    "pada": "Pada",
    "random_strategy": "RandomStrategy",
    "auggpt": "AugGpt",
    "learning_from_error": "LearningFromError",
    "learning_by_contrast": "LearningByContrast",
    "llm2llm": "Llm2Llm",
    "duplicate": "Duplicate",
}
