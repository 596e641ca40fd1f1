"""What differs between two machines running the same code; nothing else.

Read at an edge, once a process: in a door or in a Prefect task's wrapper. Plain functions are handed what they need.
This is the only module that reads the environment.
"""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment: `TEACHBACK_CATALOG_URL=postgresql+psycopg://…`.

    Times are in seconds. Tests shorten leases; everybody else leaves them.
    """

    model_config = SettingsConfigDict(env_prefix="TEACHBACK_", frozen=True, extra="ignore")

    home: Path = Field(
        default=Path("teachback-home"), description="Catalog, artifacts, logs and keys of this installation."
    )
    catalog_url: str = Field(default="", description="SQLAlchemy URL; default: SQLite in the home folder.")
    artifacts: Path | None = Field(default=None, description="Folder of our own immutable files.")
    cache: Path | None = Field(default=None, description="Folder of this host's cache.")
    cache_bytes: int = Field(default=20 * 2**30, ge=2**20)
    key_file: Path | None = Field(default=None, description="File with the encryption key ring, mode 600.")
    bundles_dir: Path = Field(
        default=Path(__file__).resolve().parent.parent / "bundles",
        description="Bundles that come with the project.",
    )

    host: str = "127.0.0.1"
    port: int = 8000
    auth: bool = Field(
        default=True, description="Whether callers show a key; without, only where this machine alone is listened to."
    )
    allowed_hosts: str = Field(default="", description="Comma-separated Host names besides the bound one.")
    cors_origins: str = Field(
        default="",
        description="Comma-separated origins, as https://viewer.example, whose pages may call this server with a key.",
    )
    folders: str = Field(
        default="",
        description="Folders, joined by colons, that data sets may be in where others reach this server, too.",
    )
    list_shape: Literal["bare", "wrapped"] = Field(
        default="bare", description="How the MONAI Cloud dialect answers lists: an array, or {kind: array}."
    )
    egress_allow: str = Field(
        default="", description="Comma-separated networks and host patterns that requests may name."
    )
    bundle_sources: str = Field(
        default="*.ngc.nvidia.com,huggingface.co",
        description="Comma-separated patterns of hosts and buckets that an admin may register bundles from.",
    )
    s3_endpoint: str = Field(
        default="", description="S3 that is not Amazon's, such as https://minio.hospital.example: for s3:// addresses."
    )
    gcs_endpoint: str = Field(default="", description="Google Cloud Storage that is not Google's: for gs:// addresses.")
    realtime_quota: int = Field(default=2, description="Realtime slots per organisation; 0 = unlimited.")

    prefect_api_url: str = ""
    prefect_auth: SecretStr | None = None
    mlflow_tracking_uri: str = Field(
        default="", description="MLflow's address; default: ours, which `up` starts; off: nothing is written to one."
    )
    prefect_ui_url: str = Field(default="", description="Prefect's pages elsewhere; default: ours, at /prefect/.")
    mlflow_ui_url: str = Field(default="", description="MLflow's pages elsewhere; default: ours, at /mlflow/.")
    public_url: str = Field(
        default="", description="Our address in people's browsers, for links in Prefect and MLflow; default: relative."
    )

    attempt_lease_s: float = 60.0
    attempt_renew_s: float = 5.0
    slot_lease_s: float = 15.0
    slot_heartbeat_s: float = 2.0
    reconcile_s: float = 5.0
    watch_s: float = Field(
        default=2.0,
        gt=0,
        description="How often an image store is asked whether something came; a slow one less.",
    )
    image_lease_s: float = 3600.0
    strategy_s: float = Field(
        default=2.0,
        gt=0,
        description="How long an app's strategy that is asked for each image may take; then any is given.",
    )
    image_leases: int = Field(default=50, ge=1, description="Images that one annotator may have at a time.")
    volume_mib: int = Field(
        default=4096,
        ge=16,
        description="The most that one image or label may take in memory, by its header: more is refused unread.",
    )
    host_silence_s: float = 600.0
    device_wait_s: float = Field(default=600.0, description="How long a training waits for memory of a device.")
    host_memory_mib: int | None = Field(
        default=None, ge=1024, description="What one process of a bundle host may fill; default: 9/10 of the machine's."
    )
    host_keep_free_mib: int = Field(
        default=1024,
        ge=0,
        description="A bundle host is killed when the disk has less left than that, and an image that somebody adds"
        " to a folder is refused where it would leave less.",
    )
    uncaged_bundles: bool = Field(
        default=False,
        description="Whether bundles from outside `bundles_dir` are registered where nothing keeps their code in.",
    )
    warm_host: str = Field(
        default="",
        description="Socket of the process that bundle hosts are forked from; default: in the home folder, which `up`"
        " starts; off: every host starts cold.",
    )
    warm_flows: str = Field(
        default="",
        description="Socket of the process that flow runs are forked from; default: in the home folder, which `up`"
        " starts; off: every run starts cold.",
    )

    testing: bool = False
    failpoint: str = Field(
        default="", description="Named point at which this process kills itself; only while testing."
    )

    @model_validator(mode="after")
    def _fill_from_home(self) -> Self:
        # Absolute at once: what we start runs in folders of its own.
        home = self.home.expanduser().absolute()
        filled = {
            "home": home,
            "catalog_url": self.catalog_url or f"sqlite+pysqlite:///{home / 'catalog.db'}",
            "artifacts": self.artifacts or home / "artifacts",
            "cache": self.cache or home / "cache",
            "key_file": self.key_file or home / "keys.json",
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)  # frozen: only this validator may fill in
        return self

    @property
    def volume_bytes(self) -> int:
        """The most bytes that one image's or label's voxels may take."""
        return self.volume_mib * 2**20

    @property
    def artifacts_dir(self) -> Path:
        """Where our own immutable files are."""
        return self.artifacts or self.home / "artifacts"

    @property
    def cache_dir(self) -> Path:
        """Where this host's cache is."""
        return self.cache or self.home / "cache"

    @property
    def key_path(self) -> Path:
        """Where the encryption keys are."""
        return self.key_file or self.home / "keys.json"

    @property
    def warm_socket(self) -> Path | None:
        """Where the process listens that bundle hosts are forked from; None: every host is started."""
        if self.warm_host == "off":
            return None
        return Path(self.warm_host).absolute() if self.warm_host else self.home / "run" / "warm.sock"

    @property
    def flows_socket(self) -> Path | None:
        """Where the process listens that flow runs are forked from; None: every run is started."""
        if self.warm_flows == "off":
            return None
        return Path(self.warm_flows).absolute() if self.warm_flows else self.home / "run" / "flows.sock"

    @property
    def tracking_url(self) -> str:
        """Where MLflow is; nothing where none is told."""
        return "" if self.mlflow_tracking_uri == "off" else self.mlflow_tracking_uri

    @property
    def single_machine(self) -> bool:
        """Whether only this machine can reach us, so that its own services and folders may be named."""
        return self.host in {"127.0.0.1", "localhost", "::1"}

    @property
    def open_here(self) -> bool:
        """Whether whoever is on this machine needs no key."""
        return not self.auth and self.single_machine

    def child_environment(self) -> dict[str, str]:
        """Return this process's environment with these settings in it, for a child of our own.

        Never for a bundle host, which gets a clean one.
        """
        ours = {
            f"TEACHBACK_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self
            if value not in (None, "")
        }
        return {**os.environ, **ours}
