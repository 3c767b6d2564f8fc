"""Videos that are drawn on demand."""

from stbench.data.synthetic.clouds import Clouds
from stbench.data.synthetic.shapes import Shapes

__all__ = ["Clouds", "Shapes"]
