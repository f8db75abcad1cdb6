from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.testclient import TestClient


def numbers(found: Any) -> list[int]:
    return [issue["number"] for issue in found.json()]


def test_issues(client: TestClient, ada: int, project: str) -> None:
    assert numbers(client.get(f"{project}/issues")) == [1, 2]
    issue = client.get(f"{project}/issues/1").json()
    assert (issue["title"], issue["status"], issue["assignee_id"]) == ("It is slow", "open", None)
    patch = {"status": "closed", "assignee_id": ada, "body": "It's “done” ☃"}
    changed = client.patch(f"{project}/issues/1", json=patch).json()
    assert changed == {**issue, **patch, "updated_at": changed["updated_at"]}
    assert numbers(client.get(f"{project}/issues", params={"status": "open"})) == [2]
    assert client.patch(f"{project}/issues/1", json={"status": "gone"}).status_code == 422
    assert client.delete(f"{project}/issues/2").status_code == 204
    assert client.get(f"{project}/issues/2").status_code == 404


def test_an_issue_needs_an_author(client: TestClient, project: str) -> None:
    issue = {"title": "by nobody", "author_id": 12345, "labels": ["new"]}
    assert client.post(f"{project}/issues", json=issue).status_code == 409
    assert numbers(client.get(f"{project}/issues")) == [1, 2]
    assert "new" not in str(client.get(f"{project}/labels").json())


def test_an_import_takes_what_it_can(client: TestClient, ada: int, project: str) -> None:
    given = [{"title": f"{n}", "author_id": ada if n % 3 else 12345} for n in range(9)]
    counts = client.post(f"{project}/issues/import", json=given).json()
    assert counts == {"taken": 6, "refused": 3}
    assert numbers(client.get(f"{project}/issues")) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_labels_of_an_issue(client: TestClient, project: str) -> None:
    for name in ("red", "red", "bug"):
        labelled = client.put(f"{project}/issues/2/labels/{name}").json()
    assert [label["name"] for label in labelled["labels"]] == ["bug", "red"]
    assert numbers(client.get(f"{project}/issues", params={"label": "bug"})) == [1, 2]
    assert client.delete(f"{project}/issues/2/labels/bug").status_code == 204
    assert client.delete(f"{project}/issues/2/labels/bug").status_code == 404
    assert numbers(client.get(f"{project}/issues", params={"label": "bug"})) == [1]


def test_labels_of_a_project(client: TestClient, project: str) -> None:
    made = client.post(f"{project}/labels", json={"name": "later"}).json()
    assert client.post(f"{project}/labels", json={"name": "later"}).status_code == 409
    names = [label["name"] for label in client.get(f"{project}/labels").json()]
    assert names == ["bug", "later", "speed"]
    url = f"/labels/{made['id']}"
    assert client.patch(url, json={"name": "bug"}).status_code == 409
    assert client.patch(url, json={"name": "never"}).json() == {**made, "name": "never"}
    assert client.get(url).json()["name"] == "never"
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404


def test_comments(client: TestClient, ada: int, project: str) -> None:
    url = f"{project}/issues/1/comments"
    first = client.post(url, json={"author_id": ada, "body": "me too"}).json()
    second = client.post(url, json={"author_id": ada, "body": "me three"}).json()
    assert client.post(url, json={"author_id": 12345, "body": "?"}).status_code == 409
    edited = client.patch(f"/comments/{first['id']}", json={"body": "me neither"}).json()
    assert edited == {**first, "body": "me neither", "edited": True}
    assert client.get(url).json() == [edited, second]
    assert client.delete(f"/comments/{second['id']}").status_code == 204
    assert client.get(f"/comments/{second['id']}").status_code == 404
    assert client.delete(f"{project}/issues/1").status_code == 204
    assert client.get(f"/comments/{first['id']}").status_code == 404


def test_many_at_once(client: TestClient, ada: int, project: str) -> None:
    url = f"{project}/issues/1/comments"

    def comment(number: int) -> Any:
        return client.post(url, json={"author_id": ada, "body": f"{number}"}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(comment, range(40))) == [201] * 40
    bodies = {comment["body"] for comment in client.get(url).json()}
    assert bodies == {str(number) for number in range(40)}
