"""Comments know whether they were edited, and always have a text."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("UPDATE comments SET body = '' WHERE body IS NULL")
    with op.batch_alter_table("comments") as batch:
        batch.add_column(sa.Column("edited", sa.Boolean, nullable=False, server_default=sa.false()))
        batch.alter_column("body", existing_type=sa.String, nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("comments") as batch:
        batch.alter_column("body", existing_type=sa.String, nullable=True)
        batch.drop_column("edited")
