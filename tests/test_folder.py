"""A folder of images of all sorts -> arrays; what was found and done is said."""

import numpy as np
import pytest
from PIL import Image

from medjax.data import pixels
from medjax.data.folder import read_folder
from medjax.data.pixels import Unreadable, Window, read
from medjax.errors import UserError

RNG = np.random.default_rng(0)


def put(path, shape=(12, 12, 3), value=None, **how):
    """A random image, or the given pixels, as a file."""
    array = RNG.integers(0, 256, shape, dtype=np.uint8) if value is None else value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


def flat(root, counts, **how):
    """Folders of classes alone."""
    for name, count in counts.items():
        for i in range(count):
            put(root / name / f"{i:03d}.png", **how)
    return root


def said(made, *words):
    text = " ".join(made.lines)
    for word in words:
        assert word in text, text


# --- one file


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".JPEG", ".TIFF"])
def test_formats(tmp_path, suffix):
    picture = read(put(tmp_path / f"a{suffix}", (20, 12, 3)), 8)
    assert picture.values.shape == (8, 8, 3) and picture.values.dtype == np.float32
    assert picture.shape == (20, 12) and picture.kind == "RGB" and not picture.deep


def test_centre_square_is_kept_as_it_is(tmp_path):
    array = RNG.integers(0, 256, (8, 14, 3), dtype=np.uint8)
    picture = read(put(tmp_path / "a.png", value=array), 8)
    np.testing.assert_array_equal(picture.values, array[:, 3:11])


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("L", "grey", 1),
        ("1", "grey", 1),
        ("P", "palette", 3),
        ("RGBA", "RGBA, on black", 3),
        ("LA", "grey with alpha, on black, all channels equal", 1),
        ("CMYK", "CMYK", 3),
    ],
)
def test_modes(tmp_path, mode, kind, channels):
    image = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    picture = read(path, 8)
    assert (picture.kind, picture.values.shape) == (kind, (8, 8, channels))


def test_alpha_shows_black(tmp_path):
    array = np.full((8, 8, 4), 200, np.uint8)
    array[:, :4, 3], array[:, 4:, 3], array[0, 0, 0] = 0, 255, 90
    picture = read(put(tmp_path / "a.png", value=array), 8)
    assert picture.values[:, :4].max() == 0 and picture.values[:, 4:].min() == 200


def test_grey_saved_as_colour_is_grey(tmp_path):
    array = np.repeat(RNG.integers(0, 256, (8, 8, 1), dtype=np.uint8), 3, -1)
    assert read(put(tmp_path / "a.png", value=array), 8).values.shape == (8, 8, 1)


def test_16_bit_and_rotated(tmp_path):
    deep = RNG.integers(0, 4000, (8, 8)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        picture = read(put(tmp_path / name, value=deep), 8)
        assert picture.deep and picture.kind == "16-bit"
        np.testing.assert_array_equal(picture.values[..., 0], deep)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a camera
    path = put(tmp_path / "b.jpg", (8, 16, 3), exif=exif)
    assert read(path, 8).shape == (16, 8)


@pytest.mark.parametrize(
    "junk", [b"", b"hello", b"\x89PNG\r\n\x1a\n and no more", b"BM" + bytes(60)]
)
def test_no_image(tmp_path, junk):
    path = tmp_path / "a.png"
    path.write_bytes(junk)
    with pytest.raises(Unreadable) as caught:
        read(path, 8)
    assert "\n" not in str(caught.value)


def test_cut_float_and_bomb(tmp_path, monkeypatch):
    path = put(tmp_path / "a.png", (60, 60, 3))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(Unreadable):
        read(path, 8)
    with pytest.raises(Unreadable, match="floating-point"):
        read(put(tmp_path / "f.tif", value=np.ones((8, 8), np.float32)), 8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unreadable, match="bomb"):
        read(put(tmp_path / "b.png"), 8)


# --- DICOM

COLOURS = ("Red", "Green", "Blue")


def dicom(path, array, **fields):
    """A small DICOM file."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns, data.SamplesPerPixel = *array.shape[:2], 1
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    for name, value in fields.items():
        setattr(data, name, value)
    data.PixelData = array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def test_dicom_windows(tmp_path):
    stored = np.linspace(0, 2000, 64).astype(np.uint16).reshape(8, 8)
    units = {"RescaleSlope": 1, "RescaleIntercept": -1000}
    path = dicom(tmp_path / "a.dcm", stored, WindowCenter=[0, 7], WindowWidth=[400, 7], **units)
    hounsfield = stored.astype(float) - 1000
    expected = ((hounsfield + 0.5) / 399 + 0.5).clip(0, 1) * 255
    own, given = read(path, 8), read(path, 8, Window(-500, 100))
    np.testing.assert_allclose(own.values[..., 0], expected, atol=0.51)
    assert (own.kind, given.kind) == ("DICOM, its own window", "DICOM, given window")
    expected = ((hounsfield + 500.5) / 99 + 0.5).clip(0, 1) * 255
    np.testing.assert_allclose(given.values[..., 0], expected, atol=0.51)
    plain = read(dicom(tmp_path / "b.dcm", stored), 8)
    assert plain.kind == "DICOM, full range"
    np.testing.assert_allclose(plain.values[..., 0], stored * (255 / 2000), atol=0.51)
    many = np.stack([stored, stored[::-1], stored])
    frames = dicom(tmp_path / "e.dcm", many[0], NumberOfFrames=3, BurnedInAnnotation="YES")
    data = pytest.importorskip("pydicom").dcmread(frames)
    data.PixelData = many.tobytes()
    data.save_as(frames)
    found = read(frames, 8)
    assert found.kind.startswith("DICOM, full range, middle of 3 frames, TEXT BURNED IN")
    np.testing.assert_array_equal(found.values[::-1], plain.values)
    dark = dicom(tmp_path / "c.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(dark, 8).values, 255 - plain.values)
    (tmp_path / "d.dcm").write_bytes(b"hello")
    table = {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 16] for name in COLOURS}
    table |= {
        f"{name}PaletteColorLookupTableData": np.array(row, np.uint16).tobytes()
        for name, row in zip(COLOURS, np.eye(3, 4, 1) * 65535, strict=True)
    }
    indices = np.arange(64, dtype=np.uint16).reshape(8, 8) % 4
    path = dicom(tmp_path / "p.dcm", indices, PhotometricInterpretation="PALETTE COLOR", **table)
    coloured = read(path, 8)
    assert coloured.kind == "DICOM, RGB"
    np.testing.assert_array_equal(coloured.values, 255 * np.eye(3, 4, 1).T[indices])
    with pytest.raises(Unreadable):
        read(tmp_path / "d.dcm", 8)


def test_dicom_without_an_ending_is_known_by_its_first_bytes(tmp_path):
    """Exports name files by UID: what looks like an ending is none. What is no image is counted and said."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        for name in ("1.2.840.5", "IM00001"):
            dicom(tmp_path / label / name, rng.integers(0, 4096, (8, 8)).astype(np.uint16))
    for name in ("notes.txt", "scan.gif", "more.gif", ".hidden"):
        (tmp_path / "a" / name).write_bytes(b"x" * 200)
    made = read_folder(tmp_path, 8)
    assert len(made.images) == 4
    assert "files ignored: 2 x .gif, 1 x .txt." in made.lines


def test_dicom_without_pydicom_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    (tmp_path / "a.dcm").write_bytes(b"")
    with pytest.raises(UserError, match=r"medjax\[dicom\]"):
        read(tmp_path / "a.dcm", 8)


# --- a folder


def test_folder_of_classes_is_split_by_class(tmp_path):
    made = read_folder(flat(tmp_path, {"b": 100, "A": 50, "c": 3}), 6)
    assert made.class_names == ("A", "b", "c") and made.images.shape == (153, 6, 6, 3)
    table = np.zeros((3, 3), int)
    np.add.at(table, (made.labels, made.splits), 1)
    assert table[:2].tolist() == [[35, 5, 10], [70, 10, 20]]
    assert table[2, 0] >= 1
    said(made, "no splits in the folder", "sizes: 12 to 12 high", "153 x RGB")
    again = read_folder(tmp_path, 6)
    np.testing.assert_array_equal(made.splits, again.splits)
    assert (read_folder(tmp_path, 6, seed=1).splits != made.splits).any()


def test_folder_with_splits(tmp_path):
    for split, n in (("train", 10), ("val", 3), ("test", 4)):
        flat(tmp_path / split, {"x": n, "y": n})
    made = read_folder(tmp_path, 6)
    assert np.bincount(made.splits).tolist() == [20, 6, 8]
    for label in (0, 1):
        assert np.bincount(made.splits[made.labels == label]).tolist() == [10, 3, 4]


def test_folder_without_val(tmp_path):
    flat(tmp_path / "train", {"x": 20, "y": 10})
    flat(tmp_path / "Test", {"x": 2, "y": 2})
    made = read_folder(tmp_path, 6)
    assert np.bincount(made.splits).tolist() == [27, 3, 4]
    said(made, "no val folder")


def test_patients_stay_together(tmp_path):
    flat(tmp_path, {"x": 60, "y": 40})
    rows = [
        f"{c}/{i:03d}.png,patient {(i + 20 * (c == 'y')) // 5}"
        for c, n in (("x", 60), ("y", 39))
        for i in range(n)
    ]
    (tmp_path / "groups.csv").write_text("file,patient\n" + "\n".join(rows))
    made = read_folder(tmp_path, 6)
    ids = {row.split(",")[0]: row.split(",")[1] for row in rows}
    order = [f"x/{i:03d}.png" for i in range(60)] + [f"y/{i:03d}.png" for i in range(40)]
    homes = {}
    for name, split in zip(order, made.splits, strict=True):
        homes.setdefault(ids.get(name, name), set()).add(int(split))
    assert all(len(splits) == 1 for splits in homes.values())
    assert abs(np.bincount(made.splits) - [70, 10, 20]).max() <= 8
    said(made, "99 images of 12 patients", "1 images are not in groups.csv")


def patients(folder, *lines):
    flat(folder, {"x": 3, "y": 3})
    (folder / "Groups.csv").write_text("\n".join(lines))


def test_columns_are_found_by_their_names(tmp_path):
    """In any order, among others, in a file named with a capital as Windows does."""
    patients(tmp_path, "Patient,age,File", "p1,40,x/000.png", "p1,41,y/001.png", "p2,40,x/002.png")
    made = read_folder(tmp_path, 6)
    said(made, "3 images of 2 patients", "3 images are not in Groups.csv")
    assert made.splits[0] == made.splits[4], "x/000 and y/001"


def test_what_was_passed_over_is_said(tmp_path):
    flat(tmp_path, {"x": 3, "y": 3, "_unsure": 1, "..2f": 1})
    put(tmp_path / "loose.png")
    put(tmp_path / "x" / "patient 7" / "a.png")
    said(read_folder(tmp_path, 6), "no groups.csv: images of one patient")
    said(read_folder(tmp_path, 6), "begin with a dot or an underscore: ..2f, _unsure")
    said(
        read_folder(tmp_path, 6),
        "1 x outside the folders of classes",
        "1 images were found in subfolders",
    )


def test_twelve_bits_stay_twelve_where_resizing_overshoots(tmp_path):
    deep = np.zeros((40, 40), np.uint16)
    deep[:, 20:] = 4095
    for i, label in enumerate("xy"):
        for j in range(2):
            deep[0, 0] = 10 * i + j
            put(tmp_path / label / f"{j}.png", value=deep)
    made = read_folder(tmp_path, 9)
    said(made, "0..4095 was scaled to 0..255")
    assert made.images.max() == 255


def test_files_without_a_patient_are_not_one_patient(tmp_path):
    """A line with no name in it is as good as no line, whether files are named with their folder or without."""
    flat(tmp_path, {"x": 20, "y": 20})
    lines = [f"y/{i:03d}.png,p{i}" for i in range(20)] + ["000.png,", "001.png,"]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    said(read_folder(tmp_path, 6), "20 images of 20 patients", "20 images are not in groups.csv")


def test_duplicates_are_removed_and_the_copy_in_test_is_kept(tmp_path):
    for split in ("train", "val", "test"):
        flat(tmp_path / split, {"x": 5, "y": 5})
    for split in ("train", "val"):  # as another kind of file: the pixels count
        Image.open(tmp_path / "test/x/000.png").save(tmp_path / split / "x/copy.bmp")
    Image.open(tmp_path / "test/x/001.png").save(tmp_path / "train/y/odd.bmp")
    Image.open(tmp_path / "train/x/001.png").save(tmp_path / "train/x/twice.bmp")
    made = read_folder(tmp_path, 6)
    assert np.bincount(made.splits).tolist() == [10, 10, 10]
    said(
        made,
        "3 across splits",
        "1 within one",
        "have two classes",
        "train/y/odd.bmp as test/x/001.png",
    )


def test_mixture_is_said(tmp_path):
    flat(tmp_path, {"x": 8, "y": 8}, shape=(10, 20))
    put(tmp_path / "x/colour.png", (30, 10, 3))
    put(tmp_path / "y/deep.png", value=RNG.integers(0, 4000, (10, 10)).astype(np.uint16))
    (tmp_path / "y/broken.png").write_bytes(b"?")
    (tmp_path / "y/notes.txt").write_text("")
    (tmp_path / ".hidden").mkdir()
    made = read_folder(tmp_path, 6)
    assert made.images.shape == (18, 6, 6, 3)
    said(
        made, "16 x grey; 1 x RGB; 1 x 16-bit", "10 to 30 high, 10 to 20 wide", "17 are not square"
    )
    said(made, "0..4095 was scaled", "grey images were converted", "1 files could not be read")
    said(made, "y/broken.png")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda p: (p / "f").write_text(""), "is a file, not a folder"),
        (lambda p: None, "does not exist"),
        (lambda p: (p / "f").mkdir(), "holds no folders"),
        (lambda p: [(p / "f" / c).mkdir(parents=True) for c in "xy"], "holds no png, jpg"),
        (lambda p: flat(p / "f", {"x": 3}), "holds one folder: .* at least 2 classes"),
        (lambda p: (flat(p / "f", {"x": 3}), (p / "f/y").mkdir()), "no image of y"),
        (lambda p: flat(p / "f/train", {"x": 3, "y": 3}), "has train but no test"),
        (lambda p: flat(p / "f/test", {"x": 3, "y": 3}), "has test but no train"),
        (
            lambda p: (flat(p / "f/train", {"x": 1, "y": 1}), flat(p / "f/test", {"z": 1})),
            "a class that train does not have: z",
        ),
        (
            lambda p: (flat(p / "f", {"x": 3, "y": 3}), (p / "f/groups.csv").write_text("a\n")),
            "two columns",
        ),
        (
            lambda p: (
                flat(p / "f", {"x": 3, "y": 3}),
                (p / "f/groups.csv").write_bytes(b"\xff\xfe"),
            ),
            "not a table of text",
        ),
        (
            lambda p: patients(p / "f", "file,age,patient", "x/000.png,40,a", "x/000.png,40,b"),
            "x/000.png has two patients, a and b",
        ),
        (lambda p: patients(p / "f", "image,age,id", "x/000.png,40,a"), "first line that names"),
        (lambda p: patients(p / "f", "x/zzz.png,a"), "names none of the images.* x/000.png"),
    ],
)
def test_folders_that_are_refused(tmp_path, build, words):
    build(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        read_folder(tmp_path / "f", 6)
    assert "\n" not in str(caught.value)


def test_what_is_read():
    assert set(pixels.SUFFIXES) == {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm"}
