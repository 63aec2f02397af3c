"""The ledger's tables. Times are seconds since the epoch; money is in millionths of a US dollar.

Counters are sharded: a shard is one row, so that concurrent transactions seldom wait for each other,
and a total is the sum over a handful of rows however large the dataset is (invariant 9).
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself

image_table = sa.Table(
    "images",
    metadata,
    sa.Column("sequence", _BIG, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("key", sa.String(512), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("media_type", sa.String(32), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("skin_tone", sa.Integer),
    sa.Column("root_id", sa.Uuid, nullable=False),
    sa.Column("fold", sa.String(16), nullable=False),
    sa.Column("near_duplicate_of", sa.Uuid),  # the oldest image that it looked the same as when it came
    sa.Column("group_name", sa.String(200)),  # whose images, as who brought it in says
    sa.Column("provider", sa.String(64)),
    sa.Column("provider_model", sa.String(128)),
    sa.Column("provider_request_id", sa.String(256)),
    sa.Column("prompt", sa.Text),
    sa.Column("cost_micro_usd", sa.BigInteger, nullable=False, default=0),
    sa.Column("quality", sa.JSON, nullable=False),
    sa.Column("frame", sa.JSON(none_as_null=True)),  # NULL: from before frames were kept
    sa.Column("corrected_square", sa.JSON(none_as_null=True)),  # in the frame's stead, as a person set it
    sa.Column("square_reviewer", sa.String(128)),  # who did
    sa.Column("perceptual_hash", sa.LargeBinary(32)),
    sa.Column("slot_id", sa.Uuid),
    sa.Column("attempt", sa.Integer),
    sa.Column("reviewer", sa.String(128)),
    sa.Column("reason", sa.Text),
    sa.Column("disputed", sa.Boolean, nullable=False, server_default=sa.false()),  # its reviewers disagree
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("labeled_at", sa.Double),
    sa.Column("augmented_at", sa.Double),
    sa.Column("augment_due_at", sa.Double),
    sa.Column("augment_asks", sa.Integer, nullable=False, server_default="0"),  # how often it was asked for again
    sa.Index(None, "status", "sequence"),
    sa.Index(None, "augment_due_at"),
    sa.Index(None, "slot_id"),
)

label_table = sa.Table(
    "image_labels",
    metadata,
    sa.Column("image_id", sa.Uuid, sa.ForeignKey("images.id"), primary_key=True),
    sa.Column("condition", sa.String(32), primary_key=True),
    sa.Column("severity", sa.Integer),  # NULL: present, not graded
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Index(None, "condition", "severity", "sequence"),
)

band_table = sa.Table(
    "image_bands",
    metadata,
    sa.Column("band", sa.BigInteger, nullable=False),
    sa.Column("image_id", sa.Uuid, sa.ForeignKey("images.id"), nullable=False),
    sa.Column("perceptual_hash", sa.LargeBinary),  # the image's
    # With the hash in it, a look at those alike reads the index alone: in SQLite the index is the table.
    sa.PrimaryKeyConstraint("band", "image_id", postgresql_include=["perceptual_hash"]),
    sqlite_with_rowid=False,
)

variant_table = sa.Table(
    "variants",
    metadata,
    sa.Column("image_id", sa.Uuid, sa.ForeignKey("images.id"), primary_key=True),
    sa.Column("operation", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(512), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
)

campaign_table = sa.Table(
    "campaigns",
    metadata,
    sa.Column("sequence", _BIG, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("targets", sa.JSON, nullable=False),
    sa.Column("quotas", sa.JSON, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("slots_made", sa.Integer, nullable=False, server_default="0"),  # or given up: the first so many
    sa.Column("review", sa.String(16), nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("max_cost_micro_usd", sa.BigInteger),
    sa.Column("price_micro_usd", sa.BigInteger, nullable=False),
    sa.Column("committed_micro_usd", sa.BigInteger, nullable=False, default=0),
    sa.Column("correlation_id", sa.String(128), nullable=False),
    sa.Column("traceparent", sa.String(128)),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("closing_at", sa.Double),
    sa.Column("met_at", sa.Double),
    sa.Column("dataset_version", sa.String(64)),
    sa.Column("model_version", sa.String(128)),
    sa.Column("model_due_at", sa.Double),
    sa.Index(None, "state"),
    sa.Index(None, "model_due_at"),
)

slot_table = sa.Table(
    "slots",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("campaign_id", sa.Uuid, sa.ForeignKey("campaigns.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("condition", sa.String(32), nullable=False),
    sa.Column("severity", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("subject", sa.JSON, nullable=False),
    sa.Column("rejections", sa.JSON, nullable=False),
    sa.Column("unsettled", sa.JSON, nullable=False, server_default="[]"),  # attempts whose cost is not known yet
    sa.Column("asks", sa.Integer, nullable=False, server_default="0"),  # how often its attempt was asked for again
    sa.Column("given_up", sa.JSON, nullable=False, server_default="[]"),  # attempts booked as paid without an answer
    sa.Column("image_id", sa.Uuid),  # of the image that holds it: looked at, or accepted for it
    sa.Column("deadline", sa.Double),  # while a request is out, or a rejection may be taken back
    sa.Index(None, "campaign_id", "state"),
    sa.Index(None, "deadline"),
)

counter_table = sa.Table(
    "counters",
    metadata,
    # Ordered by bytes, so that a prefix is a range in every database's collation.
    sa.Column("name", sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql"), primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

review_table = sa.Table(
    "reviews",
    metadata,
    sa.Column("sequence", _BIG, primary_key=True, autoincrement=True),
    sa.Column("image_id", sa.Uuid, sa.ForeignKey("images.id"), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("reviewer", sa.String(128), nullable=False),
    sa.Column("key", sa.Uuid),  # its sender's own, by which the same review sent again is known
    sa.Column("confidence", sa.Double),  # 1 to 5
    sa.Column("seconds", sa.Double),  # that the reviewer looked at the image
    sa.Column("before", sa.JSON, nullable=False),  # status, labels and reviewer, for the undo
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("undone_at", sa.Double),
    sa.Index(None, "reviewer", "sequence"),
    sa.Index(None, "image_id"),
    sa.Index(None, "key", unique=True),
)

audit_table = sa.Table(
    "audit_log",
    metadata,
    sa.Column("sequence", _BIG, primary_key=True, autoincrement=True),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("image_id", sa.Uuid, nullable=False),
    sa.Column("actor", sa.String(128), nullable=False),
    sa.Column("before", sa.JSON, nullable=False),
    sa.Column("after", sa.JSON, nullable=False),
    sa.Column("said", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

dataset_table = sa.Table(
    "datasets",
    metadata,
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("manifest_key", sa.String(512), nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("folds", sa.JSON, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("variants", sa.Integer, nullable=False),
    sa.Column("without_variants", sa.Integer),  # images that have none; not known of datasets from before this column
    sa.Column("created_at", sa.Double, nullable=False),
)

epoch_table = sa.Table(
    "training_epochs",
    metadata,
    sa.Column("campaign_id", sa.Uuid, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String(128), nullable=False),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("train_loss", sa.Double, nullable=False),
    sa.Column("validation_loss", sa.Double, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
)

model_table = sa.Table(
    "models",
    metadata,
    sa.Column("version", sa.String(128), primary_key=True),
    sa.Column("campaign_id", sa.Uuid, nullable=False),
    sa.Column("run_id", sa.String(128), nullable=False),
    sa.Column("dataset_version", sa.String(64), nullable=False),
    sa.Column("key", sa.String(512), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("comparison", sa.JSON),
    sa.Column("promoted", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", sa.Double, nullable=False),
)

outbox_table = sa.Table(
    "outbox",
    metadata,
    sa.Column("sequence", _BIG, primary_key=True, autoincrement=True),
    sa.Column("message_id", sa.String(128), nullable=False),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("correlation_id", sa.String(128), nullable=False),
    sa.Column("traceparent", sa.String(128)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("parked_at", sa.Double),  # since when it is not tried any more, because of the error
    sa.Column("error", sa.Text),
    sa.Index(None, "due_at", "sequence"),
)

webhook_table = sa.Table(
    "webhooks",
    metadata,
    sa.Column("sequence", _BIG, primary_key=True, autoincrement=True),
    sa.Column("message_id", sa.String(128), nullable=False),  # what its receiver knows it by
    sa.Column("target", sa.String(300), nullable=False),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("failed_at", sa.Double),  # when it was given up
    sa.Column("error", sa.Text),  # of the last try
    sa.Index(None, "target", "due_at"),
    sa.Index(None, "created_at"),
)

inbox_table = sa.Table(
    "inbox",
    metadata,
    sa.Column("message_id", sa.String(256), primary_key=True),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Index(None, "received_at"),
)
