"""Users."""

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy import select

from tracker.models import User
from tracker.routes.common import SessionDep, change, commit, found
from tracker.schemas import UserIn, UserOut, UserPatch

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=201, response_model=UserOut)
def create(session: SessionDep, given: UserIn) -> User:
    user = User(**given.model_dump())
    session.add(user)
    commit(session)
    return user


@router.get("", response_model=list[UserOut])
def show_all(session: SessionDep) -> Sequence[User]:
    return session.scalars(select(User).order_by(User.id)).all()


@router.get("/{user_id}", response_model=UserOut)
def show(session: SessionDep, user_id: int) -> User:
    return found(session.get(User, user_id))


@router.patch("/{user_id}", response_model=UserOut)
def edit(session: SessionDep, user_id: int, given: UserPatch) -> User:
    user = found(session.get(User, user_id))
    change(user, given)
    commit(session)
    return user


@router.delete("/{user_id}", status_code=204)
def remove(session: SessionDep, user_id: int) -> None:
    session.delete(found(session.get(User, user_id)))
    commit(session)
