"""What goes in and what comes out."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["open", "in progress", "closed"]


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int


class UserIn(BaseModel):
    name: str
    email: str


class UserPatch(BaseModel):
    name: str | None = None
    email: str | None = None


class UserOut(Out, UserIn):
    pass


class ProjectIn(BaseModel):
    key: str
    name: str


class ProjectPatch(BaseModel):
    name: str


class ProjectOut(Out, ProjectIn):
    pass


class LabelIn(BaseModel):
    name: str


class LabelOut(Out, LabelIn):
    pass


class IssueIn(BaseModel):
    title: str
    body: str = ""
    author_id: int
    assignee_id: int | None = None
    labels: list[str] = []


class IssuePatch(BaseModel):
    title: str | None = None
    body: str | None = None
    status: Status | None = None
    assignee_id: int | None = None


class IssueOut(Out):
    number: int
    title: str
    body: str
    status: Status
    author_id: int
    assignee_id: int | None
    created_at: datetime
    updated_at: datetime
    labels: list[LabelOut]


class CommentIn(BaseModel):
    author_id: int
    body: str


class CommentPatch(BaseModel):
    body: str


class CommentOut(Out, CommentIn):
    edited: bool
    created_at: datetime
