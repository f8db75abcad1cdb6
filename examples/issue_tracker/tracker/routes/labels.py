"""Labels of a project."""

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy import select

from tracker.models import Label
from tracker.routes.common import SessionDep, change, commit, found
from tracker.routes.projects import project_of
from tracker.schemas import LabelIn, LabelOut

router = APIRouter(tags=["labels"])


@router.post("/projects/{key}/labels", status_code=201, response_model=LabelOut)
def create(session: SessionDep, key: str, given: LabelIn) -> Label:
    label = Label(project_id=project_of(session, key).id, name=given.name)
    session.add(label)
    commit(session)
    return label


@router.get("/projects/{key}/labels", response_model=list[LabelOut])
def show_all(session: SessionDep, key: str) -> Sequence[Label]:
    project = project_of(session, key)
    labels = select(Label).where(Label.project_id == project.id)
    return session.scalars(labels.order_by(Label.name)).all()


@router.get("/labels/{label_id}", response_model=LabelOut)
def show(session: SessionDep, label_id: int) -> Label:
    return found(session.get(Label, label_id))


@router.patch("/labels/{label_id}", response_model=LabelOut)
def edit(session: SessionDep, label_id: int, given: LabelIn) -> Label:
    label = found(session.get(Label, label_id))
    change(label, given)
    commit(session)
    return label


@router.delete("/labels/{label_id}", status_code=204)
def remove(session: SessionDep, label_id: int) -> None:
    session.delete(found(session.get(Label, label_id)))
    commit(session)
