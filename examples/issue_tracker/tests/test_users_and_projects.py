from fastapi.testclient import TestClient


def test_users(client: TestClient, ada: int) -> None:
    grace = client.post("/users", json={"name": "Grace", "email": "grace@example.com"}).json()
    assert [user["name"] for user in client.get("/users").json()] == ["Ada", "Grace"]
    url = f"/users/{grace['id']}"
    assert client.patch(url, json={"name": "Grace H."}).json() == {**grace, "name": "Grace H."}
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    assert client.get(f"/users/{ada}").json()["email"] == "ada@example.com"


def test_an_address_can_be_taken_once(client: TestClient, ada: int) -> None:
    again = {"name": "Another Ada", "email": "ada@example.com"}
    assert client.post("/users", json=again).status_code == 409
    assert [user["id"] for user in client.get("/users").json()] == [ada]
    grace = client.post("/users", json={"name": "Grace", "email": "grace@example.com"}).json()
    url = f"/users/{grace['id']}"
    assert client.patch(url, json={"email": "ada@example.com"}).status_code == 409
    assert client.get(url).json() == grace


def test_an_author_stays(client: TestClient, ada: int, project: str) -> None:
    assert client.delete(f"/users/{ada}").status_code == 409
    assert len(client.get(f"{project}/issues").json()) == 2


def test_projects(client: TestClient) -> None:
    first = client.post("/projects", json={"key": "A", "name": "one"}).json()
    client.post("/projects", json={"key": "B", "name": "two"})
    assert client.post("/projects", json={"key": "A", "name": "three"}).status_code == 409
    assert client.get("/projects/A").json() == first
    assert client.patch("/projects/A", json={"name": "won"}).json()["name"] == "won"
    assert [project["key"] for project in client.get("/projects").json()] == ["A", "B"]
    assert client.delete("/projects/A").status_code == 204
    assert client.delete("/projects/A").status_code == 404


def test_a_project_takes_all_of_it_along(client: TestClient, ada: int, project: str) -> None:
    client.post(f"{project}/issues/1/comments", json={"author_id": ada, "body": "so it is"})
    assert client.delete(project).status_code == 204
    assert client.get(f"{project}/issues").status_code == 404
    assert client.delete(f"/users/{ada}").status_code == 204
