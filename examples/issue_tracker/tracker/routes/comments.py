"""Comments on an issue."""

from fastapi import APIRouter

from tracker.models import Comment
from tracker.routes.common import SessionDep, commit, found
from tracker.routes.issues import issue_of
from tracker.schemas import CommentIn, CommentOut, CommentPatch

router = APIRouter(tags=["comments"])


@router.post("/projects/{key}/issues/{number}/comments", status_code=201, response_model=CommentOut)
def create(session: SessionDep, key: str, number: int, given: CommentIn) -> Comment:
    issue = issue_of(session, key, number)
    comment = Comment(issue_id=issue.id, **given.model_dump())
    session.add(comment)
    commit(session)
    return comment


@router.get("/projects/{key}/issues/{number}/comments", response_model=list[CommentOut])
def show_all(session: SessionDep, key: str, number: int) -> list[Comment]:
    return issue_of(session, key, number).comments


@router.get("/comments/{comment_id}", response_model=CommentOut)
def show(session: SessionDep, comment_id: int) -> Comment:
    return found(session.get(Comment, comment_id))


@router.patch("/comments/{comment_id}", response_model=CommentOut)
def edit(session: SessionDep, comment_id: int, given: CommentPatch) -> Comment:
    comment = found(session.get(Comment, comment_id))
    comment.body = given.body
    comment.edited = True
    commit(session)
    return comment


@router.delete("/comments/{comment_id}", status_code=204)
def remove(session: SessionDep, comment_id: int) -> None:
    session.delete(found(session.get(Comment, comment_id)))
    commit(session)
