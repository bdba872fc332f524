"""croissant.json: what the card says, for machines (Croissant 1.1, with its vocabulary for responsible AI)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from medjax.bundle.images import COLUMNS, FOLDER
from medjax.bundle.licence import Licence

#: The terms of Croissant, as its specification gives them.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in ("equivalentProperty", "jsonPath", "parentField", "path", "repeated")
    },
    **{name: f"cr:{name}" for name in ("samplingRate", "subField")},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "key": "cr:key",
    "md5": "cr:md5",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "transform": "cr:transform",
}
TYPES = dict.fromkeys(COLUMNS, "sc:Integer") | dict.fromkeys(("file_name", "class_name"), "sc:Text")


def croissant(
    title: str,
    description: str,
    source: str,
    made: str,
    licence: Licence,
    date: str,
    limits: list[str],
    privacy: str,
    creator: str,
    url: str,
    published: str,
    files: Mapping[str, bytes],
) -> dict[str, Any]:
    """The JSON-LD. date: on which the run began. creator, url, published: who publishes the set, where and when; ""
    where nobody has said it. files: those of the bundle that it describes, the images and the table of them among
    them."""
    table = f"{FOLDER}/metadata.csv"
    kinds = {
        "npz": "application/x-npz",
        "csv": "text/csv",
        "parquet": "application/vnd.apache.parquet",
    }
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "encodingFormat": kinds[name.rsplit(".", 1)[1]],
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in sorted(files.items())
        if name == table or name.endswith((".npz", ".parquet"))
    ]
    pngs = {
        "@type": "cr:FileSet",
        "@id": "pngs",
        "name": "pngs",
        "encodingFormat": "image/png",
        "includes": f"{FOLDER}/*/*.png",
    }
    about: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": title,
        "description": description,
        "license": licence.url or licence.name,
        "version": "1.0.0",
        "citeAs": f"{title}, made by medjax from {source}",
        "isBasedOn": {"@type": "sc:CreativeWork", "name": source},
        "rai:dataCollection": f"No images were collected. {description}",
        "rai:dataPreprocessingProtocol": made,
        "rai:dataUseCases": "Research on methods that learn from few images; teaching; tests of software.",
        "rai:dataLimitations": limits,
        "rai:personalSensitiveInformation": privacy,
        "distribution": [*objects, pngs],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": _fields(table)}
        ],
    }
    known: dict[str, Any] = {"dateCreated": date, "datePublished": published, "url": url}
    known |= {"creator": {"@type": "sc:Organization", "name": creator} if creator else ""}
    return about | {name: value for name, value in known.items() if value}


def _fields(table: str) -> list[dict[str, Any]]:
    """The columns of the table, and the PNG file that each of its rows names."""
    fields: list[dict[str, Any]] = [
        {
            "@type": "cr:Field",
            "@id": f"images/{column}",
            "name": column,
            "dataType": TYPES[column],
            "source": {"fileObject": {"@id": table}, "extract": {"column": column}},
        }
        for column in COLUMNS
    ]
    by_name = {"fileSet": {"@id": "pngs"}, "extract": {"fileProperty": "filename"}}
    # No two images have the same name, whatever their folder is.
    fields[0]["source"]["transform"] = {"regex": "(?:.*/)?(.+)"}
    fields[0]["references"] = by_name
    image = {
        "@type": "cr:Field",
        "@id": "images/image",
        "name": "image",
        "dataType": "sc:ImageObject",
        "source": {"fileSet": {"@id": "pngs"}, "extract": {"fileProperty": "content"}},
    }
    return [image, *fields]
