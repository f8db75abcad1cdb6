"""The application: `alembic upgrade head`, then `uvicorn tracker.app:app`."""

from fastapi import FastAPI

from tracker.routes import comments, issues, labels, projects, users

app = FastAPI(title="Issue tracker")
for module in (users, projects, labels, issues, comments):
    app.include_router(module.router)
