"""The first tables: made from the models as they stood at the first release.

Later revisions are written by hand with `op`; this one creates whatever the models name.
"""

from alembic import op

from infra.adapters.catalog.tables import Base

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    Base.metadata.create_all(op.get_bind())


def downgrade() -> None:
    Base.metadata.drop_all(op.get_bind())
