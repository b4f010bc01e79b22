"""Runs the named tests of one file inside MicroPython; tests/portable/conftest.py starts it and reads what it prints.

Arguments: sys.path entries joined by ":", limit in seconds for one coroutine test, module name, test names. Every line of
the report starts with the byte 0x1e, so that it cannot be mistaken for what a test prints: `start NAME`, then `pass NAME`,
or `fail NAME` followed by the traceback; `import` before the module is loaded. A crash is charged to the last `start`.
"""

import asyncio
import gc
import sys


def report(word, name=""):
    print(f"\x1e{word} {name}")


def call(function, limit_s):
    result = function()
    if hasattr(result, "send"):  # A coroutine: MicroPython makes generators of them.
        asyncio.new_event_loop()  # Tasks that an earlier test left behind die with its loop.
        asyncio.run(asyncio.wait_for(result, limit_s))


def main(path, limit_s, module_name, *names):
    sys.path[:] = path.split(":") + [".frozen"]
    report("import")
    module = __import__(module_name)
    for name in names:
        gc.collect()
        report("start", name)
        try:
            call(getattr(module, name), int(limit_s))
        except BaseException as exc:
            report("fail", name)
            sys.print_exception(exc, sys.stdout)
        else:
            report("pass", name)
    report("end")


main(*sys.argv[1:])
