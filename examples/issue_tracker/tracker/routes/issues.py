"""Issues of a project, and their labels."""

from collections.abc import Sequence

from fastapi import APIRouter, HTTPException
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tracker.models import Issue, Label, Project
from tracker.routes.common import SessionDep, change, commit, found
from tracker.routes.projects import project_of
from tracker.schemas import IssueIn, IssueOut, IssuePatch, Status

router = APIRouter(prefix="/projects/{key}/issues", tags=["issues"])


def issue_of(session: Session, key: str, number: int) -> Issue:
    project = project_of(session, key)
    issues = select(Issue).where(Issue.project_id == project.id, Issue.number == number)
    return found(session.scalars(issues).one_or_none())


def label_of(session: Session, project: Project, name: str) -> Label:
    """The label of that name; a new one where there is none."""
    labels = select(Label).where(Label.project_id == project.id, Label.name == name)
    return session.scalars(labels).one_or_none() or Label(project_id=project.id, name=name)


@router.post("", status_code=201, response_model=IssueOut)
def create(session: SessionDep, key: str, given: IssueIn) -> Issue:
    project = project_of(session, key)
    highest = select(func.max(Issue.number)).where(Issue.project_id == project.id)
    issue = Issue(
        project_id=project.id,
        number=(session.scalar(highest) or 0) + 1,
        **given.model_dump(exclude={"labels"}),
    )
    issue.labels = [label_of(session, project, name) for name in given.labels]
    session.add(issue)
    commit(session)
    return issue


@router.get("", response_model=list[IssueOut])
def show_all(
    session: SessionDep, key: str, status: Status | None = None, label: str | None = None
) -> Sequence[Issue]:
    issues = select(Issue).where(Issue.project_id == project_of(session, key).id)
    if status is not None:
        issues = issues.where(Issue.status == status)
    if label is not None:
        issues = issues.where(Issue.labels.any(Label.name == label))
    return session.scalars(issues.order_by(Issue.number)).all()


@router.get("/{number}", response_model=IssueOut)
def show(session: SessionDep, key: str, number: int) -> Issue:
    return issue_of(session, key, number)


@router.patch("/{number}", response_model=IssueOut)
def edit(session: SessionDep, key: str, number: int, given: IssuePatch) -> Issue:
    issue = issue_of(session, key, number)
    change(issue, given)
    commit(session)
    return issue


@router.delete("/{number}", status_code=204)
def remove(session: SessionDep, key: str, number: int) -> None:
    session.delete(issue_of(session, key, number))
    commit(session)


@router.post("/import", status_code=201)
def import_all(session: SessionDep, key: str, given: list[IssueIn]) -> dict[str, int]:
    """Take all that can be taken; what cannot is left out and counted."""
    project = project_of(session, key)
    taken = 0
    for entry in given:
        highest = select(func.max(Issue.number)).where(Issue.project_id == project.id)
        number = (session.scalar(highest) or 0) + 1
        try:
            with session.begin_nested():
                session.add(
                    Issue(
                        project_id=project.id,
                        number=number,
                        **entry.model_dump(exclude={"labels"}),
                    )
                )
            taken += 1
        except IntegrityError:
            continue
    commit(session)
    return {"taken": taken, "refused": len(given) - taken}


@router.put("/{number}/labels/{name}", response_model=IssueOut)
def put_label(session: SessionDep, key: str, number: int, name: str) -> Issue:
    issue = issue_of(session, key, number)
    label = label_of(session, project_of(session, key), name)
    if label not in issue.labels:
        issue.labels.append(label)
    commit(session)
    session.refresh(issue)
    return issue


@router.delete("/{number}/labels/{name}", status_code=204)
def take_label(session: SessionDep, key: str, number: int, name: str) -> None:
    issue = issue_of(session, key, number)
    label = label_of(session, project_of(session, key), name)
    if label not in issue.labels:
        raise HTTPException(404)
    issue.labels.remove(label)
    commit(session)
