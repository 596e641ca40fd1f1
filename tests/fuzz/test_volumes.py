"""NIfTI, NRRD and MetaImage files whose headers lie."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.folder import FolderStore
from tasks.images.geometry import Geometry
from tasks.images.prepare import local_image
from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.write import to_nrrd
from tasks.labels.incoming.check import check_label, check_readable
from tasks.labels.incoming.names import Names
from tests.dicom_series import SHAPE, oblique_affine
from tests.fuzz.damage import MOST_BYTES, damaged, fuzz, in_bounds

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGE = Geometry(SHAPE, oblique_affine())
HERE = Names({1: "liver", 2: "spleen"})


def _marks() -> Volume:
    array = np.zeros(SHAPE, np.uint8)
    array[:2], array[-1] = 1, 2
    return Volume(array, IMAGE.affine)


def _nifti(folder: Path) -> bytes:
    write_nifti(_marks(), folder / "good.nii")
    return (folder / "good.nii").read_bytes()


def _read_everywhere(path: Path, folder: Path) -> None:
    """Read a file as a label of an image, as one whose image is away, and as an image."""
    in_bounds(lambda: check_label(IMAGE, path, HERE))
    in_bounds(lambda: check_readable(path, MOST_BYTES))
    store, cache = FolderStore(folder), DiskCache(folder.parent / "cache", 10**9)
    found = store.image(path.name.split(".")[0])
    in_bounds(lambda: local_image(store, cache, found.key, found.fingerprint, most_bytes=MOST_BYTES).geometry())
    cache.drop("raw", found.key)
    path.unlink()


@fuzz(40)
@given(data=st.data(), packed=st.booleans(), number=st.integers())
def test_nifti(data: st.DataObject, packed: bool, number: int, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    content = data.draw(damaged(_nifti(tmp_path), header=352))
    path = folder / f"a{abs(number) % 10**9}.nii{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content, compresslevel=1) if packed else content)

    _read_everywhere(path, folder)


@fuzz(40)
@given(content=st.data())
def test_nifti_whose_packing_is_damaged(content: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    path = folder / "a.nii.gz"
    path.write_bytes(content.draw(damaged(gzip.compress(_nifti(tmp_path)), header=32)))

    _read_everywhere(path, folder)


_NUMBERS = st.one_of(st.integers(-3, 9), st.sampled_from([2**31, 2**40, 2**62, 10**30]))
_FIELDS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["uint8", "short", "double", "int64", "float", "block", "uchar", "nonsense"]),
        "dimension": _NUMBERS,
        "sizes": st.lists(_NUMBERS, max_size=5).map(lambda sizes: " ".join(map(str, sizes))),
        "encoding": st.sampled_from(["raw", "gzip", "gz", "ascii", "hex", "bzip2", "zrl", ""]),
    },
    optional={
        "space": st.sampled_from(["left-posterior-superior", "RAS", "scanner-xyz", "?"]),
        "space directions": st.sampled_from(["(1,0,0) (0,1,0) (0,0,1)", "none (0,0,0) (0,nan,0)", "(1,0)"]),
        "space origin": st.sampled_from(["(0,0,0)", "(inf,nan,0)", "x"]),
        "byte skip": _NUMBERS,
        "line skip": _NUMBERS,
        "block size": _NUMBERS,
        "endian": st.sampled_from(["little", "big", "middle"]),
        "kinds": st.sampled_from(["vector domain domain domain", "domain domain domain"]),
        "data file": st.sampled_from(["secret.raw", "LIST", "/etc/passwd", "a%d.raw 0 9 1"]),
    },
)


@fuzz(40)
@given(fields=_FIELDS, body=st.binary(max_size=400), packed=st.booleans())
def test_nrrd(fields: dict[str, object], body: bytes, packed: bool, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    (folder / "secret.raw").write_bytes(b"S" * 4096)
    head = "NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in fields.items())
    path = folder / "a.nrrd"
    path.write_bytes(head.encode() + b"\n" + (gzip.compress(body) if packed else body))

    _read_everywhere(path, folder)


@fuzz(40)
@given(content=damaged(to_nrrd(_marks()), header=300))
def test_nrrd_with_changed_bytes(content: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    path = folder / "a.nrrd"
    path.write_bytes(content)

    _read_everywhere(path, folder)


def _metaimage(folder: Path, *, packed: bool) -> bytes:
    image = SimpleITK.GetImageFromArray(_marks().array.T)
    SimpleITK.WriteImage(image, str(folder / "good.mha"), useCompression=packed)
    return (folder / "good.mha").read_bytes()


@fuzz(40)
@given(data=st.data(), packed=st.booleans())
def test_metaimage_with_changed_bytes(data: st.DataObject, packed: bool, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    path = folder / "a.mha"
    path.write_bytes(data.draw(damaged(_metaimage(tmp_path, packed=packed), header=350)))

    _read_everywhere(path, folder)


def test_an_extension_that_says_it_is_huge_is_not_read(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(SHAPE)
    header["vox_offset"], header["magic"] = 2**16, b"n+1"
    content = header.binaryblock + b"\1\0\0\0" + (2**31 - 16).to_bytes(4, "little") + bytes(2**16)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(2**26), compresslevel=1))

    in_bounds(lambda: check_label(IMAGE, tmp_path / "a.nii.gz", HERE))
