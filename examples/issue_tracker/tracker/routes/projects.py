"""Projects."""

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker.models import Project
from tracker.routes.common import SessionDep, change, commit, found
from tracker.schemas import ProjectIn, ProjectOut, ProjectPatch

router = APIRouter(prefix="/projects", tags=["projects"])


def project_of(session: Session, key: str) -> Project:
    return found(session.scalars(select(Project).where(Project.key == key)).one_or_none())


@router.post("", status_code=201, response_model=ProjectOut)
def create(session: SessionDep, given: ProjectIn) -> Project:
    project = Project(**given.model_dump())
    session.add(project)
    commit(session)
    return project


@router.get("", response_model=list[ProjectOut])
def show_all(session: SessionDep) -> Sequence[Project]:
    return session.scalars(select(Project).order_by(Project.key)).all()


@router.get("/{key}", response_model=ProjectOut)
def show(session: SessionDep, key: str) -> Project:
    return project_of(session, key)


@router.patch("/{key}", response_model=ProjectOut)
def edit(session: SessionDep, key: str, given: ProjectPatch) -> Project:
    project = project_of(session, key)
    change(project, given)
    commit(session)
    return project


@router.delete("/{key}", status_code=204)
def remove(session: SessionDep, key: str) -> None:
    session.delete(project_of(session, key))
    commit(session)
