"""[export]: what is published beside the exact graphs."""

from training.config.table import Table


class Export(Table):
    """[export]: what is published beside the exact graphs.

    int8: also the variant `int8`, its large products on 8-bit integers, calibrated on the
    validation rows. It is published only where no head's AUC falls there by more than 0.0005 and
    the ten best of 500 candidates overlap by 0.98 by every head; a plan names it as
    `name@champion+int8`.
    """

    int8: bool = False
