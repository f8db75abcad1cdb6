"""SQLModel with FastAPI and replication; run it as `fastapi_app.py` is run.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 uvicorn sqlmodel_app:app --app-dir examples
curl -X POST localhost:8000/heroes -H 'content-type: application/json' -d '{"name": "Deadpond"}'
"""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlmodel import Field, Session, SQLModel, create_engine, select

from afterquery import Replicator
from afterquery.sqlalchemy import attach


class HeroIn(SQLModel):
    name: str
    age: int | None = None


class Hero(HeroIn, table=True):
    id: int | None = Field(default=None, primary_key=True)


engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///app.db"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    replicas = os.environ["REPLICAS"].split(",")
    token = os.environ["AFTERQUERY_TOKEN"]
    async with Replicator(replicas, auth_token=token, ddl=True) as replicator:
        attached = attach(engine, replicator)
        SQLModel.metadata.create_all(engine)
        yield  # leaving waits a few seconds for the replicas
        attached.detach()


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


app = FastAPI(lifespan=lifespan)
SessionDep = Annotated[Session, Depends(get_session)]


@app.post("/heroes", status_code=201, response_model=Hero)
def add_hero(session: SessionDep, given: HeroIn) -> Hero:
    hero = Hero(**given.model_dump())
    session.add(hero)
    session.commit()
    session.refresh(hero)
    return hero


@app.get("/heroes", response_model=list[Hero])
def list_heroes(session: SessionDep) -> Sequence[Hero]:
    return session.exec(select(Hero).order_by(Hero.name)).all()
