"""Files of verification problems: networks in ONNX, properties in VNN-LIB."""
