"""DICOM -> what a display shows. Expected values are derived here from PS3.3 C.7.5-C.11, by hand."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import LOSSLESS, RNG, compress, dicom, items, put, table
from PIL import Image

from medjax.data import decoder, pixels
from medjax.data.folder import read_folder
from medjax.data.pixels import Window, read
from medjax.data.planes import Unreadable
from medjax.errors import UserError

pydicom = pytest.importorskip("pydicom")

#: Values of 12 bits from 0 to 2000, and a row of them.
RAMP = np.linspace(0, 2000, 64).astype(np.uint16).reshape(8, 8)
COLOURS = ("Red", "Green", "Blue")


def shown(path, *how):
    picture = read(path, 8, *how)
    assert not picture.deep, picture.kind
    return picture.values[..., 0]


def linear(x, c, w):
    """C.11.2.1.2.1, to 0..255."""
    return (((x - (c - 0.5)) / (w - 1) + 0.5).clip(0, 1)) * 255


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=0.51)


def a_set(folder, make):
    """Two classes of four files; make(path, number) writes each."""
    for number in range(8):
        make(folder / "ab"[number // 4] / f"{number}.dcm", number)
    return folder


def text(made):
    return " ".join(made.lines)


# --- windows


@pytest.mark.parametrize("kind", ["u2", "i2"])
def test_the_first_of_several_windows_in_modality_units(tmp_path, kind):
    units = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    windows = {"WindowCenter": [0, 7], "WindowWidth": [400, 7]}
    stored = RAMP.astype(kind)
    path = dicom(tmp_path / "a.dcm", stored, **windows, **units)
    values = stored.astype(float) * 2 - 1000
    close(shown(path), linear(values, 0, 400))
    assert read(path, 8).kind == "DICOM, its own window"
    close(shown(path, Window(-500, 100)), linear(values, -500, 100))
    assert read(path, 8, Window(-500, 100)).kind == "DICOM, given window"


def test_the_functions_of_a_window(tmp_path):
    window = {"WindowCenter": 900, "WindowWidth": 300}
    x, c, w = RAMP.astype(float), 900, 300
    exact = ((x - c) / w + 0.5).clip(0, 1) * 255  # C.11.2.1.3.2
    sigmoid = 255 / (1 + np.exp(-4 * (x - c) / w))  # C.11.2.1.3.1
    expected = {"LINEAR": linear(x, c, w), "LINEAR_EXACT": exact, "SIGMOID": sigmoid}
    for function, values in expected.items():
        path = dicom(tmp_path / "a.dcm", RAMP, **window, VOILUTFunction=function)
        close(shown(path), values)
    path = dicom(
        tmp_path / "a.dcm", RAMP, WindowCenter=500, WindowWidth=0.5, VOILUTFunction="LINEAR_EXACT"
    )
    close(shown(path), (RAMP > 500) * 255)
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=500, WindowWidth=1)
    close(shown(path), (RAMP > 499) * 255)  # above 499.5


@pytest.mark.parametrize(
    "bad",
    [
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": 40, "WindowWidth": -5},
        {"WindowCenter": 40},
        {"WindowCenter": 40, "WindowWidth": 100, "VOILUTFunction": "CUBIC"},
        {"VOILUTSequence": "empty"},
    ],
)
def test_a_window_that_cannot_be_used_is_said(tmp_path, bad):
    if "VOILUTSequence" in bad:
        bad = {"VOILUTSequence": items(LUTExplanation="none")}
    path = dicom(tmp_path / "a.dcm", RAMP, **bad)
    picture = read(path, 8)
    assert picture.deep == "DICOM" and "cannot be used" in picture.kind
    np.testing.assert_array_equal(picture.values[..., 0], RAMP)
    path = dicom(tmp_path / "a.dcm", (RAMP // 10).astype(np.uint8), **bad)
    assert "8 bits as stored" in read(path, 8).kind and "cannot be used" in read(path, 8).kind


def test_a_window_that_is_no_number_is_said(tmp_path):
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=1234567, WindowWidth=1234567)
    path.write_bytes(path.read_bytes().replace(b"1234567", b"nan    "))
    assert "its window cannot be used" in read(path, 8).kind


# --- tables


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("falling", [False, True])
def test_voi_table(tmp_path, bits, falling):
    """A table is applied as it stands, also where it falls; its range is that of its bits (C.11.2.1.1)."""
    entries = np.linspace(0, 2**bits - 1, 1000).astype(int)
    entries = entries[::-1] if falling else entries
    first = 300
    for number, how in enumerate(({}, {"packed": True}) if bits == 8 else ({},)):
        sequence = table(entries, first, bits, **how)
        path = dicom(tmp_path / f"{number}.dcm", RAMP, VOILUTSequence=sequence)
        index = (RAMP.astype(int) - first).clip(
            0, 999
        )  # below and above: the first and the last entry
        close(shown(path), entries[index] * (255 / (2**bits - 1)))
        assert read(path, 8).kind == "DICOM, its own table"
        # MONOCHROME1 is an inversion after it.
        path = dicom(
            tmp_path / f"{number}.dcm",
            RAMP,
            VOILUTSequence=sequence,
            PhotometricInterpretation="MONOCHROME1",
        )
        close(shown(path), 255 - entries[index] * (255 / (2**bits - 1)))


def test_voi_table_over_rescaled_negative_values_wins_over_a_window(tmp_path):
    entries = np.arange(2048)[::-1] * 32
    path = dicom(
        tmp_path / "a.dcm",
        RAMP,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        VOILUTSequence=table(entries, -1024, 16),
        WindowCenter=0,
        WindowWidth=10,
    )
    close(shown(path), entries[RAMP] * (255 / 65535))
    close(shown(path, Window(0, 10)), linear(RAMP - 1024.0, 0, 10))


def test_a_negative_first_value_of_a_table_may_be_written_as_unsigned(tmp_path):
    stored = RAMP.astype(np.int16) - 1000
    entries = np.arange(2048) * 32
    path = dicom(tmp_path / "a.dcm", stored, VOILUTSequence=table(entries, 65536 - 1000, 16))
    close(shown(path), entries[RAMP] * (255 / 65535))


def test_modality_table_comes_before_the_window(tmp_path):
    entries = 3000 - np.arange(2048)
    sequence = table(entries, 0, 12)
    path = dicom(
        tmp_path / "a.dcm", RAMP, ModalityLUTSequence=sequence, WindowCenter=2000, WindowWidth=500
    )
    close(shown(path), linear(3000.0 - RAMP, 2000, 500))
    close(shown(path, Window(1500, 100)), linear(3000.0 - RAMP, 1500, 100))
    path = dicom(tmp_path / "b.dcm", RAMP, ModalityLUTSequence=sequence)
    picture = read(path, 8)
    assert picture.deep == "DICOM"
    np.testing.assert_array_equal(picture.values[..., 0], 3000.0 - RAMP)
    sequence = table(np.arange(2048) // 8, 0, 8)
    path = dicom(tmp_path / "c.dcm", RAMP, ModalityLUTSequence=sequence)
    np.testing.assert_array_equal(shown(path), RAMP // 8)


# --- inversion and padding


@pytest.mark.parametrize(
    "how",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_inverted_once(tmp_path, how):
    window = {"WindowCenter": 1000, "WindowWidth": 2001}
    plain = shown(dicom(tmp_path / "a.dcm", RAMP, **window))
    np.testing.assert_array_equal(
        shown(dicom(tmp_path / "b.dcm", RAMP, **window, **how)), 255 - plain
    )
    small = (RAMP // 8).astype(np.uint8)
    np.testing.assert_array_equal(shown(dicom(tmp_path / "c.dcm", small, **how)), 255 - small)

    def make(path, i):
        dicom(path, RAMP + i, **(how if i < 4 else {}))

    made = read_folder(a_set(tmp_path / "set", make), 8)
    close(made.images[0, ..., 0], 255 - RAMP * (255 / 2007))
    close(made.images[4, ..., 0], (RAMP + 4) * (255 / 2007))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 350.5, "WindowWidth": 701}])
def test_padding_is_black_and_does_not_count(tmp_path, photometric, window):
    """The file of the report: int16, padding -2000, values 0, 100, ... 700."""
    stored = np.tile(np.arange(8) * 100, (8, 1)).astype(np.int16)
    stored[:2] = -2000
    how = {"PixelPaddingValue": -2000, "PhotometricInterpretation": photometric, **window}

    def make(path, number):
        own = stored.copy()
        own[2, 2] += 20 * number  # no duplicates
        dicom(path, own, **how)

    made = read_folder(a_set(tmp_path, make), 8)
    row = np.arange(8) * 255 / 7
    row = 255 - row if photometric == "MONOCHROME1" else row
    for image in made.images[..., 0]:
        close(image[3:], np.tile(row, (5, 1)))
        assert image[:2].max() == 0
    assert "padding shown black" in text(made)
    if not window:
        assert "0..700, the range of the whole set" in text(made)


def test_padding_of_8_bits_of_ranges_and_with_the_wrong_sign(tmp_path):
    stored = np.tile(np.arange(8) * 10 + 100, (8, 1)).astype(np.uint8)
    stored[0], stored[1], stored[2] = 250, 252, 255
    padding = {"PixelPaddingValue": 250, "PixelPaddingRangeLimit": 255}
    found = shown(dicom(tmp_path / "a.dcm", stored, **padding))
    np.testing.assert_array_equal(found[3:], stored[3:])
    assert found[:3].max() == 0
    swapped = {"PixelPaddingValue": 255, "PixelPaddingRangeLimit": 250}
    np.testing.assert_array_equal(shown(dicom(tmp_path / "a.dcm", stored, **swapped)), found)
    one = shown(dicom(tmp_path / "b.dcm", stored, PixelPaddingValue=250))
    assert one[0].max() == 0 and one[1].min() == 252
    signed = np.where(np.arange(64).reshape(8, 8) < 16, -2000, RAMP.astype(int)).astype(np.int16)
    path = dicom(tmp_path / "c.dcm", signed, WindowCenter=1000, WindowWidth=2001)
    data = pydicom.dcmread(path)
    data.add_new("PixelPaddingValue", "US", 63536)  # -2000, written as unsigned
    data.save_as(path)
    assert "padding shown black" in read(path, 8).kind
    with pytest.raises(Unreadable, match="nothing but padding"):
        read(dicom(tmp_path / "d.dcm", np.full((8, 8), 7, np.uint8), PixelPaddingValue=7), 8)


def test_half_a_pixel_of_padding_is_half_black(tmp_path):
    stored = np.full((16, 16), 1000, np.int16)
    stored[:, 8:] = -2000

    def make(path, number):
        own = stored.copy()
        own[0, 0] = number * 10
        dicom(path, own, PixelPaddingValue=-2000)

    made = read_folder(a_set(tmp_path, make), 5)
    row = made.images[0, 2, :, 0].astype(int)
    assert row[0] > 250 and row[-1] == 0 and 60 < row[2] < 200


# --- without a window


def test_8_bits_are_taken_as_they_are_stored(tmp_path):
    """As the same pixels in a PNG."""
    noise = RNG.integers(80, 120, (8, 8)).astype(np.uint8)
    png = read(put(tmp_path / "a.png", value=noise), 8).values[..., 0]
    np.testing.assert_array_equal(shown(dicom(tmp_path / "a.dcm", noise)), png)
    for units in (
        {"RescaleSlope": 1, "RescaleIntercept": 0},
        {"RescaleSlope": 3, "RescaleIntercept": -50},
    ):
        np.testing.assert_array_equal(shown(dicom(tmp_path / "b.dcm", noise, **units)), png)
    falling = {"RescaleSlope": -1, "RescaleIntercept": 255}
    np.testing.assert_array_equal(shown(dicom(tmp_path / "c.dcm", noise, **falling)), 255 - png)
    few = dicom(tmp_path / "d.dcm", noise % 64, BitsStored=6, HighBit=5)
    close(shown(few), noise % 64 * (255 / 63))
    wide = dicom(tmp_path / "e.dcm", noise.astype(np.uint16), BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(shown(wide), noise)
    signed = dicom(tmp_path / "f.dcm", (noise - 128).astype(np.int8))
    np.testing.assert_array_equal(shown(signed), (noise - 128).astype(np.int8).astype(int) + 128)


@pytest.mark.parametrize("units", [{}, {"RescaleSlope": 1, "RescaleIntercept": -1024}])
def test_deep_files_have_one_range(tmp_path, units):
    """Equal values are equally grey in a dark and in a bright image."""

    def make(path, i):
        dicom(path, RAMP // (i + 1) + i, **units)

    made = read_folder(a_set(tmp_path, make), 8)
    low = units.get("RescaleIntercept", 0)
    assert f"{low}..{low + 2000}, the range of the whole set" in text(made)
    assert "DICOM, full range of the set" in text(made)
    for number in range(8):
        close(made.images[number, ..., 0], (RAMP // (number + 1) + number) * (255 / 2000))


def test_rescaling_by_file_is_undone_by_the_common_range(tmp_path):
    """PET: each file has a slope of its own."""

    def make(path, i):
        dicom(path, RAMP, RescaleSlope=i + 1, RescaleIntercept=0)

    made = read_folder(a_set(tmp_path, make), 8)
    for number in range(8):
        close(made.images[number, ..., 0], RAMP * (number + 1) * (255 / 16000))


def test_a_few_far_values_do_not_make_the_range(tmp_path):
    def make(path, number):
        stored = RNG.integers(100, 1100, (40, 40)).astype(np.int16)
        stored[0, 0], stored[0, 1] = 100, 1099
        stored[5, 5], stored[6, 6] = (32767, -32768) if number == 3 else (500, 500)
        dicom(path, stored)

    made = read_folder(a_set(tmp_path, make), 40)
    (line,) = [line for line in made.lines if "range of the whole set" in line]
    low, high = map(float, line.split(": ")[1].split(",")[0].split(".."))
    assert 100 <= low < 110 and 1090 < high <= 1099 and "of the values are cut off" in line
    assert made.images[0].std() > 60


def test_makers_that_differ_by_class_are_warned_of(tmp_path):
    window = {"WindowCenter": 1000, "WindowWidth": 2001}

    def make(path, i):
        dicom(path, RAMP + i, **(window if i < 4 else {}))

    made = read_folder(a_set(tmp_path, make), 8)
    assert '"DICOM, full range of the set" is 100% of b and 0% of a' in text(made)

    def mixed(path, i):
        dicom(path, RAMP + i, **(window if i % 2 else {}))

    assert "WARNING" not in text(read_folder(a_set(tmp_path / "c", mixed), 8))


def test_inversion_that_differs_by_class_is_warned_of(tmp_path):
    """As of TIFF in which 0 is white: it tells the maker."""
    for i in range(6):
        for name, photometric in (("a", "MONOCHROME1"), ("b", "MONOCHROME2")):
            where, pixels = tmp_path / f"{name}/{i}.dcm", RAMP + np.uint16(i + 9 * (name == "a"))
            dicom(where, pixels, PhotometricInterpretation=photometric)
    made = read_folder(tmp_path, 8)
    assert "6 x DICOM, full range of the set, inverted" in text(made)
    assert '"DICOM, full range of the set" is 100% of b and 0% of a.' in text(made)


def test_windows_that_differ_by_class_are_warned_of(tmp_path):
    def of_two_makers(path, i):
        dicom(path, RAMP + i, WindowCenter=(40, 600)[i // 4], WindowWidth=400)

    made = read_folder(a_set(tmp_path, of_two_makers), 8)
    assert "WARNING: the window in the files differs by class" in text(made)
    assert '"40, 400" is 100% of a and 0% of b' in text(made)
    made = read_folder(tmp_path, 8, window=Window(300, 1000))
    assert "WARNING" not in text(made)

    def of_one(path, i):
        dicom(path, RAMP + i, WindowCenter=(40, 600)[i % 2], WindowWidth=400)

    assert "WARNING" not in text(read_folder(a_set(tmp_path / "c", of_one), 8))


# --- frames


def frames_of(path, **groups):
    many = np.stack([RAMP * 0, RAMP, RAMP * 2]).astype(np.uint16)
    return dicom(path, many, NumberOfFrames=3, **groups)


def group(slope, intercept, center, width, function="LINEAR"):
    return items(
        PixelValueTransformationSequence=items(RescaleSlope=slope, RescaleIntercept=intercept),
        FrameVOILUTSequence=items(WindowCenter=center, WindowWidth=width, VOILUTFunction=function),
    )[0]


def test_the_middle_frame_with_its_own_functional_groups(tmp_path):
    own = pydicom.Sequence([group(9, 9, 9, 9), group(2, -1000, 0, 800), group(7, 7, 7, 7)])
    shared = pydicom.Sequence([group(5, 5, 5, 5)])
    root = {"WindowCenter": 3, "WindowWidth": 3, "VOILUTSequence": table([1, 2], 0, 8)}
    path = frames_of(
        tmp_path / "a.dcm",
        PerFrameFunctionalGroupsSequence=own,
        SharedFunctionalGroupsSequence=shared,
        **root,
    )
    close(shown(path), linear(RAMP * 2.0 - 1000, 0, 800))
    assert "middle of 3 frames" in read(path, 8).kind
    close(shown(path, Window(-500, 300)), linear(RAMP * 2.0 - 1000, -500, 300))
    shared = pydicom.Sequence([group(2, -1000, 0, 800, "SIGMOID")])
    path = frames_of(tmp_path / "b.dcm", SharedFunctionalGroupsSequence=shared)
    close(shown(path), 255 / (1 + np.exp(-4 * (RAMP * 2.0 - 1000) / 800)))
    path = frames_of(tmp_path / "c.dcm", WindowCenter=900, WindowWidth=100)
    close(shown(path), linear(RAMP, 900, 100))


def test_what_else_a_file_says(tmp_path):
    path = frames_of(tmp_path / "a.dcm", BurnedInAnnotation="YES")
    assert "middle of 3 frames, TEXT BURNED IN" in read(path, 8).kind
    data = pydicom.dcmread(path)
    data.add_new((0x6000, 0x3000), "OW", bytes(8))
    data.save_as(path)
    assert "overlay left out" in read(path, 8).kind


# --- colour


def test_colours(tmp_path):
    rgb = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    picture = read(dicom(tmp_path / "a.dcm", rgb), 8)
    assert picture.kind == "DICOM, RGB"
    np.testing.assert_array_equal(picture.values, rgb)
    entries = {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 16] for name in COLOURS}
    entries |= {
        f"{name}PaletteColorLookupTableData": np.array(row, np.uint16).tobytes()
        for name, row in zip(COLOURS, np.eye(3, 4, 1) * 65535, strict=True)
    }
    indices = np.arange(64, dtype=np.uint16).reshape(8, 8) % 4
    path = dicom(tmp_path / "p.dcm", indices, PhotometricInterpretation="PALETTE COLOR", **entries)
    np.testing.assert_array_equal(read(path, 8).values, 255 * np.eye(3, 4, 1).T[indices])
    grey = np.stack([np.full((8, 8), v, np.uint8) for v in (90, 128, 128)], -1)
    path = dicom(tmp_path / "y.dcm", grey, PhotometricInterpretation="YBR_FULL")
    assert read(path, 8).values.tolist() == np.full((8, 8, 1), 90).tolist()
    out = io.BytesIO()
    smooth = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    Image.fromarray(smooth).save(out, "jpeg", quality=95)
    data = pydicom.dcmread(
        dicom(tmp_path / "j.dcm", smooth, PhotometricInterpretation="YBR_FULL_422")
    )
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    data.PixelData = pydicom.encaps.encapsulate([out.getvalue()])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    np.testing.assert_allclose(read(path, 16).values, smooth, atol=3)
    path = dicom(tmp_path / "h.dcm", rgb, PhotometricInterpretation="HSV")
    with pytest.raises(Unreadable, match="colours as HSV; save it as RGB"):
        read(path, 8)


# --- codecs


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(("kind", "bits"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 16)])
def test_compressed_without_loss(tmp_path, syntax, kind, bits):
    stored = RNG.integers(0, 2 ** min(bits, 12), (16, 16)).astype(kind)
    if kind == "i2":
        stored -= 2000
    path = dicom(tmp_path / "a.dcm", stored, BitsStored=bits, HighBit=bits - 1)
    compress(path, syntax)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read(path, 16).values[..., 0], stored)


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        ("JPEGBaselineProcess1", 8),
        ("JPEGExtendedProcess2_4", 12),
        ("JPEGLSNearLossless", 12),
        ("JPEG2000", 12),
    ],
)
def test_compressed_with_loss(tmp_path, syntax, bits):
    """JPEG of 12 bits too."""
    stored = np.linspace(0, 2**bits - 1, 256).astype("u1" if bits == 8 else "u2").reshape(16, 16)
    path = dicom(tmp_path / "a.dcm", stored, BitsStored=bits, HighBit=bits - 1)
    compress(path, syntax)
    found = read(path, 16).values[..., 0]
    assert abs(found - stored).max() < 2**bits / 50


def test_a_frame_of_12_bit_jpeg(tmp_path):
    many = np.stack([np.full((16, 16), v, np.uint16) for v in (100, 2000, 4000)])
    path = dicom(tmp_path / "a.dcm", many, NumberOfFrames=3, BitsStored=12, HighBit=11)
    compress(path, "JPEGExtendedProcess2_4")
    assert abs(read(path, 16).values - 2000).max() < 20


WITHOUT = """
import sys
sys.modules["gdcm"] = None
from pathlib import Path
from medjax.data.pixels import read
from medjax.errors import UserError
for name in sys.argv[1:]:
    try:
        read(Path(name), 8)
        print("read")
    except UserError as error:
        print(error)
"""


def test_a_missing_decoder_is_one_line_with_the_command_that_brings_it(tmp_path):
    names = ("JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEGExtendedProcess2_4", "RLELossless")
    stored = RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
    files = []
    for name in names:
        path = dicom(tmp_path / f"{name}.dcm", stored, BitsStored=12, HighBit=11)
        files.append(str(compress(path, name)))
    words = [sys.executable, "-c", WITHOUT, *files]
    root = str(Path(pixels.__file__).parents[2])
    ended = subprocess.run(words, capture_output=True, text=True, cwd=root)
    said = ended.stdout.splitlines()
    assert len(said) == 4 and said[3] == "read", ended.stderr
    for name, line in zip(files[:3], said[:3], strict=True):
        assert name in line and "which needs gdcm: pip install 'medjax[dicom]'" in line


def test_a_decoder_that_breaks_off_leaves_out_one_file(tmp_path):
    """gdcm ends its process at some damage. The next file is read all the same."""
    stored = RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
    sound = compress(dicom(tmp_path / "a.dcm", stored), "JPEGLSLossless")
    content = sound.read_bytes()
    begin = content.index(b"\xff\xd8")
    said = set()
    for place in range(begin + 2, begin + 40):
        path = tmp_path / "b.dcm"
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            read(path, 16)
        except Unreadable as error:
            said.add(str(error))
        np.testing.assert_array_equal(read(sound, 16).values[..., 0], stored)
    assert "its decoder broke off: the pixels are damaged" in said


def test_the_next_file_is_not_given_the_rest_of_an_answer(tmp_path, monkeypatch):
    """After Ctrl-C; and a name is that of the folder in which it is given."""
    arrays = [RNG.integers(0, 4096, (16, 16)).astype(np.uint16) for _ in range(2)]
    for name, stored in zip("ab", arrays, strict=True):
        compress(dicom(tmp_path / f"{name}.dcm", stored), "JPEGLSLossless")
    read(tmp_path / "a.dcm", 16)
    loads, broken = json.loads, [True]

    def interrupted(text):
        if broken and broken.pop():
            raise KeyboardInterrupt
        return loads(text)

    monkeypatch.setattr(decoder.json, "loads", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path / "a.dcm", 16)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read(Path("b.dcm"), 16).values[..., 0], arrays[1])


def test_a_decoder_that_does_not_end_is_ended(tmp_path, monkeypatch):
    stored = RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
    path = compress(dicom(tmp_path / "a.dcm", stored), "JPEGLSLossless")
    decoder.close()
    monkeypatch.setattr(decoder, "PATIENCE", 0.01)  # shorter than its start takes
    with pytest.raises(Unreadable, match="broke off"):
        read(path, 16)
    monkeypatch.undo()
    np.testing.assert_array_equal(read(path, 16).values[..., 0], stored)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "a.dcm").write_bytes(b"")
    with pytest.raises(UserError, match=r"medjax\[dicom\]"):
        read(tmp_path / "a.dcm", 8)


# --- files


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("name", ["a.dcm", "a.ima", "a"])
def test_without_preamble(tmp_path, implicit, name):
    path = dicom(tmp_path / name, RAMP, preamble=False, implicit=implicit)
    assert path.read_bytes()[128:132] != b"DICM"
    if implicit and name != "a.dcm":  # nothing tells it from other files
        assert not pixels.is_image(path)
        return
    assert pixels.is_image(path)
    np.testing.assert_array_equal(read(path, 8).values[..., 0], RAMP)


def test_files_without_an_ending_are_known_by_their_first_bytes(tmp_path):
    """Exports name files by UID: what looks like an ending is none. What is no image is counted and said."""
    for label in ("a", "b"):
        for name in ("1.2.840.5", "IM00001"):
            dicom(tmp_path / label / name, RNG.integers(0, 4096, (8, 8)).astype(np.uint16))
    for name in ("notes.txt", "scan.avi", "more.avi", ".hidden"):
        (tmp_path / "a" / name).write_bytes(b"x" * 200)
    made = read_folder(tmp_path, 8)
    assert len(made.images) == 4
    assert "files ignored: 2 x .avi, 1 x .txt." in made.lines


def without_pixels(path, **fields):
    dicom(path, RAMP)
    data = pydicom.dcmread(path)
    del data.PixelData
    for name, value in fields.items():
        setattr(data, name, value)
    data.save_as(path)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda p: p.write_bytes(b"hello"), "not DICOM"),
        (lambda p: p.write_bytes(b""), "not DICOM"),
        (lambda p: put(p.with_suffix(".png")).rename(p), "not DICOM"),
        (without_pixels, r"DICOM without pixel data \(Secondary Capture"),
        (lambda p: without_pixels(p, FloatPixelData=bytes(256)), "floating-point pixels"),
        (lambda p: without_pixels(p, DoubleFloatPixelData=bytes(512)), "floating-point pixels"),
        (lambda p: dicom(p, RAMP.astype(np.uint32)), "32 bits a pixel; save it with 16"),
        (lambda p: dicom(p, RAMP, Rows=800), ""),
        (lambda p: dicom(p, RAMP, Rows=60000, Columns=60000), "--max_megapixels=89"),
    ],
)
def test_files_that_are_refused(tmp_path, caplog, build, words):
    path = tmp_path / "a.dcm"
    build(path)
    with caplog.at_level("WARNING"), pytest.raises(Unreadable) as caught:
        read(path, 8)
    assert not caplog.records, "said once"
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 10
    assert re.search(words, str(caught.value)), caught.value


def test_one_bit_a_pixel(tmp_path):
    mask = RNG.integers(0, 2, (8, 8)).astype(np.uint8)
    path = dicom(tmp_path / "a.dcm", mask, BitsAllocated=1, BitsStored=1, HighBit=0)
    data = pydicom.dcmread(path)
    data.PixelData = np.packbits(mask, bitorder="little").tobytes()
    data.save_as(path)
    np.testing.assert_array_equal(shown(path), mask * 255)


def test_patients_are_those_of_the_files(tmp_path):
    """Files of one PatientID stay in one split, without groups.csv, which wins where it is. One that all files share is
    warned of, and so are files without one; the names are in no report and no array."""
    rng = np.random.default_rng(0)

    def write(folder, name_of):
        for number in range(40):
            place = folder / "ab"[number % 2] / f"{number}.dcm"
            place.parent.mkdir(parents=True, exist_ok=True)
            dicom(place, rng.integers(0, 255, (8, 8)).astype(np.uint8), PatientID=name_of(number))
        return folder

    grouped = write(tmp_path / "grouped", lambda n: f"Mustermann-{n // 4}")
    made = read_folder(grouped, 8)
    assert len(np.unique(made.groups)) == 10
    for patient in range(10):
        assert len(np.unique(made.splits[made.groups == patient])) == 1
    assert any("PatientID of DICOM files: 40 images of 10 patients" in line for line in made.lines)
    assert "Mustermann" not in text(made)
    (grouped / "groups.csv").write_text(
        "file,patient\n" + "".join(f"{n}.dcm,{n}\n" for n in range(40))
    )
    assert len(np.unique(read_folder(grouped, 8).groups)) == 40
    alike = read_folder(write(tmp_path / "alike", lambda n: "ANON"), 8)
    assert alike.groups is None
    assert any(line.startswith("WARNING") and "share 1 PatientID:" in line for line in alike.lines)
    most = read_folder(write(tmp_path / "most", lambda n: "ANON" if n < 20 else f"P{n}"), 8)
    assert any(
        line.startswith("WARNING: 20 of 40 images have one PatientID") for line in most.lines
    )
    some = read_folder(write(tmp_path / "some", lambda n: f"P{n}" if n < 30 else ""), 8)
    assert any(line.startswith("WARNING: 10 images are not in") for line in some.lines)
