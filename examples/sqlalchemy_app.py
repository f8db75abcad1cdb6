"""SQLAlchemy's ORM with replication: attach the engine once, and commit as ever.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 python examples/sqlalchemy_app.py
"""

import os

from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from afterquery import Replicator
from afterquery.sqlalchemy import attach


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///app.db"))
replicas = os.environ["REPLICAS"].split(",")

with Replicator(replicas, auth_token=os.environ["AFTERQUERY_TOKEN"], ddl=True) as replicator:
    attached = attach(engine, replicator)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([User(name="Ada"), User(name="Grace")])
        session.commit()  # one write, submitted when the database has it
        session.add(User(name="nobody"))
        session.flush()
        session.rollback()  # no replica ever hears of it
        print(*session.scalars(select(User.name).order_by(User.id)), sep=", ")
    if attached.last is not None:  # only if you want to know; nothing needs it
        for outcome in attached.last.wait(timeout=10):
            print(outcome.replica, outcome.status)
