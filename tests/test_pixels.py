"""Files of common formats -> pixels: what they hold is read as it is, or refused with words that are true."""

import itertools
import os

import numpy as np
import pytest
from pictures import RNG, dicom, png, put, save, tiff
from PIL import Image

from medjax.data import pixels
from medjax.data.folder import read_folder
from medjax.data.pixels import read
from medjax.data.planes import Unreadable
from medjax.errors import UserError


def both(folder, make, count=4):
    """Two classes of ``count`` files: make(number) gives the bytes of each."""
    for number in range(2 * count):
        save(folder / "ab"[number % 2], f"{number}.tif", make(number))
    return folder


def said(made, *words):
    text = " ".join(made.lines)
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".tif", ".bmp", ".JPEG", ".TIFF", ".webp", ".jp2", ".j2k"]
)
def test_formats(tmp_path, suffix):
    picture = read(put(tmp_path / f"a{suffix}", (20, 12, 3)), 8)
    assert picture.values.shape == (8, 8, 3) and picture.values.dtype == np.float32
    assert picture.shape == (20, 12) and picture.kind == "RGB" and not picture.deep


def test_what_is_read():
    known = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm"}
    assert set(pixels.SUFFIXES) == known | {".webp", ".gif", ".jp2", ".j2k"}


def test_of_several_frames_the_first_is_taken_and_said(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (10, 90, 170)]
    for suffix in ("gif", "webp", "tif", "png"):
        path = tmp_path / f"a.{suffix}"
        how = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **how)
        picture = read(path, 8)
        assert "first of 3 frames" in picture.kind
        np.testing.assert_array_equal(picture.values, np.full_like(picture.values, 10))


def test_centre_square_is_kept_as_it_is(tmp_path):
    array = RNG.integers(0, 256, (8, 14, 3), dtype=np.uint8)
    picture = read(put(tmp_path / "a.png", value=array), 8)
    np.testing.assert_array_equal(picture.values, array[:, 3:11])


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("upright", [False, True])
def test_padding_keeps_the_whole_image_between_black(tmp_path, deep, upright):
    """Black is black whatever the range of the set, and where 0 is white."""
    array = RNG.integers(1, 256, (8, 14)).astype(np.uint8)
    array = array.T if upright else array
    wide = array * np.uint16(257)
    for label, number in itertools.product("ab", range(4)):
        for photometric in (0, 1) if deep else (1,):
            content = tiff((wide if deep else array) - number, photometric=photometric)
            save(tmp_path / label / str(photometric), f"{label}{number}.tif", content)
    (tmp_path / "b/1/b0.tif").write_bytes(tiff(array[:4]))  # each class has its own
    made = read_folder(tmp_path, 14, fit="pad")
    said(made, "padded with black to a square")
    whole = np.zeros((14, 14))
    whole[3:11] = array.T if upright else array
    index = 4 if deep else 0
    expected = whole.T if upright else whole
    np.testing.assert_array_equal(made.images[index][..., 0], expected)
    if deep:
        expected = np.where(expected, 255 - expected, 0)
        np.testing.assert_array_equal(made.images[0][..., 0], expected)
    cut = read_folder(tmp_path, 8)
    said(cut, "cut to their centre square")


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("L", "grey", 1),
        ("1", "grey", 1),
        ("P", "palette", 3),
        ("RGBA", "RGBA, on black", 3),
        ("LA", "grey with alpha, on black, all channels equal", 1),
        ("CMYK", "CMYK", 3),
        ("YCbCr", "YCbCr", 3),
    ],
)
def test_modes(tmp_path, mode, kind, channels):
    image = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    picture = read(path, 8)
    assert picture.kind in (kind, "RGB") and picture.values.shape == (8, 8, channels)


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
    for name in ("a.png", "a.tif", "a.jp2"):
        path = put(tmp_path / name, value=deep)
        picture = read(path, 8)
        assert picture.deep and picture.kind == "16-bit"
        np.testing.assert_array_equal(picture.values[..., 0], deep)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a camera
    path = put(tmp_path / "b.jpg", (8, 16, 3), exif=exif)
    assert read(path, 8).shape == (16, 8)


# --- layouts of 16 bits


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_keeps_them(tmp_path, channels):
    """Grey with alpha and colour too, which Pillow reduces to 8 bits."""
    array = RNG.integers(0, 4096, (8, 8, channels)).astype(np.uint16)
    if channels in (2, 4):
        array[..., -1] = 65535
    picture = read(save(tmp_path, "a.png", png(array)), 8)
    seen = array[..., : channels - (channels in (2, 4))]
    np.testing.assert_array_equal(picture.values, seen)
    assert picture.deep and picture.kind.startswith("16-bit")


def test_alpha_of_16_bits_shows_black(tmp_path):
    array = np.full((8, 8, 4), 4000, np.uint16)
    array[:, :4, 3], array[:, 4:, 3], array[..., 1] = 32768, 65535, 100
    for content in (png(array), tiff(array, extra=(2,))):
        picture = read(save(tmp_path, "a.png", content), 8)
        assert picture.values[0, 0].tolist() == [2000, 50, 2000]
        assert picture.values[0, -1].tolist() == [4000, 100, 4000]
    array[..., 3] = 4095  # opaque, of 12 bits
    assert read(save(tmp_path, "a.png", png(array)), 8).values.max() == 4000


LAYOUTS = list(itertools.product("<>", (1, 2), (False, True), (0, 16)))


@pytest.mark.parametrize(("order", "planar", "deflate", "tile"), LAYOUTS)
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "i4", "f4"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_tiff_is_read_as_it_is_or_refused(tmp_path, order, planar, deflate, tile, kind, channels):
    """What is read is the file's own values; channels that are left out are said; the rest is refused."""
    top = {"u1": 256, "i1": 128, "i2": 1000, "i4": 4000, "u2": 4096, "f4": 2}[kind]
    array = (RNG.random((20, 20, channels)) * top).astype(kind)
    if kind in ("i1", "i2"):
        array -= top // 2
    if channels > 3 and kind[0] == "u":
        array[..., 3] = np.iinfo(kind).max
    extra = {2: (0,), 4: (2,), 5: (2, 0)}.get(channels, ())
    for photometric in (0, 1) if channels < 3 else (2,):
        content = tiff(array, order, photometric, extra, planar, deflate, tile)
        path = save(tmp_path, "a.tif", content)
        try:
            picture = read(path, 20)
        except Unreadable as error:
            assert "floating-point" in str(error) if kind == "f4" and channels == 1 else True
            assert "save it" in str(error), error
            assert (
                channels > 1
                or kind in ("f4", "i4")
                or (kind, photometric) in (("i1", 0), ("i2", 0))
            )
            continue
        shown = array[..., : picture.values.shape[-1]].astype(float)
        shown = shown + 128 if kind == "i1" else shown
        shown = 255 - shown if kind == "u1" and photometric == 0 else shown
        np.testing.assert_array_equal(picture.values, shown)
        assert picture.inverted == (kind == "u2" and photometric == 0)
        left_out = (
            channels
            - picture.values.shape[-1]
            - ("alpha" in picture.kind or "RGBA" in picture.kind)
        )
        assert (left_out > 0) == (f"of {channels} channels" in picture.kind), picture.kind


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_fourth_channels_of_16_bits(tmp_path, extra):
    array = RNG.integers(0, 4000, (8, 8, 4)).astype(np.uint16)
    array[..., 3] = 65535
    for order in "<>":
        picture = read(save(tmp_path, "a.tif", tiff(array, order, extra=(extra,))), 8)
        np.testing.assert_array_equal(picture.values, array[..., :3])
        assert ("first 3 of 4 channels" in picture.kind) == (extra == 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: tiff(np.ones((8, 8), np.float32)), "floating-point"),
        (lambda: tiff(np.ones((8, 8), np.float64)), r"floating-point 64 bits.*save it as grey"),
        (lambda: tiff(np.full((8, 8), 70000, np.int32)), r"32-bit values 70000\.\.70000"),
        (lambda: tiff(np.ones((8, 8, 4), np.uint16), photometric=5), "CMYK of 16 bits"),
        (lambda: tiff(np.ones((8, 8, 3), np.uint8), photometric=8), "LAB"),
        (lambda: tiff(np.ones((8, 8, 3), np.uint16), planar=2), r"16\+16\+16 bits.*channels apart"),
        (lambda: tiff(np.ones((8, 8, 2), np.uint16), extra=(2,)), r"16\+16 bits.*save it as grey"),
        (lambda: b"II*\0" + bytes(40), "TIFF"),
        (lambda: b"", "not an image"),
        (lambda: b"hello", "not an image"),
        (lambda: b"\x89PNG\r\n\x1a\n and no more", "not an image"),
        (lambda: b"BM" + bytes(60), "BMP"),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not an image"),
    ],
)
def test_what_is_refused_and_why(tmp_path, content, words):
    with pytest.raises(Unreadable, match=words) as caught:
        read(save(tmp_path, "a.tif", content()), 8)
    assert "\n" not in str(caught.value)


def test_colour_of_jpeg_2000_is_not_reduced_in_silence(tmp_path):
    """Pillow makes 8 bits of its 12 or 16."""
    path = put(tmp_path / "a.j2k")
    content = bytearray(path.read_bytes())
    at = content.find(b"\xff\x4f\xff\x51")
    content[at + 42] = 11
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="more than 8 bits in JPEG 2000"):
        read(path, 8)


def test_cut_file(tmp_path):
    path = put(tmp_path / "a.png", (60, 60, 3))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(Unreadable):
        read(path, 8)


def test_a_damaged_tiff_is_reported_once(tmp_path, capfd):
    """libtiff's own lines on standard error are not shown."""
    content = tiff(RNG.integers(0, 256, (20, 20)).astype(np.uint8), deflate=True)
    at = content.index(b"\x78\x9c") + 20
    path = save(tmp_path, "a.tif", content[:at] + bytes(100) + content[at + 100 :])
    with pytest.raises(Unreadable, match="damaged"):
        read(path, 8)
    assert capfd.readouterr() == ("", "")
    path = put(tmp_path / "b.tif")
    kept = os.dup(2)
    os.close(2)
    try:
        picture = read(path, 8)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert picture.kind == "RGB"


@pytest.mark.parametrize("suffix", ["png", "tif", "gif", "webp", "jp2", "bmp", "jpg"])
def test_very_large_images_are_refused_with_the_option_that_lifts_it(tmp_path, suffix):
    path = put(tmp_path / f"a.{suffix}", (30, 40))
    for limit in (0.001, 0.0005):
        with pytest.raises(Unreadable, match=f"--max_megapixels={limit}") as caught:
            read(path, 8, megapixels=limit)
        assert "1200" in str(caught.value)
    assert read(path, 8, megapixels=0.0012).shape == (30, 40)
    assert Image.MAX_IMAGE_PIXELS and Image.MAX_IMAGE_PIXELS > 8e7, "put back"


# --- the range of a set


@pytest.mark.parametrize("top", [65535, 4095])
def test_zero_is_white(tmp_path, top):
    """WhiteIsZero at 16 bits is the negative of the same values, and of 12-bit values in the range of 12 bits."""
    array = np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8)
    made = read_folder(both(tmp_path, lambda i: tiff(array // (i // 2 + 1), photometric=i % 2)), 8)
    for number in range(4):
        np.testing.assert_allclose(
            made.images[number, ..., 0], 255 - array // (number + 1) * (255 / top), atol=0.51
        )
        np.testing.assert_allclose(
            made.images[4 + number, ..., 0], array // (number + 1) * (255 / top), atol=0.51
        )
    said(made, "16-bit, 0 is white", "WARNING: the kind of pixels in the files differs by class")


@pytest.mark.parametrize("whole", [False, True])
def test_one_hot_pixel_does_not_darken_the_rest(tmp_path, whole):
    """Its share decides: a few values are cut off and said; many, and what they do to the rest is warned of."""
    arrays = [RNG.integers(0, 4096, (40, 40)).astype(np.uint16) for _ in range(8)]
    arrays[0][7, 7] = 65535
    if whole:
        arrays[0][:] = 65535
    made = read_folder(both(tmp_path, lambda i: tiff(arrays[i])), 40)
    if whole:
        said(made, "0..65535 was scaled", "WARNING: 7 of these 8 images use less")
    else:
        said(
            made,
            "0..4095 was scaled to 0..255 (largest value 65535)",
            "% of the values are cut off",
        )
        expected = np.rint(np.minimum(arrays[0], 4095) * (255 / 4095))
        np.testing.assert_array_equal(made.images[0, ..., 0], expected)
        assert not any("WARNING" in line for line in made.lines)


def test_colour_of_12_bits_uses_all_levels(tmp_path):
    arrays = [RNG.integers(0, 4096, (8, 8, 3)).astype(np.uint16) for _ in range(8)]
    made = read_folder(both(tmp_path, lambda i: tiff(arrays[i], "<>"[i % 2])), 8)
    np.testing.assert_array_equal(made.images[0], np.rint(arrays[0] * (255 / 4095)))


def test_signed_16_bits_are_read_with_the_range_of_the_set(tmp_path):
    arrays = [np.linspace(-1000, 1000 + i, 64).astype(np.int16).reshape(8, 8) for i in range(8)]
    made = read_folder(both(tmp_path, lambda i: tiff(arrays[i], "<>"[i % 2])), 8)
    said(made, "8 x signed 16-bit", "-1000..1007, the range of the whole set")
    np.testing.assert_array_equal(
        made.images[0, ..., 0], np.rint((arrays[0] + 1000.0) * (255 / 2007))
    )


# --- what tells the classes apart


def test_kinds_and_sizes_that_differ_by_class_are_warned_of(tmp_path):
    for i in range(6):
        put(tmp_path / "a" / f"{i}.png", (8, 8))
        put(tmp_path / "b" / f"{i}.jpg" if i else tmp_path / "b/0.png", (8, 8 + 4 * (i > 3)))
    said(
        read_folder(tmp_path, 8),
        "WARNING: the kind of pixels in the files differs by class, and networks may learn it",
        '"JPEG, grey" is 83% of b and 0% of a.',
    )
    assert "WARNING: the size" not in " ".join(read_folder(tmp_path, 8).lines)
    for i in range(6):
        put(tmp_path / "b" / f"{i}.jpg", (16, 16))
    said(
        read_folder(tmp_path, 8),
        "WARNING: the size in the files differs by class",
        '"8 x 8" is 100% of a',
    )


def test_kinds_that_are_mixed_in_all_classes_are_not(tmp_path):
    for label, i in itertools.product("abc", range(8)):
        put(tmp_path / label / f"{i}.{('png', 'jpg')[i % 2]}", (8 + 2 * (i % 2), 8))
    assert not any("WARNING" in line for line in read_folder(tmp_path, 8).lines)


# --- a class of which nothing is left


def test_the_first_reason_is_said_where_no_image_of_a_class_can_be_read(tmp_path):
    for i in range(4):
        put(tmp_path / "a" / f"{i}.png")
        save(tmp_path / "b", f"{i}.tif", tiff(np.full((8, 8), i, np.float32)))
    with pytest.raises(UserError, match=r"no image of b could be read.* b/0\.tif \(floating-point"):
        read_folder(tmp_path, 8)


def test_duplicates_are_called_duplicates(tmp_path):
    for i in range(4):
        path = put(tmp_path / "a" / f"{i}.png")
        save(tmp_path / "b", f"{i}.png", path.read_bytes())
    with pytest.raises(UserError, match="no image of b is left in train: 4 are duplicates"):
        read_folder(tmp_path, 8)


def test_dicom_under_the_ending_of_another_format(tmp_path):
    stored = RNG.integers(0, 256, (8, 8)).astype(np.uint8)
    for name in ("a.png", "a.ima", "a.img", "a.IMA", "a.1", "noending", "a.tif"):
        path = dicom(tmp_path / name, stored)
        assert pixels.is_image(path)
        np.testing.assert_array_equal(read(path, 8).values[..., 0], stored)
