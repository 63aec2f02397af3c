"""`python correct_in_label_studio.py URL TOKEN DIR CHOICE`: loads an export into Label Studio and corrects one task.

DIR holds `labelstudio.json` and `labelstudio.xml`; what Label Studio exports is written beside them as `back.json`.
Runs in the tools' environment, without evenskin.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import requests

LIMIT_S = 60


def main(url: str, token: str, folder: Path, choice: str) -> None:
    """Raise AssertionError where Label Studio refuses the tasks, or their pictures are not found."""
    session = requests.Session()
    session.headers["Authorization"] = f"Token {token}"

    def ask(method: str, path: str, **options: Any) -> Any:
        answer = session.request(method, url + path, timeout=LIMIT_S, **options)
        assert answer.ok, (path, answer.status_code, answer.text[:500])
        return answer.json()

    tasks = json.loads((folder / "labelstudio.json").read_bytes())
    for task in tasks:
        picture = requests.get(task["data"]["image"], timeout=LIMIT_S)
        assert (picture.status_code, picture.headers["Content-Type"].split("/")[0]) == (200, "image")
    configuration = (folder / "labelstudio.xml").read_text()
    project = ask("POST", "/api/projects", json={"title": "Interop", "label_config": configuration})["id"]
    loaded = ask("POST", f"/api/projects/{project}/import", json=tasks)
    assert loaded["task_count"] == len(tasks)
    assert loaded["annotation_count"] == sum("annotations" in task for task in tasks)
    assert loaded["prediction_count"] == sum("predictions" in task for task in tasks)
    export = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
    annotation = next(task for task in ask("GET", export) if task["annotations"])["annotations"][0]
    annotation["result"][0]["value"]["choices"] = [choice]
    ask("PATCH", f"/api/annotations/{annotation['id']}", json={"result": annotation["result"]})
    (folder / "back.json").write_text(json.dumps(ask("GET", export)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
