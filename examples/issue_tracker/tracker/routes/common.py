"""What all routes share."""

from typing import Annotated, TypeVar

from fastapi import Depends, HTTPException
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tracker.database import Base, get_session

SessionDep = Annotated[Session, Depends(get_session)]
Model = TypeVar("Model", bound=Base)


def found(row: Model | None) -> Model:
    if row is None:
        raise HTTPException(404)
    return row


def change(row: Base, patch: BaseModel) -> None:
    for name, value in patch.model_dump(exclude_unset=True).items():
        setattr(row, name, value)


def commit(session: Session) -> None:
    """Commit; what the database's constraints refuse is a conflict."""
    try:
        session.commit()
    except IntegrityError as error:
        session.rollback()
        raise HTTPException(409, "it conflicts with what is there") from error
