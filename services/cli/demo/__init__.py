"""`konzilium demo`: the main job on real DICOM files, told as a story."""
