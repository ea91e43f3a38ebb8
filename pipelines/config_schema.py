"""The JSON schema of a run's config, for editors: `config.schema.json`, written from the settings' own models.

python -m pada_agent.pipelines.config_schema          writes it anew; a test holds it equal to the code
"""

import json
from pathlib import Path
from typing import Any

from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.custom_options import CustomOptions

SCHEMA_FILE = Path(__file__).with_name("config.schema.json")


def config_schema() -> dict[str, Any]:
    """Of `Settings`; where the task is `custom` its options are those of `CustomOptions`."""
    schema = Settings.model_json_schema()
    schema["properties"]["scorer"]["anyOf"].append({"enum": ["teacher", "judge"]})
    options = CustomOptions.model_json_schema(ref_template="#/$defs/{model}")
    schema["$defs"] |= options.pop("$defs", {}) | {"CustomOptions": options}
    schema["$defs"]["TaskSettings"] |= {
        "if": {"properties": {"name": {"const": "custom"}}},
        "then": {"properties": {"options": {"$ref": "#/$defs/CustomOptions"}}, "required": ["options"]},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Config of PaDA-Agent"}


def schema_text() -> str:
    """The file's content."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
