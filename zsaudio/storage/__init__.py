"""Files and folders of any file system that pyarrow knows: local ones, ``s3://``, ``gs://`` and others."""
