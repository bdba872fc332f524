"""Facts about the named public sets: the MedMNIST v2 collection, its two-dimensional single-label part at 28 pixels.

The study (Table 1) uses the first eight rows. The facts (checksums, label names, sizes, licences) are those of Zenodo
record 10519652, as the `medmnist` package 3.0.2 lists them; tests/test_catalog.py compares the two where it is there.
"""

from dataclasses import dataclass

#: Where the files lie; one file per set, named after it.
RECORD = "https://zenodo.org/records/10519652"


@dataclass(frozen=True)
class Entry:
    """One named set.

    name: lower-case name, also the stem of its file.
    md5: 32 hex digits, of the whole .npz file.
    class_names: k names in label order.
    channels: 1 (grey) or 3 (RGB).
    train, val, test: number of images in each split.
    licence: of the images; "CC BY-NC" rules out commercial use, of distilled images too.
    """

    name: str
    md5: str
    class_names: tuple[str, ...]
    channels: int
    train: int
    val: int
    test: int
    licence: str


_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)

_ENTRIES = (
    Entry(
        "pathmnist",
        "a8b06965200029087d5bd730944a56c1",
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        3,
        89996,
        10004,
        7180,
        "CC BY 4.0",
    ),
    Entry(
        "dermamnist",
        "0744692d530f8e62ec473284d019b0c7",
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        3,
        7007,
        1003,
        2005,
        "CC BY-NC 4.0",
    ),
    Entry(
        "octmnist",
        "c68d92d5b585d8d81f7112f81e2d0842",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        1,
        97477,
        10832,
        1000,
        "CC BY 4.0",
    ),
    Entry(
        "bloodmnist",
        "7053d0359d879ad8a5505303e11de1dc",
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        3,
        11959,
        1712,
        3421,
        "CC BY 4.0",
    ),
    Entry(
        "tissuemnist",
        "ebe78ee8b05294063de985d821c1c34b",
        (
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        1,
        165466,
        23640,
        47280,
        "CC BY 4.0",
    ),
    Entry(
        "organamnist",
        "68e3f8846a6bd62f0c9bf841c0d9eacc",
        _ORGANS,
        1,
        34561,
        6491,
        17778,
        "CC BY 4.0",
    ),
    Entry(
        "organcmnist",
        "b9ceb9546e10131b32923c5bbeaea2b1",
        _ORGANS,
        1,
        12975,
        2392,
        8216,
        "CC BY 4.0",
    ),
    Entry(
        "organsmnist",
        "9ab87b696fb54e2a387ebe992d6ed5f1",
        _ORGANS,
        1,
        13932,
        2452,
        8827,
        "CC BY 4.0",
    ),
    Entry(
        "pneumoniamnist",
        "28209eda62fecd6e6a2d98b1501bb15f",
        ("normal", "pneumonia"),
        1,
        4708,
        524,
        624,
        "CC BY 4.0",
    ),
    Entry(
        "breastmnist",
        "750601b1f35ba3300ea97c75c52ff8f6",
        ("malignant", "normal, benign"),
        1,
        546,
        78,
        156,
        "CC BY 4.0",
    ),
    Entry(
        "retinamnist",
        "bd4c0672f1bba3e3a89f0e4e876791e4",
        ("0", "1", "2", "3", "4"),
        3,
        1080,
        120,
        400,
        "CC BY 4.0",
    ),
)

#: name -> Entry, in the order of the study's Table 1, then the three it leaves out.
CATALOG: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def file_name(entry: Entry) -> str:
    """The name of the set's file in a cache folder and in the record."""
    return f"{entry.name}.npz"


def url(entry: Entry) -> str:
    """Where to download the set's file."""
    return f"{RECORD}/files/{file_name(entry)}?download=1"
