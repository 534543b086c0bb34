"""Data sets as files of TensorFlow Datasets, written and read without TensorFlow.

    builder = jaxattr.data.builders.Ucf101Boxes(data_dir="data")
    builder.download_and_prepare(download_config=builder.take_from("UCF101"))
    samples = jaxattr.data.from_records(builder.as_data_source("test"), net.spec)

Random access to one record costs one read of one file. Needs the extra `data`, which
`import jaxattr.data` alone does not.
"""

from jaxattr.data.builders._evidence import Evidence, EvidenceConfig
from jaxattr.data.builders._ucf101_boxes import Ucf101Boxes

__all__ = ["Evidence", "EvidenceConfig", "Ucf101Boxes"]
