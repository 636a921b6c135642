"""What the OpenAPI document says about bodies that the routes read themselves."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from service.api.messages import Problem
from service.api.problems import MEDIA_TYPE


def body_of(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `requestBody` of a route, by the message that checks it."""
    content = {"application/json": {"schema": _inlined(model)}}
    return {"requestBody": {"required": required, "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of the refusals a route may answer."""
    schema = _inlined(Problem)
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema with its `$defs` put where they are used."""
    schema = model.model_json_schema()
    defs = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(defs[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved
