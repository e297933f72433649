"""The published JSON schemas of the records in episode files."""

from robostack.core.spec import Spec, Term
from robostack.core.types import Who

HEADER, OBSERVATION, STEP, END = "header", "observation", "step", "end"
RECORDS = (HEADER, OBSERVATION, STEP, END)


def schemas(spec: Spec) -> dict[str, dict]:
    """JSON schema of each record, in the order of their channels."""
    number, text, flag = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
    count, anything, action = {"type": "integer"}, {"type": "object"}, _numbers(*spec.action)
    terms = {
        "type": "object",
        "properties": {term.name: _numbers(term) for term in spec.observation},
    }
    step = {
        "action_policy": action,
        "action": action,
        "who": {"enum": [who.name.lower() for who in Who]},
    }
    step |= {"reward": number, "terminated": flag, "truncated": flag, "parameters": count}
    step |= {"stamp": number, "age": number, "lateness": number, "guard": text}
    optional = {"guide": action}  # only in runs with a mask
    end = {"steps": count, "is_success": flag, "person_steps": count, "parameters": count}
    records = {
        HEADER: {"format": count, "header": anything, "spec": anything},
        OBSERVATION: {"frame": count, "terms": terms},
        STEP: {"step": count, **step, **optional},
        END: end,
    }
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {**properties, "crc32": count},
            "required": [*(name for name in properties if name not in optional), "crc32"],
        }
        for name, properties in records.items()
    }


def _numbers(*terms: Term) -> dict:
    """An array as long as the terms together, described by their units, frames and scales."""
    size = sum(term.size for term in terms)
    about = (
        f"{t.name}: {t.unit}; frame: {t.frame or 'none'}; value = number times {list(t.scale)}"
        for t in terms
    )
    array = {"type": "array", "items": {"type": "number"}, "minItems": size, "maxItems": size}
    return {**array, "description": "; ".join(about)}
