"""Runs the graphs of a folder by onnxruntime, and prints the largest difference of each.

Each NAME.onnx has a NAME.json: a list of batches, each with the inputs "x" and the expected "y".
"""

import json
import pathlib
import sys

import numpy
import onnxruntime

try:
    import onnx
except ImportError:
    onnx = None

differences = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    if onnx is not None:
        onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    differences[path.stem] = []
    for batch in json.loads(path.with_suffix(".json").read_text()):
        x, expected = (numpy.array(batch[name], dtype=numpy.float32) for name in ("x", "y"))
        (found,) = session.run(None, {"x": x})
        assert found.shape == expected.shape, f"{path.stem}: {found.shape}, not {expected.shape}"
        differences[path.stem].append(float(numpy.abs(found - expected).max()))
checked = "unchecked" if onnx is None else f"checked by onnx {onnx.__version__}"
result = {"by": f"onnxruntime {onnxruntime.__version__}, {checked}", "differences": differences}
print(json.dumps(result))
