"""docs/publishing.md is run: its commands against a service, its library in a plan."""

import json
import re
import shlex
from pathlib import Path

from tests.api.running import PLAN

PAGE = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_run_in_its_order(finerank, service):
    service.publish(PLAN)
    Path("lengths.json").write_text(blocks("json")[0])
    commands = [shlex.split(line, comments=True) for b in blocks("sh") for line in b.splitlines()]
    assert len(commands) > 10
    for program, *arguments in commands:
        assert program == "finerank"
        finerank(*arguments)


def test_the_library_of_the_page_can_be_pinned(finerank, service):
    Path("lengths.json").write_text(blocks("json")[0])
    finerank("library", "publish", "lengths", "lengths.json", "--yes")
    version = service.client.get("/v1/libraries/lengths").json()["version"]
    formulas = json.loads("{" + re.search(r'"formulas": {"base": {"from".*?}}}', PAGE)[0] + "}")
    plan = {**PLAN, "layers": [], "force": {}, "library": {"lengths": version}, **formulas}
    service.publish(plan)
    reply = service.rank({"scene": "feed", "items": [{"id": "i20"}]}).json()
    assert reply["items"][0]["score"] > 0
