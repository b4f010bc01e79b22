"""What a simulated board does when it gets power, on MicroPython: mount its ROM, and run the device from there.

Arguments: address and size of the ROM image, path of the device's configuration.
"""

import gc
import sys

import uctypes
import vfs

# Collect early and often: garbage is reused while it lies among other garbage, and what stays is packed at the start of the
# heap. Without this the largest free block after boot is a tenth of what is free; with it, nearly all.
gc.threshold(4096)  # type: ignore[attr-defined,unused-ignore]

vfs.mount(vfs.VfsRom(uctypes.bytearray_at(int(sys.argv[1]), int(sys.argv[2]))), "/rom")
sys.path[:] = [".frozen", "/rom"]

from evergrow_sim.device import main  # noqa: E402

sys.exit(main(sys.argv[3]))
