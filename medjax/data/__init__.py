"""Images of every source -> `medjax.types.RawDataset`, and uint8 images -> model space.

In: `sources` (a name or a path), `preprocess` (to model space and back), `phantom` (the embedded set).
Named sets: `catalog`, `named`, `download`, `med_mnist`, `tfds`.
An .npz file: `npz`, `archive`, `labels`; `raw`, which all readers share.
A folder of images: `folder`, `walk`, `scan`, `layout`, `splits`, `label_table`, `patients`, `tables`, `levels`.
One image file: `pixels`, `raster`, `dicom`, `display`, `decoder`, `planes`.
"""
