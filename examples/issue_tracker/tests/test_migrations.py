from alembic import command
from alembic.config import Config
from sqlalchemy import insert, inspect, select, text
from tracker.database import Base, engine
from tracker.models import Comment, Issue, Project, User, now


def test_the_migrations_make_the_models() -> None:
    found = inspect(engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"] for column in found.get_columns(table.name)}
        assert columns == set(table.columns.keys())


def test_down_and_up_again_keeps_the_rows(alembic: Config) -> None:
    with engine.begin() as connection:
        connection.execute(insert(User).values(id=1, name="Ada", email="a@example.com"))
        connection.execute(insert(Project).values(id=1, key="K", name="K"))
        values = {"id": 1, "project_id": 1, "number": 1, "title": "T", "author_id": 1}
        connection.execute(insert(Issue).values(**values))
        rows = [{"issue_id": 1, "author_id": 1, "body": f"b{n}"} for n in range(20)]
        connection.execute(insert(Comment), rows)
    command.downgrade(alembic, "0001")
    with engine.begin() as connection:
        comment = "INSERT INTO comments (issue_id, author_id, created_at) VALUES (1, 1, :at)"
        connection.execute(text(comment), {"at": now()})
    command.upgrade(alembic, "head")
    with engine.connect() as connection:
        bodies = connection.scalars(select(Comment.body).order_by(Comment.id)).all()
    assert bodies == [*(row["body"] for row in rows), ""]


def test_all_the_way_down(alembic: Config) -> None:
    command.downgrade(alembic, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    command.upgrade(alembic, "head")
