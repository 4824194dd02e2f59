"""Opens result files in xarray as a user would, and exits with 1 where that fails.

    python tools/check-xarray.py result.json [more.json …]      (needs numpy, pandas and xarray)

Cells that were not computed are null, which numpy takes as objects: astype(float) makes them NaN.
"""

import json
import sys

import numpy as np
import xarray as xr


def check(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    dataset = xr.Dataset.from_dict(content)
    assert dataset.attrs["format"] == "crosspatch.result/1", dataset.attrs.get("format")
    assert dict(dataset.sizes) == {dim: n for dim, n in content["dims"].items() if dim in dataset.sizes}
    for name, variable in content["data_vars"].items():
        array = dataset[name]
        assert list(array.dims) == variable["dims"], (name, array.dims)
        numbers = array.astype(float) if array.dtype == object else array
        expected = np.array(variable["data"], dtype=object).reshape(array.shape)
        for found, wanted in zip(numbers.values.flat, expected.flat):
            assert (wanted is None and np.isnan(found)) or found == wanted, (name, found, wanted)
    print(f"{path}: {', '.join(f'{name} {dict(dataset[name].sizes)}' for name in content['data_vars'])}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        check(argument)
